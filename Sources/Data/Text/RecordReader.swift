import RetortSupport

/// Turns an object of a file into a record.
struct RecordReader: Sendable {
    let format: TextFormat
    let fields: [String: String]
    let keep: [String]

    /// The file's name of a key.
    func name(_ key: String) -> String { fields[key] ?? key }

    static func limits(_ limits: TextOptions.Limits) -> JSON.Limits {
        JSON.Limits(bytes: limits.recordBytes, depth: 64, values: 1_000_000)
    }

    /// A record from its bytes.
    /// - Throws: exit 65 with file:line:column and an excerpt.
    func record(
        _ bytes: [UInt8], file: String, _ origin: SourceOrigin, _ limits: TextOptions.Limits
    ) throws(RetortError) -> TextRecord {
        let place = TextRecord.Place(file: file, line: origin.line, column: origin.column)
        if format.isPlainText {
            let text = try Self.plainText(bytes, file, origin)
            return TextRecord(format == .promptLines ? .prompt(text) : .text(text), place: place)
        }
        let cursor = try JSONCursor.parse(bytes, file: file, limits: Self.limits(limits), origin: origin)
        return try record(cursor, place: place)
    }

    /// Strict UTF-8 without NUL; lines end with LF.
    private static func plainText(
        _ bytes: [UInt8], _ file: String, _ origin: SourceOrigin
    ) throws(RetortError) -> String {
        func failure(_ offset: Int, _ what: String, help: String) -> RetortError {
            let place = SourcePosition(offset: offset, in: bytes, origin: origin)
            return .badData(what, at: place.location(in: file), why: place.excerpt, help: help)
        }
        if let offset = UTF8Check.firstInvalidOffset(in: bytes) {
            throw failure(offset, "the text is not valid UTF-8 here", help: "Save the file as UTF-8.")
        }
        if let offset = bytes.firstIndex(of: 0) {
            throw failure(offset, "a NUL byte in the text", help: "Is the file text at all?")
        }
        guard bytes.contains(UInt8(ascii: "\r")) else { return String(decoding: bytes, as: UTF8.self) }
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count)
        for (index, byte) in bytes.enumerated() {
            let endsLine = index + 1 < bytes.count && bytes[index + 1] == UInt8(ascii: "\n")
            if byte != UInt8(ascii: "\r") || !endsLine { text.append(byte) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// - Throws: exit 65 at the place in `cursor` that is wrong.
    private func record(_ cursor: JSONCursor, place: TextRecord.Place) throws(RetortError) -> TextRecord {
        try checkFormat(cursor)
        let content = try content(cursor)
        var kept = JSONObject()
        for key in keep { kept.set(key, try cursor.member(key).value) }
        return TextRecord(content, place: place, kept: kept)
    }

    /// The format of a file's first record.
    /// - Throws: exit 65 when it is none, or could be several.
    static func detect(_ cursor: JSONCursor, fields: [String: String]) throws(RetortError) -> TextFormat {
        let object = try cursor.object()
        let matches = TextFormat.matching { object[fields[$0] ?? $0] != nil }
        let keys = object.keys.prefix(20).map { $0.quoted() }.joined(separator: ", ")
        guard let match = matches.first else {
            throw cursor.failure(
                "its keys, \(keys.isEmpty ? "none" : keys), are those of no format",
                help: "Say what they mean with `fields`, for example {prompt: question, completion: answer}. Formats: "
                    + TextFormat.allCases.map(\.rawValue).joined(separator: ", ") + ".")
        }
        guard matches.count == 1 else {
            throw cursor.failure(
                "its keys, \(keys), fit several formats",
                help: "Name one with `format`: \(matches.map(\.rawValue).joined(separator: ", ")).")
        }
        return match
    }

    /// A record of another format among those of this one is worth more words than a missing key.
    private func checkFormat(_ cursor: JSONCursor) throws(RetortError) {
        let object = try cursor.object()
        guard !format.requiredKeys.allSatisfy({ object[name($0)] != nil }) else { return }
        let others = TextFormat.matching { object[name($0)] != nil }
        guard let other = others.first else { return }
        throw cursor.failure(
            "it looks like \(other.rawValue), and the format is \(format.rawValue)",
            help: "All records have one format: that of the first, or the one that `format` names.")
    }

    private func content(_ cursor: JSONCursor) throws(RetortError) -> TextRecord.Content {
        switch format {
        case .text: return .text(try string(cursor, "text"))
        case .prompt: return .prompt(try string(cursor, "prompt"))
        case .completion:
            return .completion(prompt: try string(cursor, "prompt"), completion: try string(cursor, "completion"))
        case .messages: return .conversation(try conversation(cursor))
        case .alpaca: return .conversation(try alpaca(cursor))
        case .shareGPT: return .conversation(try shareGPT(cursor))
        case .preference: return try preference(cursor)
        case .shareGPTPreference:
            return .preference(
                prompt: try shareGPT(cursor), chosen: [try shareGPTAnswer(cursor, "chosen")],
                rejected: [try shareGPTAnswer(cursor, "rejected")])
        case .lines, .promptLines, .paragraphs, .document:
            throw .internalBug("an object was read as \(format.rawValue)")
        }
    }

    func string(_ cursor: JSONCursor, _ key: String) throws(RetortError) -> String {
        try cursor.member(name(key)).string()
    }

    /// A member that may be missing, null or empty.
    func optionalString(_ cursor: JSONCursor, _ key: String) throws(RetortError) -> String? {
        guard let text = try cursor.optional(name(key))?.string(), !text.isEmpty else { return nil }
        return text
    }
}
