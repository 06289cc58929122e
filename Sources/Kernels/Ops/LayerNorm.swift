/// y = (x − mean) · rstd · weight + bias over the last dimension; rstd = 1 / √(variance + epsilon), variance without correction,
/// computed in two passes. x, y `[..., columns]`; weight, bias `[columns]`; mean, rstd `[rows]` are kept for backward.
public struct LayerNorm: Op {
    public let epsilon: Float
    public init(epsilon: Float = 1e-5) { self.epsilon = epsilon }

    public struct Operands {
        public let x: View
        public let weight: View?
        public let bias: View?
        public let y: View
        public let mean: View
        public let rstd: View
        public init(x: View, weight: View?, bias: View?, y: View, mean: View, rstd: View) {
            self.x = x
            self.weight = weight
            self.bias = bias
            self.y = y
            self.mean = mean
            self.rstd = rstd
        }
    }
    public var name: String { "layer_norm" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("y", o.y))
        let r = try rows(o.x, "x")
        try require(o.x.shape == o.y.shape && r.columns > 0, "x \(o.x.shape) and y \(o.y.shape) differ")
        for view in [o.weight, o.bias].compactMap({ $0 }) {
            try require(view.isContiguous && view.count == r.columns, "weight and bias are [\(r.columns)]")
        }
        try require(o.mean.count == r.rows && o.rstd.count == r.rows, "mean and rstd are [\(r.rows)]")
        _ = try rows(o.y, "y")
    }
    public func cost(_ o: Operands) -> Cost { Cost(flops: 8 * Double(o.x.count), bytes: 8 * Double(o.x.count)) }
}

/// The gradients of `LayerNorm`; each output may be absent.
public struct LayerNormBackward: Op {
    /// Rows whose weight gradients are summed into one partial, in order.
    static let block = 64
    public init() {}

    public struct Operands {
        public let x: View
        public let weight: View?
        public let dy: View
        public let mean: View
        public let rstd: View
        public let dx: Output?
        public let dWeight: Output?
        public let dBias: Output?
        public init(
            x: View, weight: View?, dy: View, mean: View, rstd: View, dx: Output?, dWeight: Output?, dBias: Output?
        ) {
            self.x = x
            self.weight = weight
            self.dy = dy
            self.mean = mean
            self.rstd = rstd
            self.dx = dx
            self.dWeight = dWeight
            self.dBias = dBias
        }
    }
    public var name: String { "layer_norm_backward" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("dy", o.dy))
        try require(o.x.shape == o.dy.shape, "x \(o.x.shape) and dy \(o.dy.shape) differ")
        _ = (try rows(o.x, "x"), try rows(o.dy, "dy"))
        if let dx = o.dx {
            try require(dx.view.count == o.x.count, "dx is like x")
            _ = try rows(dx.view, "dx")
        }
    }
    public func cost(_ o: Operands) -> Cost { Cost(flops: 15 * Double(o.x.count), bytes: 12 * Double(o.x.count)) }
}
