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

/// A tensor seen as `[outer, n, inner]` around one dimension.
struct Axis {
    let outer: Int
    let n: Int
    let inner: Int

    init(_ shape: [Int], _ axis: Int) {
        outer = shape[..<axis].reduce(1, *)
        n = shape[axis]
        inner = shape[(axis + 1)...].reduce(1, *)
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
        public init(x: View, axis: Int, y: Output) {
            self.x = x
            self.axis = axis
            self.y = y
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

/// dx from dy for a reduction along `axis`; y is the reduction's output.
public struct ReduceBackward: Op {
    public let kind: Reduction
    public init(_ kind: Reduction) { self.kind = kind }

    public struct Operands {
        public let x: View
        public let y: View
        public let dy: View
        public let axis: Int
        public let dx: Output
        public init(x: View, y: View, dy: View, axis: Int, dx: Output) {
            self.x = x
            self.y = y
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
}

/// Running sums along a dimension, from the front or, reversed, from the back (the gradient of the former).
public struct CumulativeSum: Op {
    public let reverse: Bool
    public init(reverse: Bool = false) { self.reverse = reverse }
    public typealias Operands = Reduce.Operands
    public var name: String { reverse ? "cumulative_sum_backward" : "cumulative_sum" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("y", o.y.view))
        try require(o.x.shape.indices.contains(o.axis), "no dimension \(o.axis) in shape \(o.x.shape)")
        try require(o.x.isContiguous && o.y.view.isContiguous && o.y.view.count == o.x.count, "x and y are alike, contiguous")
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
