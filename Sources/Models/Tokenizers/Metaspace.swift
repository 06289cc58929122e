import RetortSupport

/// SentencePiece's way with spaces: each becomes `▁`, one is put in front, and words begin with it.
struct Metaspace: PreTokenizer {
    enum Prepending: String, CaseIterable, Sendable { case always, first, never }

    let replacement: Unicode.Scalar
    let prepending: Prepending
    let splits: Bool

    /// Reads the members that pre-tokenizer and decoder share.
    /// - Throws: `RetortError` 65.
    init(_ cursor: JSONCursor) throws {
        try cursor.expectKeys(["type", "replacement", "str_rep", "add_prefix_space", "prepend_scheme", "split"])
        let mark = try cursor.member("replacement")
        let scalars = try mark.string().unicodeScalars
        guard let scalar = scalars.first, scalars.count == 1 else { throw mark.failure("it must be one character") }
        replacement = scalar
        var prepending = Prepending.always
        if let scheme = try cursor.optional("prepend_scheme") {
            let name = try scheme.string()
            guard let known = Prepending(rawValue: name) else {
                throw scheme.failure(
                    "there is no prepend_scheme \(name.quoted())",
                    help: EditDistance.suggestion(for: name, among: Prepending.allCases.map(\.rawValue)))
            }
            prepending = known
        }
        // The older way to say "never".
        if let adds = try cursor.optional("add_prefix_space"), try !adds.bool() {
            if try cursor.optional("prepend_scheme") != nil, prepending != .never {
                throw adds.failure("it contradicts prepend_scheme")
            }
            prepending = .never
        }
        self.prepending = prepending
        splits = try cursor.optional("split")?.bool() ?? true
    }

    func split(_ text: TextSlice, _ emit: (TextSlice) throws -> Void) throws {
        var mark: [UInt8] = []
        mark.append(replacement)
        var replaced: [UInt8] = []
        replaced.reserveCapacity(text.bytes.count + 64)
        for byte in text.bytes {
            if byte == UInt8(ascii: " ") { replaced += mark } else { replaced.append(byte) }
        }
        let isWanted = prepending == .always || prepending == .first && text.beginsText
        if isWanted, !replaced.starts(with: mark) { replaced.insert(contentsOf: mark, at: 0) }
        try replaced.withUnsafeBufferPointer {
            let slice = TextSlice(bytes: $0, beginsText: text.beginsText)
            guard splits else { return try emit(slice) }
            try SplitBehavior.mergedWithNext.split(slice, at: StringMatcher(string: mark), emit)
        }
    }
}
