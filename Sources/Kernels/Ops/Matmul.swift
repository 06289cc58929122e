/// An activation fused into a product's epilogue. Raw values are the kernel's codes.
public enum MatmulActivation: Int, Sendable, CaseIterable {
    case none, relu, geluExact, geluTanh, silu, tanh, sigmoid
}

/// C = activation(alpha · A · B + bias) + residual, row-major; C is written or added to.
///
/// - A, B and C are each f32 or bf16; residual and preactivation are stored as C is, bias is f32. Sums are fp32, and C is rounded once.
/// - A `[..., m, k]`, B `[..., k, n]`, C `[..., m, n]`; leading dimensions of A and B broadcast to C's.
/// - A transposed operand is a view with exchanged strides: one of the last two strides must be 1.
/// - bias `[n]`; residual and preactivation `[..., m, n]`. The preactivation is what the activation was applied to, kept for backward.
public struct Matmul: Op {
    public var alpha: Float
    public var activation: MatmulActivation

    public init(alpha: Float = 1, activation: MatmulActivation = .none) {
        self.alpha = alpha
        self.activation = activation
    }

    public struct Operands {
        public let a: View
        public let b: View
        public let c: Output
        public let bias: View?
        public let residual: View?
        public let preactivation: View?

        public init(
            a: View, b: View, c: Output, bias: View? = nil, residual: View? = nil, preactivation: View? = nil
        ) {
            self.a = a
            self.b = b
            self.c = c
            self.bias = bias
            self.residual = residual
            self.preactivation = preactivation
        }
    }

    public var name: String { "matmul" }

    public func validate(_ o: Operands) throws {
        // Without arrays and closures over views, whose copies are counted: a token of a small decoder has 25 products.
        if o.a.dtype != .bf16 { try requireF32(("a", o.a)) }
        if o.b.dtype != .bf16 { try requireF32(("b", o.b)) }
        if o.c.view.dtype != .bf16 { try requireF32(("c", o.c.view)) }
        let (aRank, bRank, cRank) = (o.a.rank, o.b.rank, o.c.view.rank)
        try require(
            aRank >= 2 && bRank >= 2 && cRank >= 2, "operands are matrices; got ranks \(aRank), \(bRank), \(cRank)")
        let (m, k, n) = (o.a.shape[aRank - 2], o.a.shape[aRank - 1], o.b.shape[bRank - 1])
        try require(
            o.b.shape[bRank - 2] == k && o.c.view.shape[cRank - 2] == m && o.c.view.shape[cRank - 1] == n,
            "a \(o.a.shape) · b \(o.b.shape) does not give c \(o.c.view.shape)")
        if aRank > 2 || bRank > 2 {
            let batch = o.c.view.shape.dropLast(2)
            try require(
                View.batch(o.a)?.broadcast(to: batch) != nil && View.batch(o.b)?.broadcast(to: batch) != nil,
                "leading dimensions of a \(o.a.shape) and b \(o.b.shape) do not broadcast to c \(o.c.view.shape)")
        }
        try require(
            MatrixLayout(o.a) != nil,
            "a \(o.a.shape), strides \(o.a.strides): one of the last two strides must be 1")
        try require(
            MatrixLayout(o.b) != nil,
            "b \(o.b.shape), strides \(o.b.strides): one of the last two strides must be 1")
        try require(
            MatrixLayout(o.c.view)?.transposed == false,
            "c \(o.c.view.shape), strides \(o.c.view.strides): rows must be contiguous")
        if let bias = o.bias {
            try requireF32(("bias", bias))
            try require(
                bias.rank == 1 && bias.shape[0] == n && (bias.strides[0] == 1 || n == 1), "bias must be [\(n)]")
        }
        if let residual = o.residual { try requireLikeOutput("residual", residual, o.c.view) }
        if let preactivation = o.preactivation { try requireLikeOutput("preactivation", preactivation, o.c.view) }
        try require(Swift.max(m, n, k) < Int(Int32.max), "dimensions above 2^31 − 1")
    }

    private func requireLikeOutput(_ label: String, _ view: View, _ c: View) throws {
        try require(view.dtype == c.dtype, "\(label) must be \(c.dtype) as c is")
        try require(
            view.shape == c.shape && MatrixLayout(view)?.transposed == false, "\(label) must be like c \(c.shape)")
    }

    public func cost(_ o: Operands) -> Cost {
        let c = o.c.view
        let k = Double(o.a.shape[o.a.rank - 1])
        let elements = Double(c.count)
        let outputs = o.c.mode == .accumulate ? 2.0 : 1.0
        let sides = Double([o.residual, o.preactivation].count { $0 != nil })
        return Cost(
            flops: 2 * elements * k,
            matrixFlops: o.a.dtype == .bf16 && o.b.dtype == .bf16 ? 2 * elements * k : 0,
            bytes: Double(o.a.dtype.size * o.a.count) + Double(o.b.dtype.size * o.b.count)
                + Double(c.dtype.size) * (outputs + sides) * elements)
    }
}

/// How a matrix (the last two dimensions of a view) lies in memory.
struct MatrixLayout {
    /// True when the columns, not the rows, are contiguous.
    let transposed: Bool
    /// Elements from one row (or column, when transposed) to the next.
    let leading: Int

    init?(_ view: View) {
        let (rows, columns) = (view.shape[view.rank - 2], view.shape[view.rank - 1])
        let (rowStride, columnStride) = (view.strides[view.rank - 2], view.strides[view.rank - 1])
        if columnStride == 1 || columns == 1, rowStride >= columns || rows == 1 {
            // A single column may have any stride between its rows; a single row any pitch.
            transposed = false
            leading = rows == 1 ? Swift.max(1, columns) : rowStride
        } else if rowStride == 1 || rows == 1, columnStride >= rows || columns == 1 {
            transposed = true
            leading = columns == 1 ? Swift.max(1, rows) : columnStride
        } else {
            return nil
        }
    }
}

extension View {
    /// The leading dimensions alone, as a view whose elements are the matrices.
    static func batch(_ view: View) -> View? {
        guard view.rank >= 2 else { return nil }
        return View(
            storage: view.storage, offset: view.offset, shape: view.shape.dropLast(2),
            strides: view.strides.dropLast(2), dtype: view.dtype)
    }
}

/// The products of a batch: runs of matrices at equal distances, so that most batches are one launch.
struct MatmulBatch {
    let count: Int
    /// Element offsets of the first matrices, relative to the views' own.
    let offsets: (a: Int, b: Int, c: Int)
    let strides: (a: Int, b: Int, c: Int)

    /// The fewest runs that cover the batch of `o`.
    static func runs(_ o: Matmul.Operands) -> [MatmulBatch] {
        if o.c.view.rank == 2 { return [MatmulBatch(count: 1, offsets: (0, 0, 0), strides: (0, 0, 0))] }
        let shape = o.c.view.shape.dropLast(2)
        let a = View.batch(o.a)!.broadcast(to: shape)!.strides
        let b = View.batch(o.b)!.broadcast(to: shape)!.strides
        let c = View.batch(o.c.view)!.strides
        // Innermost dimensions that continue each other on all three operands merge into one run.
        var inner = 1
        var axis = shape.count
        var step = (a: 0, b: 0, c: 0)
        while axis > 0 {
            let i = axis - 1
            if shape[i] != 1 {
                if inner == 1 {
                    step = (a[i], b[i], c[i])
                } else if a[i] != step.a * inner || b[i] != step.b * inner || c[i] != step.c * inner {
                    break
                }
                inner *= shape[i]
            }
            axis = i
        }
        let outer = Array(shape[..<axis])
        return (0..<outer.reduce(1, *)).map { index in
            var rest = index
            var offset = (a: 0, b: 0, c: 0)
            for i in stride(from: outer.count - 1, through: 0, by: -1) {
                let at = rest % outer[i]
                rest /= outer[i]
                offset = (offset.a + at * a[i], offset.b + at * b[i], offset.c + at * c[i])
            }
            return MatmulBatch(count: inner, offsets: offset, strides: step)
        }
    }
}
