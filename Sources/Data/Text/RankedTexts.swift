import RetortSupport

/// Queries, each with the passages that are ranked for it: rows of JSON lines or of a JSON array, which may be compressed.
///
///     {"query": "…", "passages": ["…", "…"], "labels": [1, 0], "scores": [9.5, -2.25]}
///
/// `passages` may be one text. `labels` say how much each passage is worth: above 0 is relevant; without them the first passage is, and it
/// alone. `scores` are a teacher's, one for each passage.
public struct RankedTexts: Sendable, Equatable {
    public struct Row: Sendable, Equatable {
        public let query: String
        /// At least one.
        public let passages: [String]
        /// One for each passage, finite, at least 0; one of them at least is above 0.
        public let labels: [Double]
        /// One for each passage, finite; nil where none are asked for.
        public let scores: [Double]?
        /// Where the row begins.
        public let place: RetortError.Location
    }

    /// What the file calls them.
    public struct Names: Sendable, Equatable {
        public var query = "query"
        public var passages = "passages"
        public var labels = "labels"
        /// nil: scores are not read.
        public var scores: String?

        public init() {}
    }

    public let rows: [Row]

    /// All rows of a file.
    /// - `limit`: rows at most.
    /// - Throws: as `each`.
    public static func read(
        _ path: String, _ names: Names = Names(), limit: Int? = nil, limits: TextOptions.Limits = .init()
    ) throws -> RankedTexts {
        var rows: [Row] = []
        try each(path, names, limit: limit, limits: limits) { rows.append($0) }
        return RankedTexts(rows: rows)
    }

    /// The rows of a file one after the other, so that they are never all in memory.
    /// - `limit`: rows at most.
    /// - `body`: gets each.
    /// - Throws: exit 66 when the file is not there; 65, with file:line:column, for the first row that has not what is asked for, and when
    ///   there is no row; 69 for a compressed file without the library for it; 74 on I/O errors; what `body` throws.
    public static func each(
        _ path: String, _ names: Names = Names(), limit: Int? = nil, limits: TextOptions.Limits = .init(),
        _ body: (Row) throws -> Void
    ) throws {
        var isEmpty = true
        try ObjectRows.read(path, limits, most: limit ?? .max) { cursor in
            isEmpty = false
            try body(row(cursor, names))
        }
        guard !isEmpty else {
            throw RetortError.badData("\(path.quoted(limit: 200)) has no rows", at: RetortError.Location(file: path))
        }
    }

    private static func row(_ cursor: JSONCursor, _ names: Names) throws(RetortError) -> Row {
        let query = try cursor.member(names.query).string()
        let member = try cursor.member(names.passages)
        var passages: [String] = []
        if case .string(let one) = member.value {
            passages = [one]
        } else {
            for element in try member.elements() { passages.append(try element.string()) }
        }
        guard !passages.isEmpty else { throw member.failure("a query needs a passage") }
        var labels = [Double](repeating: 0, count: passages.count)
        labels[0] = 1
        if let given = try cursor.optional(names.labels) {
            labels = try numbers(given, passages.count)
            if let wrong = labels.firstIndex(where: { $0 < 0 }) {
                throw try given.element(wrong).failure("a label is 0 or more")
            }
            guard labels.contains(where: { $0 > 0 }) else { throw given.failure("no passage is relevant") }
        }
        var scores: [Double]?
        if let name = names.scores { scores = try numbers(cursor.member(name), passages.count) }
        return Row(query: query, passages: passages, labels: labels, scores: scores, place: cursor.location)
    }

    private static func numbers(_ cursor: JSONCursor, _ count: Int) throws(RetortError) -> [Double] {
        var numbers: [Double] = []
        for element in try cursor.elements() { numbers.append(try element.double()) }
        guard numbers.count == count else {
            throw cursor.failure("it has \(numbers.count) numbers for \(count) passages")
        }
        return numbers
    }
}
