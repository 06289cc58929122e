/// What a reduction computes along a dimension of n elements.
public enum Reduction: Sendable, Equatable {
    case sum
    case mean
    /// Σ (x − mean)² / (n − correction).
    case variance(correction: Int)
    case max
    case min
    /// log Σ exp(x), without overflow.
    case logSumExp
}

extension Reduction {
    /// The type of the statistic that backward needs, where it needs one.
    public var statistic: DType? {
        switch self {
        case .variance: .f32
        case .max, .min: .i32
        case .sum, .mean, .logSumExp: nil
        }
    }
}

/// A tensor seen as `[outer, n, inner]` around one dimension.
struct Axis {
    let outer: Int
    let n: Int
    let inner: Int

    init(_ shape: Dimensions, _ axis: Int) {
        let before = shape[..<axis].reduce(1, *)
        let behind = shape[(axis + 1)...].reduce(1, *)
        n = shape[axis]
        // With nothing along the dimension every result is an empty row, and only the kernels for rows know those.
        (outer, inner) = n == 0 ? (before * behind, 1) : (before, behind)
    }
    /// Elements of the reduced tensor.
    var count: Int { outer * inner }
}

/// y = reduction of x along `axis`; y has size 1 there. Sums are blocked in a fixed way, so long rows stay accurate and runs repeat.
public struct Reduce: Op {
    public let kind: Reduction
    public init(_ kind: Reduction) { self.kind = kind }

    public struct Operands {
        public let x: View
        public let axis: Int
        public let y: Output
        /// What backward needs beside y, like y: the mean (f32) for a variance, the index of the element found (i32) for max and min.
        public let statistic: View?
        public init(x: View, axis: Int, y: Output, statistic: View? = nil) {
            self.x = x
            self.axis = axis
            self.y = y
            self.statistic = statistic
        }
    }
    public var name: String {
        switch kind {
        case .sum: "reduce_sum"
        case .mean: "reduce_mean"
        case .variance: "reduce_variance"
        case .max: "reduce_max"
        case .min: "reduce_min"
        case .logSumExp: "reduce_logsumexp"
        }
    }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("y", o.y.view))
        try requireAxis(o.x, o.axis, o.y.view)
        try require(o.y.mode == .write || kind == .sum || kind == .mean, "only sums can be added to")
        try require(o.x.shape[o.axis] > 0 || kind == .sum, "no elements along dimension \(o.axis) of \(o.x.shape)")
        if let type = kind.statistic {
            try require(
                o.statistic.map { $0.dtype == type && $0.isContiguous && $0.count == o.y.view.count } ?? false,
                "statistic must be \(type), like y")
        }
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: Double(o.x.count), bytes: 4 * Double(o.x.count + o.y.view.count))
    }
}

extension Op {
    /// x and y contiguous; y like x with size 1 at `axis`.
    func requireAxis(_ x: View, _ axis: Int, _ y: View) throws {
        try require(x.shape.indices.contains(axis), "no dimension \(axis) in shape \(x.shape)")
        try require(x.isContiguous && y.isContiguous, "x and y must be contiguous")
        try require(y.count == Axis(x.shape, axis).count, "y \(y.shape) is not \(x.shape) reduced along \(axis)")
    }
}

/// dx from dy for a reduction along `axis`; statistic is what forward left: y for logSumExp, else `Reduce.Operands.statistic`.
public struct ReduceBackward: Op {
    public let kind: Reduction
    public init(_ kind: Reduction) { self.kind = kind }

    public struct Operands {
        public let x: View
        public let statistic: View?
        public let dy: View
        public let axis: Int
        public let dx: Output
        public init(x: View, statistic: View?, dy: View, axis: Int, dx: Output) {
            self.x = x
            self.statistic = statistic
            self.dy = dy
            self.axis = axis
            self.dx = dx
        }
    }
    public var name: String { Reduce(kind).name + "_backward" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("dy", o.dy), ("dx", o.dx.view))
        try requireAxis(o.x, o.axis, o.dy)
        try require(o.dx.view.isContiguous && o.dx.view.count == o.x.count, "dx is like x, contiguous")
    }
    public func cost(_ o: Operands) -> Cost { Cost(flops: 2 * Double(o.x.count), bytes: 8 * Double(o.x.count)) }

    /// The kernels' code of the formula.
    var code: Int32 {
        switch kind {
        case .logSumExp: 1
        case .variance: 2
        default: 0
        }
    }

    func scale(_ n: Int) -> Float {
        switch kind {
        case .mean: 1 / Float(n)
        case .variance(let correction): 2 / (Float(n) - Float(correction))
        default: 1
        }
    }
}

/// Running sums along a dimension, from the front or, reversed, from the back (the gradient of the former).
public struct CumulativeSum: Op {
    public let reverse: Bool
    public init(reverse: Bool = false) { self.reverse = reverse }
    public struct Operands {
        public let x: View
        public let axis: Int
        public let y: Output
        public init(x: View, axis: Int, y: Output) {
            self.x = x
            self.axis = axis
            self.y = y
        }
    }
    public var name: String { reverse ? "cumulative_sum_backward" : "cumulative_sum" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("y", o.y.view))
        try require(o.x.shape.indices.contains(o.axis), "no dimension \(o.axis) in shape \(o.x.shape)")
        try require(
            o.x.isContiguous && o.y.view.isContiguous && o.y.view.count == o.x.count, "x and y are alike, contiguous")
    }
    public func cost(_ o: Operands) -> Cost { Cost(flops: Double(o.x.count), bytes: 8 * Double(o.x.count)) }
}

/// Int32 index of the largest element along a dimension; the first where several are equal.
public struct ArgMax: Op {
    public init() {}
    public struct Operands {
        public let x: View
        public let axis: Int
        public let y: View
        public init(x: View, axis: Int, y: View) {
            self.x = x
            self.axis = axis
            self.y = y
        }
    }
    public var name: String { "argmax" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x))
        try require(o.y.dtype == .i32, "y is i32")
        try requireAxis(o.x, o.axis, o.y)
        try require(o.x.shape[o.axis] > 0, "no elements along dimension \(o.axis)")
    }
    public func cost(_ o: Operands) -> Cost { Cost(bytes: 4 * Double(o.x.count + o.y.count)) }
}
