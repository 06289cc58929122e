import RetortSupport

/// Texts, or pairs of texts, each with a number that people gave them: a class, a score; or without one. Rows of a CSV or TSV file with a
/// header (by the name's end), else of JSON lines or of a JSON array, which may be compressed.
public struct LabelledTexts: Sendable, Equatable {
    public struct Row: Sendable, Equatable {
        /// In the order asked for.
        public let texts: [String]
        /// 0 where none is asked for.
        public let value: Double
    }

    /// What is read of each row.
    public struct Columns: Sendable {
        public var texts: [String]
        /// nil: texts alone are read.
        public var value: String?
        /// What the value has to be, for errors: "a number".
        public var wanted: String
        /// The number of a value; nil where it is none.
        public var meaning: @Sendable (Value) -> Double?

        public init(
            texts: [String], value: String, wanted: String, meaning: @escaping @Sendable (Value) -> Double?
        ) {
            self.texts = texts
            self.value = value
            self.wanted = wanted
            self.meaning = meaning
        }

        /// Texts without a value.
        public init(texts: [String]) {
            self.texts = texts
            value = nil
            wanted = ""
            meaning = { _ in nil }
        }
    }

    /// A value as the file has it; CSV has texts alone.
    public enum Value: Sendable, Equatable {
        case text(String)
        case number(Double)
    }

    public let rows: [Row]

    /// All rows of a file.
    /// - `limit`: rows at most.
    /// - Throws: as `each`.
    public static func read(
        _ path: String, _ columns: Columns, limit: Int? = nil, limits: TextOptions.Limits = .init()
    ) throws -> LabelledTexts {
        var rows: [Row] = []
        try each(path, columns, limit: limit, limits: limits) { rows.append($0) }
        return LabelledTexts(rows: rows)
    }

    /// The rows of a file one after the other, so that they are never all in memory.
    /// - `limit`: rows at most.
    /// - `body`: gets each.
    /// - Throws: exit 66 when the file is not there; 65, with file:line:column, for the first row that has not what is asked for, and when
    ///   there is no row; 69 for a compressed file without the library for it; 74 on I/O errors; what `body` throws.
    public static func each(
        _ path: String, _ columns: Columns, limit: Int? = nil, limits: TextOptions.Limits = .init(),
        _ body: (Row) throws -> Void
    ) throws {
        var isEmpty = true
        func take(_ row: Row) throws {
            isEmpty = false
            try body(row)
        }
        if path.hasSuffix(".csv") || path.hasSuffix(".tsv") {
            try readTable(path, columns, limits, most: limit ?? .max, take)
        } else {
            try readObjects(path, columns, limits, most: limit ?? .max, take)
        }
        guard !isEmpty else {
            throw RetortError.badData("\(path.quoted(limit: 200)) has no rows", at: RetortError.Location(file: path))
        }
    }

    // MARK: CSV

    private static func readTable(
        _ path: String, _ columns: Columns, _ limits: TextOptions.Limits, most: Int, _ body: (Row) throws -> Void
    ) throws {
        var pieces = try TablePieces(path, limit: limits.recordBytes)
        var fields: [CSVScanner.Field] = []
        // Of the header, once it was read.
        var names: [String] = []
        var texts: [Int] = []
        var value: Int?
        var count = 0
        while count < most, let piece = try pieces.next() {
            var scanner = CSVScanner(
                bytes: piece.bytes, file: path, lineLimit: limits.recordBytes,
                separator: path.hasSuffix(".tsv") ? CSVScanner.tab : CSVScanner.comma, origin: piece.origin)
            if let offset = UTF8Check.firstInvalidOffset(in: piece.bytes) {
                throw scanner.failure(at: offset, "not valid UTF-8", help: "Save the file as UTF-8.")
            }
            if names.isEmpty {
                guard try scanner.next(&fields) else { return }
                names = try scanner.columnNames(fields)
                for name in columns.texts { texts.append(try scanner.column("column", name, of: names)) }
                if let name = columns.value { value = try scanner.column("column", name, of: names) }
            }
            while count < most, try scanner.next(&fields) {
                count += 1
                try scanner.checkCount(fields, wanted: names.count)
                var number = 0.0
                if let value {
                    let text = scanner.text(fields[value])
                    guard let meaning = columns.meaning(.text(text)) else {
                        throw scanner.failure(
                            at: scanner.trimmed(fields[value]).lowerBound,
                            "a wrong value in column \((columns.value ?? "").quoted())",
                            why: "\(text.quoted(limit: 100)) is not \(columns.wanted)")
                    }
                    number = meaning
                }
                try body(Row(texts: texts.map { scanner.text(fields[$0]) }, value: number))
            }
        }
    }

    // MARK: JSON

    private static func readObjects(
        _ path: String, _ columns: Columns, _ limits: TextOptions.Limits, most: Int, _ body: (Row) throws -> Void
    ) throws {
        try ObjectRows.read(path, limits, most: most) { cursor in
            var texts: [String] = []
            for name in columns.texts { texts.append(try cursor.member(name).string()) }
            guard let name = columns.value else {
                return try body(Row(texts: texts, value: 0))
            }
            let member = try cursor.member(name)
            guard let value = Value(member.value), let number = columns.meaning(value) else {
                throw member.failure("it is not \(columns.wanted)")
            }
            try body(Row(texts: texts, value: number))
        }
    }
}

extension LabelledTexts.Value {
    /// nil for what is neither a text nor a number; true and false are texts.
    fileprivate init?(_ json: JSON) {
        switch json {
        case .string(let text): self = .text(text)
        case .int(let number): self = .number(Double(number))
        case .double(let number): self = .number(number)
        case .bool(let flag): self = .text(flag ? "true" : "false")
        default: return nil
        }
    }

    /// A score: a finite number, or its text.
    public var score: Double? {
        let number: Double? =
            switch self {
            case .text(let text): DecimalText.double(text)
            case .number(let number): number
            }
        return number.flatMap { $0.isFinite ? $0 : nil }
    }

    /// A class: one of the names, else its number as such or as text.
    public func index(in names: [String]) -> Double? {
        if case .text(let text) = self, let index = names.firstIndex(where: { $0.hasSameBytes(as: text) }) {
            return Double(index)
        }
        guard let number = score, number >= 0, number < Double(names.count), number.rounded() == number else {
            return nil
        }
        return number
    }
}
