/// y = f(x̂ · weightᵀ + bias) with x̂ = RMS norm of x (see `RMSNorm`), for few rows, in one launch: decoding a token takes as long as its
/// launches.
///
/// - x `[..., k]` of at most `mostRows` rows; y `[..., n]`; norm `[k]`, the norm's weight, or nil for none. All f32.
/// - weight `[n, k]`, f32 or bf16; bias `[n]`, f32. Rows of weight are contiguous.
/// - With a gate weight is `[2n, k]` and bias `[2n]`, gates above ups: y = activation(gate) · up (see `Gated`). Without one f is the identity.
///
/// Every group of work-items sums the squares of the rows anew, in the order of `RMSNorm`. There is no gradient: it is for reading with a
/// cache, which keeps numbers only.
public struct NormedProduct: Op {
    /// The kernels' NORMED_MOST_ROWS.
    public static let mostRows = MatmulPlan.skinnyRows

    public let epsilon: Float
    public let gate: GatedActivation?
    public init(epsilon: Float = 1e-6, gate: GatedActivation? = nil) {
        self.epsilon = epsilon
        self.gate = gate
    }

    public struct Operands {
        public let x: View
        public let norm: View?
        public let weight: View
        public let bias: View?
        public let y: View
        public init(x: View, norm: View?, weight: View, bias: View?, y: View) {
            self.x = x
            self.norm = norm
            self.weight = weight
            self.bias = bias
            self.y = y
        }
    }
    public var name: String { "normed_product" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("y", o.y))
        if o.weight.dtype != .bf16 { try requireF32(("weight", o.weight)) }
        let (rx, rw, ry) = (try rows(o.x, "x"), try rows(o.weight, "weight"), try rows(o.y, "y"))
        try require(rx.rows <= Self.mostRows, "x \(o.x.shape) has more than \(Self.mostRows) rows")
        try require(
            rx.columns > 0 && rw.columns == rx.columns, "weight \(o.weight.shape) does not fit x \(o.x.shape)")
        try require(
            ry.rows == rx.rows && ry.columns * parts == rw.rows,
            "y \(o.y.shape) is not x \(o.x.shape) by weight \(o.weight.shape)" + (gate == nil ? "" : ", gates and ups"))
        if let norm = o.norm {
            try requireF32(("norm", norm))
            try require(norm.isContiguous && norm.count == rx.columns, "norm is [\(rx.columns)]")
        }
        if let bias = o.bias {
            try requireF32(("bias", bias))
            try require(bias.isContiguous && bias.count == rw.rows, "bias is [\(rw.rows)]")
        }
        try require(rx.columns < Int(Int32.max), "dimensions above 2^31 − 1")
    }
    public func cost(_ o: Operands) -> Cost {
        let k = o.x.shape.last ?? 1
        return Cost(
            flops: Double(4 * o.x.count) + Double(2 * parts * k) * Double(o.y.count),
            bytes: Double(4 * (o.x.count + o.y.count)) + Double(o.weight.dtype.size * o.weight.count))
    }

    /// Columns of the product for each of y.
    var parts: Int { gate == nil ? 1 : 2 }

    /// The activation of the gate as kernels know it.
    var gateCode: Int32 {
        switch gate {
        case nil: 0
        case .swiglu?: 1
        case .gegluTanh?: 2
        }
    }
}

extension ComputeDevice {
    /// Rows up to which products read their matrix once, as it lies, and a norm in front is worth doing in the same launch.
    public var fewRows: Int {
        switch self {
        case .cpu: FewRows.most
        case .openCL(let device): device.family == .vector ? FewRows.most : MatmulPlan.skinnyRows
        case .planned(let plan): plan.fewRows
        }
    }
}
