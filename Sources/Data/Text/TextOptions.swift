import RetortSupport

/// What to do with a record that cannot be read.
public enum BadLinePolicy: String, Sendable, CaseIterable {
    /// The first one is an error.
    case error
    /// It is left out and counted.
    case skip
}

/// How files of text are read. Each property is a recipe's key of the same name (`onBadLine` is `on-bad-line`).
public struct TextOptions: Sendable, Equatable {
    /// What files may cost. Exceeding a limit is an error (exit 65).
    public struct Limits: Sendable, Equatable {
        /// Bytes of one record: a line, an element of an array, a paragraph.
        public var recordBytes: Int
        /// Bytes of a file that is one record (`document`).
        public var documentBytes: Int
        /// Bytes of content that a compressed file may have.
        public var decompressedBytes: Int
        /// How many times its own bytes a compressed file may become: text seldom becomes more than twenty times as much.
        public var decompressionRatio: Int
        /// Bytes of content up to which any ratio will do.
        public var anyRatioBytes: Int

        public init(
            recordBytes: Int = 16 << 20, documentBytes: Int = 256 << 20, decompressedBytes: Int = 64 << 30,
            decompressionRatio: Int = 256, anyRatioBytes: Int = 64 << 20
        ) {
            // A place keeps a record's length in 32 bits.
            self.recordBytes = min(recordBytes, Int(Int32.max))
            self.documentBytes = min(documentBytes, Int(Int32.max))
            self.decompressedBytes = decompressedBytes
            self.decompressionRatio = decompressionRatio
            self.anyRatioBytes = anyRatioBytes
        }
    }

    /// nil: what the first record is. Plain text is never assumed.
    public var format: TextFormat?
    /// The file's name for a key of the format, where it has another: `["prompt": "question", "completion": "answer"]`.
    public var fields: [String: String]
    /// Further members of each record to hand on, by the file's names.
    public var keep: [String]
    public var onBadLine: BadLinePolicy
    public var limits: Limits

    public init(
        format: TextFormat? = nil, fields: [String: String] = [:], keep: [String] = [],
        onBadLine: BadLinePolicy = .error, limits: Limits = Limits()
    ) {
        self.format = format
        self.fields = fields
        self.keep = keep
        self.onBadLine = onBadLine
        self.limits = limits
    }

    /// - Throws: exit 78 for a field that no format has, and for fields of plain text.
    func check() throws(RetortError) {
        for key in fields.keys.sorted() where !TextFormat.keys.contains(key) {
            throw .recipe(
                "data.fields has the key \(key.quoted())", why: "no format has such a field",
                help: EditDistance.suggestion(for: key, among: TextFormat.keys))
        }
        guard let format, format.isPlainText, !fields.isEmpty || !keep.isEmpty else { return }
        throw .recipe(
            "data.\(fields.isEmpty ? "keep" : "fields") with the format \(format.rawValue)",
            why: "plain text has no fields")
    }
}
