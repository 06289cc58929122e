/// What a decoder's cache takes of one projection, in one launch: queries and keys turned to their positions (see `RotaryEmbedding`), values
/// as they are; keys and values go where the cache has room for them.
///
/// - x `[tokens, (heads + 2 · keyValueHeads) · width]`: queries, keys and values side by side; the tokens of a text follow each other.
/// - positions int32 `[tokens]`; cosines, sines `[table, width / 2]`; a position outside the table gives NaN.
/// - queries `[tokens, heads · width]`; keys, values `[texts, tokens of a text, keyValueHeads · width]`, with the same strides.
///
/// x, queries, keys and values are all f32 or all bf16, computed in fp32. There is no gradient: caches keep numbers only.
public struct RotaryAppend: Op {
    public let pairing: RotaryEmbedding.Pairing
    public let heads: Int
    public let keyValueHeads: Int
    public init(_ pairing: RotaryEmbedding.Pairing = .halves, heads: Int, keyValueHeads: Int) {
        self.pairing = pairing
        self.heads = heads
        self.keyValueHeads = keyValueHeads
    }

    public struct Operands {
        public let x: View
        public let positions: View
        public let cosines: View
        public let sines: View
        public let queries: View
        public let keys: View
        public let values: View
        public init(
            x: View, positions: View, cosines: View, sines: View, queries: View, keys: View, values: View
        ) {
            self.x = x
            self.positions = positions
            self.cosines = cosines
            self.sines = sines
            self.queries = queries
            self.keys = keys
            self.values = values
        }
    }
    public var name: String { "rotary_append" }
    public func validate(_ o: Operands) throws {
        try requireActivations(("x", o.x), ("queries", o.queries), ("keys", o.keys), ("values", o.values))
        try requireF32(("cosines", o.cosines), ("sines", o.sines))
        let (rx, rq) = (try rows(o.x, "x"), try rows(o.queries, "queries"))
        let parts = heads + 2 * keyValueHeads
        try require(
            heads > 0 && keyValueHeads > 0 && rx.columns % (2 * parts) == 0,
            "x \(o.x.shape) is not \(parts) heads of an even width")
        let width = rx.columns / parts
        try require(
            rq.rows == rx.rows && rq.columns == heads * width,
            "queries \(o.queries.shape) are not [\(rx.rows), \(heads * width)]")
        try require(
            o.keys.rank == 3 && o.keys.shape[0] * o.keys.shape[1] == rx.rows
                && o.keys.shape[2] == keyValueHeads * width,
            "keys \(o.keys.shape) are not [texts, tokens, \(keyValueHeads * width)] of \(rx.rows) tokens")
        try require(
            o.values.shape == o.keys.shape && o.values.strides == o.keys.strides && o.keys.strides[2] == 1,
            "keys and values lie alike, their heads side by side")
        try require(
            o.positions.dtype == .i32 && o.positions.isContiguous && o.positions.count == rx.rows,
            "positions are contiguous i32 [\(rx.rows)]")
        for (label, table) in [("cosines", o.cosines), ("sines", o.sines)] {
            try require(
                table.rank == 2 && table.isContiguous && table.shape[1] == width / 2 && table.shape == o.cosines.shape,
                "\(label) \(table.shape) are not [positions, \(width / 2)]")
        }
        try require(o.cosines.shape[0] <= Int(Int32.max) && rx.columns <= Int(Int32.max), "the table is too large")
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 3 * Double(o.x.count), bytes: 2 * Double(o.x.dtype.size * o.x.count))
    }
}
