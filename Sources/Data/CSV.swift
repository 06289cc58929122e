import RetortSupport

/// A table of numbers with one label column, read from a CSV file: strict, because a value silently misread would
/// quietly spoil every result.
///
/// The file: UTF-8 (a byte order mark is skipped), a header row of distinct names, fields separated by commas and
/// quoted as in RFC 4180 where wanted, lines ended by LF or CRLF. Every field below the header is a finite decimal
/// number (spaces around it are allowed); labels are whole numbers from 0.
public struct NumericCSV: Sendable {
    /// What a file may cost. Exceeding a limit is an error (exit 65).
    public struct Limits: Sendable {
        /// Bytes of the file.
        public var fileBytes: Int
        /// Bytes of one line (quoted line breaks included).
        public var lineBytes: Int
        /// Classes, the largest label + 1: every class costs a row of the last layer.
        public var classes: Int

        public init(fileBytes: Int = 1 << 30, lineBytes: Int = 16 << 20, classes: Int = 1 << 20) {
            self.fileBytes = fileBytes
            self.lineBytes = lineBytes
            self.classes = classes
        }
    }

    /// The names of the feature columns, in file order, without the label.
    public let columnNames: [String]
    /// `[rows, columns]`, row-major, in file order.
    public let features: [Float]
    /// `[rows]`, whole numbers from 0.
    public let labels: [Int32]
    /// The largest label + 1.
    public let classes: Int

    public var rows: Int { labels.count }
    public var columns: Int { columnNames.count }

    /// Reads a file.
    /// - `label`: the name of the label column.
    /// - Throws: exit 66 when it is not there; 65, with file:line:column, when it is not what the type promises; 74 on
    ///   I/O errors.
    public static func read(
        _ path: String, label: String, limits: Limits = Limits()
    ) throws(RetortError) -> NumericCSV {
        try parse(InputFile.read(path, limit: limits.fileBytes), file: path, label: label, limits: limits)
    }

    /// Reads text that is already in memory; `file` is what errors call it. Throws exit 65 as `read`.
    public static func parse(
        _ bytes: [UInt8], file: String, label: String, limits: Limits = Limits()
    ) throws(RetortError) -> NumericCSV {
        var reader = NumericCSVReader(bytes: bytes, file: file, limits: limits)
        return try reader.table(label: label)
    }

    /// A label of a file: where it stands, and how many rows have one as large.
    public struct LabelPlace: Sendable, Equatable {
        public let label: Int32
        public let location: RetortError.Location
        /// The line, with a caret below the label.
        public let excerpt: String
        /// Rows whose label is the bound that was asked for, or more.
        public let count: Int
        /// All rows of the file.
        public let rows: Int
    }

    /// The first label of a file that is not below a bound; nil where all are. For errors: the file is read once more.
    /// - Parameters:
    ///   - path: the file.
    ///   - label: the name of the label column.
    ///   - bound: labels below it are passed over.
    ///   - limits: as for `read`.
    /// - Throws: as `read`.
    public static func firstLabel(
        in path: String, label: String, from bound: Int, limits: Limits = Limits()
    ) throws(RetortError) -> LabelPlace? {
        var reader = NumericCSVReader(
            bytes: try InputFile.read(path, limit: limits.fileBytes), file: path, limits: limits)
        return try reader.firstLabel(label, from: bound)
    }

    init(columnNames: [String], features: [Float], labels: [Int32], classes: Int) {
        self.columnNames = columnNames
        self.features = features
        self.labels = labels
        self.classes = classes
    }
}

private struct NumericCSVReader {
    let bytes: [UInt8]
    let file: String
    let limits: NumericCSV.Limits
    var scanner: CSVScanner

    init(bytes: [UInt8], file: String, limits: NumericCSV.Limits) {
        self.bytes = bytes
        self.file = file
        self.limits = limits
        scanner = CSVScanner(bytes: bytes, file: file, lineLimit: limits.lineBytes)
    }

    mutating func table(label: String) throws(RetortError) -> NumericCSV {
        if let offset = UTF8Check.firstInvalidOffset(in: bytes) {
            throw scanner.failure(at: offset, "not valid UTF-8", help: "Save the file as UTF-8.")
        }
        var fields: [CSVScanner.Field] = []
        guard try scanner.next(&fields) else {
            throw .badData(
                "\(file.quoted(limit: 200)) is empty", at: RetortError.Location(file: file),
                help: "It needs a header row with the names of the columns, then rows of numbers.")
        }
        let names = try scanner.columnNames(fields)
        let labelColumn = try scanner.column("label column", label, of: names)
        guard names.count > 1 else {
            throw scanner.failure(at: 0, "the label \(label.quoted()) is the only column", help: "Add feature columns.")
        }

        var features: [Float] = []
        var labels: [Int32] = []
        var largest: Int32 = -1
        while try scanner.next(&fields) {
            try scanner.checkCount(fields, wanted: names.count)
            for (column, field) in fields.enumerated() {
                let number = try scanner.number(field, column: names[column])
                if column == labelColumn {
                    let label = try checkedLabel(number, field, column: names[column])
                    labels.append(label)
                    largest = max(largest, label)
                } else {
                    let value = Float(number)
                    guard value.isFinite else { throw scanner.notFinite(field, column: names[column]) }
                    features.append(value)
                }
            }
        }
        guard !labels.isEmpty else {
            throw .badData(
                "\(file.quoted(limit: 200)) has no rows", at: RetortError.Location(file: file),
                why: "it ends after the header")
        }
        var columnNames = names
        columnNames.remove(at: labelColumn)
        return NumericCSV(columnNames: columnNames, features: features, labels: labels, classes: Int(largest) + 1)
    }

    mutating func firstLabel(_ label: String, from bound: Int) throws(RetortError) -> NumericCSV.LabelPlace? {
        var fields: [CSVScanner.Field] = []
        guard try scanner.next(&fields) else { return nil }
        let names = try scanner.columnNames(fields)
        let column = try scanner.column("label column", label, of: names)
        var first: (label: Int32, offset: Int)?
        var (count, rows) = (0, 0)
        while try scanner.next(&fields) {
            try scanner.checkCount(fields, wanted: names.count)
            let field = fields[column]
            let number = try scanner.number(field, column: names[column])
            let own = try checkedLabel(number, field, column: names[column])
            rows += 1
            guard Int(own) >= bound else { continue }
            count += 1
            if first == nil { first = (own, scanner.trimmed(field).lowerBound) }
        }
        guard let first else { return nil }
        let place = SourcePosition(offset: first.offset, in: bytes)
        return NumericCSV.LabelPlace(
            label: first.label, location: place.location(in: file), excerpt: place.excerpt, count: count, rows: rows)
    }

    private func checkedLabel(
        _ number: Double, _ field: CSVScanner.Field, column: String
    ) throws(RetortError) -> Int32 {
        let start = scanner.trimmed(field).lowerBound
        guard number >= 0, number.rounded() == number else {
            throw scanner.failure(
                at: start, "a label that is not a whole number from 0 in column \(column.quoted())",
                why: "\(scanner.text(field).quoted()) cannot name a class",
                help: "Number the classes 0, 1, 2, …; check that this is the label column.")
        }
        guard number < Double(limits.classes), let label = Int32(exactly: number) else {
            throw scanner.failure(
                at: start, "a label that is too large in column \(column.quoted())",
                why: "\(scanner.text(field).quoted()) would mean more than \(limits.classes) classes, the limit",
                help: "Number the classes 0, 1, 2, …; check that this is the label column.")
        }
        return label
    }
}
