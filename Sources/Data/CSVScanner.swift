import RetortSupport

/// Splits CSV text into rows of fields (RFC 4180), without looking at what they mean.
struct CSVScanner {
    /// A field as a range of bytes.
    struct Field {
        /// The content, without the quotes around it.
        let range: Range<Int>
        let isQuoted: Bool
        /// The byte after the field, closing quote included.
        var end: Int { isQuoted ? range.upperBound + 1 : range.upperBound }
    }

    let bytes: [UInt8]
    private let file: String
    private let lineLimit: Int
    /// Where the bytes begin in the file.
    private let origin: SourceOrigin
    /// What stands between two fields: a comma, or a tab.
    private let separator: UInt8
    private var position: Int

    static let comma = UInt8(ascii: ",")
    static let tab = UInt8(ascii: "\t")
    private static let quote = UInt8(ascii: "\"")
    private static let lineFeed = UInt8(ascii: "\n")
    private static let carriageReturn = UInt8(ascii: "\r")

    init(
        bytes: [UInt8], file: String, lineLimit: Int, separator: UInt8 = comma, origin: SourceOrigin = .start
    ) {
        self.bytes = bytes
        self.file = file
        self.lineLimit = lineLimit
        self.separator = separator
        self.origin = origin
        position = origin == .start && bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    }

    /// Reads the next row into `fields`; false at the end. Empty lines at the end of the file are not rows; an empty
    /// line before the end is a row of one empty field.
    /// - Throws: exit 65 for a quote out of place, a quoted field that does not end, a lone carriage return, a line
    ///   that is too long.
    mutating func next(_ fields: inout [Field]) throws(RetortError) -> Bool {
        fields.removeAll(keepingCapacity: true)
        guard !isOnlyEmptyLines(from: position) else { return false }
        let start = position
        while true {
            fields.append(try field(lineStart: start))
            guard position < bytes.count else { return true }
            switch bytes[position] {
            case separator:
                position += 1
            case Self.lineFeed:
                position += 1
                return true
            default:
                // field() stops only at a separator, at a line feed or at CR LF.
                position += 2
                return true
            }
        }
    }

    private mutating func field(lineStart: Int) throws(RetortError) -> Field {
        if position < bytes.count, bytes[position] == Self.quote { return try quotedField(lineStart: lineStart) }
        let start = position
        while position < bytes.count {
            switch bytes[position] {
            case separator, Self.lineFeed: return Field(range: start..<position, isQuoted: false)
            case Self.carriageReturn:
                try checkCarriageReturn()
                return Field(range: start..<position, isQuoted: false)
            case Self.quote:
                throw failure(
                    at: position, "a quote inside a field without quotes",
                    help: "Put the whole field in quotes and write \"\" for a quote.")
            default: position += 1
            }
            try checkLength(lineStart)
        }
        return Field(range: start..<position, isQuoted: false)
    }

    private mutating func quotedField(lineStart: Int) throws(RetortError) -> Field {
        let open = position
        position += 1
        while position < bytes.count {
            try checkLength(lineStart)
            guard bytes[position] == Self.quote else {
                position += 1
                continue
            }
            if position + 1 < bytes.count, bytes[position + 1] == Self.quote {
                position += 2
                continue
            }
            let field = Field(range: open + 1..<position, isQuoted: true)
            position += 1
            if position < bytes.count {
                switch bytes[position] {
                case separator, Self.lineFeed: break
                case Self.carriageReturn: try checkCarriageReturn()
                default: throw failure(at: position, "text after a closing quote")
                }
            }
            return field
        }
        throw failure(at: open, "a quoted field that does not end", help: "Close the quote that begins here.")
    }

    private func checkCarriageReturn() throws(RetortError) {
        guard position + 1 < bytes.count, bytes[position + 1] == Self.lineFeed else {
            throw failure(
                at: position, "a carriage return without a line feed", help: "End lines with LF or CR LF.")
        }
    }

    private func checkLength(_ lineStart: Int) throws(RetortError) {
        guard position - lineStart <= lineLimit else {
            throw failure(
                at: lineStart, "a line that is too long", why: "the limit is \(NumberFormat.bytes(lineLimit))")
        }
    }

    private func isOnlyEmptyLines(from start: Int) -> Bool {
        var position = start
        while position < bytes.count {
            guard bytes[position] == Self.lineFeed || bytes[position] == Self.carriageReturn else { return false }
            position += 1
        }
        return true
    }

    /// The content of a field without spaces and tabs around it.
    func trimmed(_ field: Field) -> Range<Int> {
        var start = field.range.lowerBound
        var end = field.range.upperBound
        while start < end, isSpace(bytes[start]) { start += 1 }
        while start < end, isSpace(bytes[end - 1]) { end -= 1 }
        return start..<end
    }

    private func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == Self.tab
    }

    /// The trimmed content as text, doubled quotes resolved.
    func text(_ field: Field) -> String {
        let content = bytes[trimmed(field)]
        guard field.isQuoted, content.contains(Self.quote) else { return String(decoding: content, as: UTF8.self) }
        var text: [UInt8] = []
        var skipNext = false
        for byte in content {
            if byte == Self.quote, skipNext {
                skipNext = false
                continue
            }
            text.append(byte)
            skipNext = byte == Self.quote
        }
        return String(decoding: text, as: UTF8.self)
    }

    func failure(at offset: Int, _ what: String, why: String = "", help: String = "") -> RetortError {
        let place = SourcePosition(offset: offset, in: bytes, origin: origin)
        let lines = why.isEmpty ? place.excerpt : why + "\n" + place.excerpt
        return .badData(what, at: place.location(in: file), why: lines, help: help)
    }
}
