/// Rotary position embedding (Su et al. 2021, arXiv:2104.09864): pairs of a head's numbers are turned by the angle of their position and
/// frequency. x, y `[tokens, heads · width]`, both f32 or both bf16, computed in fp32; positions int32 `[tokens]`; cosines, sines `[table, width / 2]`. The gradient is the same
/// with `inverse`. A position outside the table gives NaN.
public struct RotaryEmbedding: Op {
    /// Which numbers of a head form a pair.
    public enum Pairing: Sendable {
        /// i and i + width / 2: Hugging Face's Llama and everything after it.
        case halves
        /// 2i and 2i + 1: GPT-J, Meta's Llama.
        case interleaved
    }
    public let pairing: Pairing
    public let heads: Int
    public let inverse: Bool
    public init(_ pairing: Pairing, heads: Int, inverse: Bool = false) {
        self.pairing = pairing
        self.heads = heads
        self.inverse = inverse
    }

    public struct Operands {
        public let x: View
        public let positions: View
        public let cosines: View
        public let sines: View
        public let y: Output
        public init(x: View, positions: View, cosines: View, sines: View, y: Output) {
            self.x = x
            self.positions = positions
            self.cosines = cosines
            self.sines = sines
            self.y = y
        }
    }
    public var name: String { "rotary_embedding" }
    public func validate(_ o: Operands) throws {
        try requireActivations(("x", o.x), ("y", o.y.view))
        try requireF32(("cosines", o.cosines), ("sines", o.sines))
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y.view, "y"))
        try require(
            rx.rows == ry.rows && rx.columns == ry.columns, "x \(o.x.shape) and y \(o.y.view.shape) differ")
        try require(
            heads > 0 && rx.columns % (2 * heads) == 0, "x \(o.x.shape) is not \(heads) heads of an even width")
        try require(
            o.positions.dtype == .i32 && o.positions.isContiguous && o.positions.count == rx.rows,
            "positions are contiguous i32 [\(rx.rows)]")
        let pairs = rx.columns / heads / 2
        for (label, table) in [("cosines", o.cosines), ("sines", o.sines)] {
            try require(
                table.rank == 2 && table.isContiguous && table.shape[1] == pairs && table.shape == o.cosines.shape,
                "\(label) \(table.shape) are not [positions, \(pairs)]")
        }
        try require(o.cosines.shape[0] <= Int(Int32.max) && rx.columns <= Int(Int32.max), "the table is too large")
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 3 * Double(o.x.count), bytes: 2 * Double(o.x.dtype.size * o.x.count))
    }
}
