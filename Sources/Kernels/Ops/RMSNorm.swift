/// y = x · rstd · weight over the last dimension; rstd = 1 / √(mean(x²) + epsilon) (Zhang & Sennrich 2019, arXiv:1910.07467). x, y
/// `[..., columns]`, both f32 or both bf16; weight `[columns]`; rstd `[rows]` is kept for backward. Computed in fp32.
public struct RMSNorm: Op {
    public let epsilon: Float
    /// Added to the weight: 1 where it is stored as what it is beyond 1 (Gemma, arXiv:2403.08295).
    public let weightOffset: Float
    public init(epsilon: Float = 1e-6, weightOffset: Float = 0) {
        self.epsilon = epsilon
        self.weightOffset = weightOffset
    }

    public struct Operands {
        public let x: View
        public let weight: View?
        public let y: View
        public let rstd: View
        public init(x: View, weight: View?, y: View, rstd: View) {
            self.x = x
            self.weight = weight
            self.y = y
            self.rstd = rstd
        }
    }
    public var name: String { "rms_norm" }
    public func validate(_ o: Operands) throws {
        try requireActivations(("x", o.x), ("y", o.y))
        try requireF32(("rstd", o.rstd))
        let r = try rows(o.x, "x")
        try require(o.x.shape == o.y.shape && r.columns > 0, "x \(o.x.shape) and y \(o.y.shape) differ")
        if let weight = o.weight {
            try requireF32(("weight", weight))
            try require(weight.isContiguous && weight.count == r.columns, "weight is [\(r.columns)]")
        }
        try require(o.rstd.isContiguous && o.rstd.count == r.rows, "rstd is [\(r.rows)]")
        _ = try rows(o.y, "y")
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 4 * Double(o.x.count), bytes: 2 * Double(o.x.dtype.size * o.x.count))
    }
}

/// The gradients of `RMSNorm`; each output may be absent. x is f32 or bf16, gradients are f32.
public struct RMSNormBackward: Op {
    /// Rows whose weight gradients are summed into one partial, in order; the kernel's RMSNORM_BLOCK.
    static let block = 64
    /// That of the forward pass.
    public let weightOffset: Float
    public init(weightOffset: Float = 0) { self.weightOffset = weightOffset }

    public struct Operands {
        public let x: View
        public let weight: View?
        public let dy: View
        public let rstd: View
        public let dx: Output?
        public let dWeight: Output?
        public init(x: View, weight: View?, dy: View, rstd: View, dx: Output?, dWeight: Output?) {
            self.x = x
            self.weight = weight
            self.dy = dy
            self.rstd = rstd
            self.dx = dx
            self.dWeight = dWeight
        }
    }
    public var name: String { "rms_norm_backward" }
    public func validate(_ o: Operands) throws {
        try requireActivations(("x", o.x))
        try requireF32(("dy", o.dy), ("rstd", o.rstd))
        try require(o.x.shape == o.dy.shape, "x \(o.x.shape) and dy \(o.dy.shape) differ")
        let r = try rows(o.x, "x")
        _ = try rows(o.dy, "dy")
        try require(o.rstd.isContiguous && o.rstd.count == r.rows, "rstd is [\(r.rows)]")
        if let dx = o.dx {
            try requireF32(("dx", dx.view))
            try require(dx.view.count == o.x.count, "dx is like x")
            _ = try rows(dx.view, "dx")
        }
        for (label, view) in [("weight", o.weight), ("dWeight", o.dWeight?.view)] {
            guard let view else { continue }
            try requireF32((label, view))
            try require(view.isContiguous && view.count == r.columns, "\(label) is [\(r.columns)]")
        }
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 8 * Double(o.x.count), bytes: Double((o.x.dtype.size + 8) * o.x.count))
    }

    /// The sum of partials `[blocks, columns]` over blocks, in order.
    func sum(_ partials: View, into dWeight: Output) -> Reduce.Operands {
        Reduce.Operands(
            x: partials, axis: 0, y: Output(dWeight.view.reshaped([1, partials.shape[1]]), dWeight.mode))
    }
}
