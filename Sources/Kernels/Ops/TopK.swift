/// The k largest elements of each row, descending, with their int32 columns; equal elements (−0 and 0 too) in column order, NaN first.
/// k = columns sorts.
/// x `[..., columns]` → values, indices `[..., k]`, contiguous.
public struct TopK: Op {
    public init() {}
    public struct Operands {
        public let x: View
        public let values: View
        public let indices: View
        public init(x: View, values: View, indices: View) {
            self.x = x
            self.values = values
            self.indices = indices
        }
    }
    public var name: String { "topk" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("values", o.values))
        let r = try rows(o.x, "x")
        try require(o.indices.dtype == .i32 && o.indices.shape == o.values.shape, "indices are i32, like values")
        try require(o.values.isContiguous && o.indices.isContiguous, "outputs are contiguous")
        let k = o.values.shape.last ?? 1
        try require(k >= 1 && k <= r.columns && o.values.count == r.rows * k, "k = \(k) of \(r.columns) columns")
    }
    public func cost(_ o: Operands) -> Cost { Cost(bytes: 4 * Double(o.x.count + 2 * o.values.count)) }
}

extension TopK {
    /// Whether all of a row is wanted and it is too long to be inserted one by one.
    static func sorts(k: Int, columns: Int) -> Bool { k == columns && columns > 32 }

    /// Columns up to which counting what comes before each entry is as fast as a sort, for a group of work-items.
    static let mostRanked = 512

    /// Numbers of work memory of a range of rows that are sorted one after the other (kernels/topk.cl): the counters of four digits of 8
    /// bits, then keys and places of a row.
    static func rangeWork(columns: Int) -> Int { 4 * 256 + 2 * columns }

    /// What sorting costs of an element, in elements of row-kernel work.
    static let sortWork = 16
}

/// dx[row, indices[row, j]] = dy[row, j], zero (or unchanged, when added to) elsewhere: the gradient of a selection of columns.
public struct ScatterColumns: Op {
    public init() {}
    public struct Operands {
        public let dy: View
        public let indices: View
        public let dx: Output
        public init(dy: View, indices: View, dx: Output) {
            self.dy = dy
            self.indices = indices
            self.dx = dx
        }
    }
    public var name: String { "scatter_columns" }
    public func validate(_ o: Operands) throws {
        try requireF32(("dy", o.dy), ("dx", o.dx.view))
        try require(o.indices.dtype == .i32 && o.indices.count == o.dy.count, "indices are i32, like dy")
        try require(o.dy.isContiguous && o.indices.isContiguous && o.dx.view.isContiguous, "operands are contiguous")
    }
    public func cost(_ o: Operands) -> Cost { Cost(bytes: 4 * Double(o.dx.view.count + 2 * o.dy.count)) }
}
