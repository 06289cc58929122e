/// y = (x − mean) · rstd · weight + bias over the last dimension; rstd = 1 / √(variance + epsilon), variance without correction,
/// computed in two passes and in fp32. x, y `[..., columns]`, both f32 or both bf16; weight, bias `[columns]`; mean, rstd `[rows]` are kept for backward.
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
        try requireActivations(("x", o.x), ("y", o.y))
        try requireF32(("mean", o.mean), ("rstd", o.rstd))
        let r = try rows(o.x, "x")
        try require(o.x.shape == o.y.shape && r.columns > 0, "x \(o.x.shape) and y \(o.y.shape) differ")
        for (label, view) in [("weight", o.weight), ("bias", o.bias)] {
            guard let view else { continue }
            try requireF32((label, view))
            try require(view.isContiguous && view.count == r.columns, "weight and bias are [\(r.columns)]")
        }
        try require(o.mean.count == r.rows && o.rstd.count == r.rows, "mean and rstd are [\(r.rows)]")
        _ = try rows(o.y, "y")
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 8 * Double(o.x.count), bytes: 2 * Double(o.x.dtype.size * o.x.count))
    }
}

/// The gradients of `LayerNorm`; each output may be absent. x is f32 or bf16, gradients are f32.
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
        try requireActivations(("x", o.x))
        try requireF32(("dy", o.dy), ("mean", o.mean), ("rstd", o.rstd))
        for (label, view) in [
            ("weight", o.weight), ("dx", o.dx?.view), ("dWeight", o.dWeight?.view), ("dBias", o.dBias?.view),
        ] {
            if let view { try requireF32((label, view)) }
        }
        try require(o.x.shape == o.dy.shape, "x \(o.x.shape) and dy \(o.dy.shape) differ")
        _ = (try rows(o.x, "x"), try rows(o.dy, "dy"))
        if let dx = o.dx {
            try require(dx.view.count == o.x.count, "dx is like x")
            _ = try rows(dx.view, "dx")
        }
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 15 * Double(o.x.count), bytes: Double((o.x.dtype.size + 8) * o.x.count))
    }
}
