import RetortSupport

/// Rows of numbers with a class each: what a classifier is trained on. Held in memory, in file order; nothing here is
/// random.
public struct TabularDataset: Sendable {
    /// `[rows, columns]`, row-major.
    public let features: [Float]
    /// `[rows]`, each in `0..<classes`.
    public let labels: [Int32]
    /// The names of the features.
    public let columnNames: [String]
    /// The number of classes of the whole file: parts of a dataset keep it, whichever labels they hold.
    public let classes: Int

    public var rows: Int { labels.count }
    public var columns: Int { columnNames.count }

    /// A dataset from memory.
    /// - Throws: exit 65 when the sizes do not agree or a label is outside `0..<classes`.
    public init(
        features: [Float], labels: [Int32], columnNames: [String], classes: Int
    ) throws(RetortError) {
        let wanted = try CheckedSize.elements(of: [labels.count, columnNames.count], of: "the dataset")
        guard features.count == wanted else {
            throw .badData(
                "the dataset has \(features.count) feature values",
                why:
                    "\(NumberFormat.counted(labels.count, "row", "rows")) of \(columnNames.count) columns need \(wanted)"
            )
        }
        if let row = labels.firstIndex(where: { $0 < 0 || Int($0) >= classes }) {
            throw .badData("row \(row) has label \(labels[row])", why: "there are \(classes) classes, from 0")
        }
        self.init(unchecked: features, labels: labels, columnNames: columnNames, classes: classes)
    }

    private init(unchecked features: [Float], labels: [Int32], columnNames: [String], classes: Int) {
        self.features = features
        self.labels = labels
        self.columnNames = columnNames
        self.classes = classes
    }

    /// Reads a CSV file (`NumericCSV`) and multiplies every feature by `scale`.
    /// - `label`: the name of the label column.
    /// - `scale`: 0.0625 for pixels from 0 to 16, for example; finite and not 0.
    /// - Throws: exit 66 when the file is not there, 65 with file:line:column when it is malformed, 74 on I/O errors,
    ///   78 for an impossible scale.
    public static func csv(
        _ path: String, label: String, scale: Float = 1, limits: NumericCSV.Limits = NumericCSV.Limits()
    ) throws(RetortError) -> TabularDataset {
        try checkScale(scale)
        let table = try NumericCSV.read(path, label: label, limits: limits)
        let dataset = TabularDataset(
            unchecked: table.features, labels: table.labels, columnNames: table.columnNames, classes: table.classes)
        return try dataset.scaled(by: scale)
    }

    /// Every feature times `scale`, rounded once.
    /// - Throws: exit 78 when `scale` is not finite or 0, 65 when a product is too large for a 32-bit float.
    public func scaled(by scale: Float) throws(RetortError) -> TabularDataset {
        try Self.checkScale(scale)
        guard scale != 1 else { return self }
        let scaled = features.map { $0 * scale }
        if let position = scaled.firstIndex(where: { !$0.isFinite }) {
            throw .badData(
                "row \(position / columns) of column \(columnNames[position % columns].quoted()) is too large to scale",
                why: "\(features[position]) × \(scale) does not fit in a 32-bit float")
        }
        return TabularDataset(unchecked: scaled, labels: labels, columnNames: columnNames, classes: classes)
    }

    /// The split rule `test: {every: n}`: rows whose index (from 0, header not counted) is a multiple of `every` are
    /// the test set, the others the training set, both in file order.
    /// - Throws: exit 78 when `every` is below 2 or one of the sets would be empty.
    public func split(testEvery every: Int) throws(RetortError) -> (train: TabularDataset, test: TabularDataset) {
        guard every >= 2 else {
            throw .recipe(
                "test.every is \(every)", why: "every row would be a test row, or none",
                help: "Use 2 or more; 5 keeps a fifth of the rows for the test.")
        }
        guard rows >= 2 else {
            throw .recipe(
                "a test split of \(NumberFormat.counted(rows, "row", "rows"))",
                why: "the training set or the test set would be empty")
        }
        return (selecting { $0 % every != 0 }, selecting { $0 % every == 0 })
    }

    /// The first `count` rows: `train: {rows: n}`.
    /// - `key`: what messages call the number.
    /// - Throws: exit 78 when `count` is below 1 or more than there are.
    public func first(rows count: Int, key: String = "train.rows") throws(RetortError) -> TabularDataset {
        guard count >= 1, count <= rows else {
            throw .recipe(
                "\(key) is \(count)", why: "there are \(rows) training rows",
                help: "Use a number from 1 to \(rows), or leave it out for all.")
        }
        return TabularDataset(
            unchecked: Array(features[..<(count * columns)]), labels: Array(labels[..<count]),
            columnNames: columnNames, classes: classes)
    }

    /// The features of one row, `[columns]`.
    public func row(_ index: Int) -> ArraySlice<Float> {
        features[(index * columns)..<((index + 1) * columns)]
    }

    private func selecting(_ isWanted: (Int) -> Bool) -> TabularDataset {
        let wanted = (0..<rows).filter(isWanted)
        var selected: [Float] = []
        selected.reserveCapacity(wanted.count * columns)
        for index in wanted { selected.append(contentsOf: row(index)) }
        return TabularDataset(
            unchecked: selected, labels: wanted.map { labels[$0] }, columnNames: columnNames, classes: classes)
    }

    private static func checkScale(_ scale: Float) throws(RetortError) {
        guard scale.isFinite, scale != 0 else {
            throw .recipe(
                "data.scale is \(scale)", why: "every feature is multiplied by it", help: "1 changes nothing.")
        }
    }
}
