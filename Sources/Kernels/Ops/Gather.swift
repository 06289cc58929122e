/// y[i, :] = table[ids[i], :]: embeddings, and the rows of a batch. table `[n, columns]` with any pitch, ids int32 `[m]`, y `[m, columns]`;
/// f32 with any columns, i32 with one, or a bf16 table into bf16 or f32. An id outside 0..<n reads nothing: its row becomes NaN, its label −1.
public struct Gather: Op {
    /// Columns that one piece of the gradient's work covers; the kernel's GATHER_STRIP.
    static let strip = 256
    public init() {}
    public struct Operands {
        public let table: View
        public let ids: View
        public let y: View
        public init(table: View, ids: View, y: View) {
            self.table = table
            self.ids = ids
            self.y = y
        }
    }
    public var name: String { "gather" }
    public func validate(_ o: Operands) throws {
        try require(o.table.rank == 2 && o.y.rank == 2, "table and y are matrices")
        try require(o.ids.dtype == .i32 && o.ids.isContiguous, "ids are contiguous i32")
        try require(
            Self.kernel(o) != nil && (o.table.dtype != .i32 || o.table.shape[1] == 1),
            "rows of \(o.table.dtype) into \(o.y.dtype): table and y are f32, i32 with one column, or bf16 into bf16 or f32"
        )
        try require(
            o.y.shape == [o.ids.count, o.table.shape[1]], "y \(o.y.shape) is not [\(o.ids.count), \(o.table.shape[1])]")
        _ = (try rows(o.table, "table"), try rows(o.y, "y"))
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(bytes: Double((o.table.dtype.size + o.y.dtype.size) * o.y.count) + 4 * Double(o.ids.count))
    }

    static func kernel(_ o: Operands) -> String? {
        switch (o.table.dtype, o.y.dtype) {
        case (.f32, .f32): "gather_rows"
        case (.i32, .i32): "gather_ints"
        case (.bf16, .f32): "gather_rows_bf16_f32"
        case (.bf16, .bf16): "gather_rows_bf16_bf16"
        default: nil
        }
    }
}

/// Row ids sorted for a deterministic scatter: the positions of each distinct id, in order.
public struct IDBuckets {
    /// Positions in the id list, sorted by id, then by position; int32 `[m]`.
    let order: View
    /// Where each distinct id's positions begin in `order`, and the end; int32 `[distinct + 1]`.
    let starts: View
    /// The distinct ids; int32 `[distinct]`.
    let ids: View
    let distinct: Int
    let positions: Int

    /// - `paddingIndex`: an id that gets no gradient.
    public init(_ hostIDs: [Int32], paddingIndex: Int32?, on device: ComputeDevice) throws {
        let kept = hostIDs.indices.filter { hostIDs[$0] != paddingIndex }
        let sorted = kept.sorted { (hostIDs[$0], $0) < (hostIDs[$1], $1) }
        var starts: [Int32] = []
        var ids: [Int32] = []
        for (i, position) in sorted.enumerated() where ids.last != hostIDs[position] {
            ids.append(hostIDs[position])
            starts.append(Int32(i))
        }
        starts.append(Int32(sorted.count))
        distinct = ids.count
        positions = sorted.count
        order = try device.view(
            sorted.isEmpty ? [0] : sorted.map(Int32.init), [max(1, sorted.count)], .i32, for: .workspace)
        self.starts = try device.view(starts, [starts.count], .i32, for: .workspace)
        self.ids = try device.view(ids.isEmpty ? [0] : ids, [max(1, ids.count)], .i32, for: .workspace)
    }
}

/// table[id, :] += Σ dy[i, :] over the positions i of each id, in order: the gradient of `Gather`, without atomics. Rows whose id does
/// not occur stay as they are.
public struct ScatterAdd: Op {
    public init() {}
    public struct Operands {
        public let dy: View
        public let buckets: IDBuckets
        public let table: View
        public init(dy: View, buckets: IDBuckets, table: View) {
            self.dy = dy
            self.buckets = buckets
            self.table = table
        }

        /// Pairs of a distinct id and a strip of columns: the independent pieces of work.
        var items: Int { buckets.distinct * ((table.shape[1] + Gather.strip - 1) / Gather.strip) }
    }
    public var name: String { "scatter_add" }
    public func validate(_ o: Operands) throws {
        try requireF32(("dy", o.dy), ("table", o.table))
        try require(
            o.dy.rank == 2 && o.table.rank == 2 && o.dy.shape[1] == o.table.shape[1], "dy and table have equal columns")
        _ = (try rows(o.dy, "dy"), try rows(o.table, "table"))
    }
    public func cost(_ o: Operands) -> Cost { Cost(flops: Double(o.dy.count), bytes: 8 * Double(o.dy.count)) }
}
