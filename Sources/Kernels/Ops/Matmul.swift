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
        let (a, b, c) = (o.a, o.b, o.c.view)
        for (label, view) in [("a", a), ("b", b), ("c", c)] where view.dtype != .bf16 { try requireF32((label, view)) }
        if let bias = o.bias { try requireF32(("bias", bias)) }
        for (label, view) in [("residual", o.residual), ("preactivation", o.preactivation)] {
            try require(view.map { $0.dtype == c.dtype } ?? true, "\(label) must be \(c.dtype) as c is")
        }
        try require(
            a.rank >= 2 && b.rank >= 2 && c.rank >= 2,
            "operands are matrices; got ranks \(a.rank), \(b.rank), \(c.rank)")
        let (m, k, n) = (a.shape[a.rank - 2], a.shape[a.rank - 1], b.shape[b.rank - 1])
        try require(
            b.shape[b.rank - 2] == k && c.shape.suffix(2) == [m, n],
            "a \(a.shape) · b \(b.shape) does not give c \(c.shape)")
        let batch = c.shape.dropLast(2)
        try require(
            View.batch(a)?.broadcast(to: batch) != nil && View.batch(b)?.broadcast(to: batch) != nil,
            "leading dimensions of a \(a.shape) and b \(b.shape) do not broadcast to c \(c.shape)")
        try require(MatrixLayout(a) != nil, "a \(a.shape), strides \(a.strides): one of the last two strides must be 1")
        try require(MatrixLayout(b) != nil, "b \(b.shape), strides \(b.strides): one of the last two strides must be 1")
        try require(MatrixLayout(c)?.transposed == false, "c \(c.shape), strides \(c.strides): rows must be contiguous")
        try require(o.bias.map { $0.shape == [n] && $0.strides[0] == 1 || n == 1 } ?? true, "bias must be [\(n)]")
        for (label, view) in [("residual", o.residual), ("preactivation", o.preactivation)] {
            guard let view else { continue }
            try require(
                view.shape == c.shape && MatrixLayout(view)?.transposed == false, "\(label) must be like c \(c.shape)")
        }
        try require(
            [m, n, k].allSatisfy { $0 < Int(Int32.max) }, "dimensions above 2^31 − 1")
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
