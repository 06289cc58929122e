/// A function of one number, with its parameter where it has one.
public enum UnaryFunction: Sendable, Equatable {
    case exp, log, squareRoot, reciprocalSquareRoot, square, abs, negate, reciprocal
    case relu, relu6, hardSwish, sigmoid, tanh, silu, quickGelu, geluExact, geluTanh, logSigmoid, softplus
    case leakyRelu(slope: Float)
    case elu(alpha: Float)
    /// x² / (2β) where |x| < β, else |x| − β/2.
    case smoothL1(beta: Float)
    case clampMinimum(Float)

    /// What kernels call it.
    var kernel: String {
        switch self {
        case .exp: "exp"
        case .log: "log"
        case .squareRoot: "sqrt"
        case .reciprocalSquareRoot: "rsqrt"
        case .square: "square"
        case .abs: "abs"
        case .negate: "neg"
        case .reciprocal: "reciprocal"
        case .relu: "relu"
        case .relu6: "relu6"
        case .hardSwish: "hardswish"
        case .sigmoid: "sigmoid"
        case .tanh: "tanh"
        case .silu: "silu"
        case .quickGelu: "quick_gelu"
        case .geluExact: "gelu_erf"
        case .geluTanh: "gelu_tanh"
        case .logSigmoid: "logsigmoid"
        case .softplus: "softplus"
        case .leakyRelu: "leaky_relu"
        case .elu: "elu"
        case .smoothL1: "smooth_l1"
        case .clampMinimum: "clamp_min"
        }
    }

    var parameter: Float {
        switch self {
        case .leakyRelu(let p), .elu(let p), .smoothL1(let p), .clampMinimum(let p): p
        default: 0
        }
    }
}

/// y = f(x), element by element; both f32 or both bf16. Computed in fp32.
public struct Unary: Op {
    public let function: UnaryFunction
    public init(_ function: UnaryFunction) { self.function = function }

    public struct Operands {
        public let x: View
        public let y: Output
        public init(x: View, y: Output) {
            self.x = x
            self.y = y
        }
    }
    public var name: String { function.kernel }
    public func validate(_ o: Operands) throws {
        try requireActivations(("x", o.x), ("y", o.y.view))
        try require(o.x.shape == o.y.view.shape, "x \(o.x.shape) and y \(o.y.view.shape) differ")
        _ = try MatchedElements([o.x, o.y.view], self)
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: Double(o.x.count), bytes: 2 * Double(o.x.dtype.size * o.x.count))
    }
}

/// dx = dy · f′(x); x f32 or bf16, gradients f32.
public struct UnaryBackward: Op {
    public let function: UnaryFunction
    public init(_ function: UnaryFunction) { self.function = function }

    public struct Operands {
        public let x: View
        public let dy: View
        public let dx: Output
        public init(x: View, dy: View, dx: Output) {
            self.x = x
            self.dy = dy
            self.dx = dx
        }
    }
    public var name: String { function.kernel + "_backward" }
    public func validate(_ o: Operands) throws {
        try requireActivations(("x", o.x))
        try requireF32(("dy", o.dy), ("dx", o.dx.view))
        try require(
            o.x.count == o.dy.count && o.x.count == o.dx.view.count,
            "x \(o.x.shape), dy \(o.dy.shape) and dx \(o.dx.view.shape) differ")
        _ = try MatchedElements([o.x, o.dy, o.dx.view], self)
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 2 * Double(o.x.count), bytes: Double((o.x.dtype.size + 8) * o.x.count))
    }
}

/// y = factor · x; both f32 or both bf16.
public struct Scale: Op {
    public let factor: Float
    public init(_ factor: Float) { self.factor = factor }
    public typealias Operands = Unary.Operands
    public var name: String { "scale" }
    public func validate(_ o: Operands) throws {
        try requireActivations(("x", o.x), ("y", o.y.view))
        try require(o.x.count == o.y.view.count, "x \(o.x.shape) and y \(o.y.view.shape) differ")
        _ = try MatchedElements([o.x, o.y.view], self)
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: Double(o.x.count), bytes: 2 * Double(o.x.dtype.size * o.x.count))
    }
}

/// Operands of equal element count walked together, row after row: as one long row when all are dense.
struct MatchedElements {
    let count: Int
    let columns: Int
    let pitches: [Int]

    init(_ views: [View], _ op: some Op) throws {
        count = views[0].count
        if views.allSatisfy(\.isContiguous) {
            columns = max(1, count)
            pitches = views.map { _ in max(1, views[0].count) }
            return
        }
        func agree(_ rows: [Rows]) -> Bool {
            rows.allSatisfy { $0.rows == rows[0].rows && $0.columns == rows[0].columns }
        }
        // As they are, or else each as the longest rows it has: then dense and padded views may differ where they need not.
        var matched = views.compactMap(\.rows)
        if matched.count < views.count || !agree(matched) {
            matched = try views.enumerated().map { try op.rows($0.element.mergingTail, "operand \($0.offset)") }
        }
        guard agree(matched) else { throw operandError(op.name, "shapes \(views.map(\.shape)) differ") }
        columns = max(1, matched[0].columns)
        pitches = matched.map(\.pitch)
    }
}

extension View {
    /// The same elements with as many trailing dimensions as follow each other without gaps seen as one: a convolution's weight in
    /// its arena is rows of channels · height · width.
    fileprivate var mergingTail: View {
        var columns = 1
        var kept = rank
        while kept > 1, shape[kept - 1] == 1 || strides[kept - 1] == columns {
            columns *= shape[kept - 1]
            kept -= 1
        }
        guard kept < rank - 1 else { return self }
        return View(
            storage: storage, offset: offset, shape: shape.prefix(kept) + [columns],
            strides: strides.prefix(kept) + [1], dtype: dtype)
    }
}
