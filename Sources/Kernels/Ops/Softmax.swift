/// y = softmax(x / temperature) over the last dimension, or its logarithm. x, y `[..., columns]`.
///
/// The maximum is subtracted before scaling, so logits of ±1e4 are exact. −∞ entries get probability 0; a row of nothing else
/// gives NaN, as in PyTorch.
public struct Softmax: Op {
    public let log: Bool
    public let temperature: Float
    public init(log: Bool = false, temperature: Float = 1) {
        self.log = log
        self.temperature = temperature
    }
    public typealias Operands = Unary.Operands
    public var name: String { log ? "log_softmax" : "softmax" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("y", o.y.view))
        try require(o.x.shape == o.y.view.shape && o.x.rank > 0, "x \(o.x.shape) and y \(o.y.view.shape) must be alike")
        try require(o.y.mode == .write, "y cannot be added to")
        try require(temperature > 0, "temperature \(temperature) is not positive")
        _ = (try rows(o.x, "x"), try rows(o.y.view, "y"))
    }
    public func cost(_ o: Operands) -> Cost { Cost(flops: 5 * Double(o.x.count), bytes: 8 * Double(o.x.count)) }
}

/// dx from y = softmax(x / T): dx = y · (dy − Σ dy·y) / T; from y = log softmax: dx = (dy − exp(y) · Σ dy) / T.
public struct SoftmaxBackward: Op {
    public let log: Bool
    public let temperature: Float
    public init(log: Bool = false, temperature: Float = 1) {
        self.log = log
        self.temperature = temperature
    }
    public struct Operands {
        public let y: View
        public let dy: View
        public let dx: Output
        public init(y: View, dy: View, dx: Output) {
            self.y = y
            self.dy = dy
            self.dx = dx
        }
    }
    public var name: String { log ? "log_softmax_backward" : "softmax_backward" }
    public func validate(_ o: Operands) throws {
        try requireF32(("y", o.y), ("dy", o.dy), ("dx", o.dx.view))
        try require(o.y.shape == o.dy.shape && o.y.shape == o.dx.view.shape, "y, dy and dx differ in shape")
        _ = (try rows(o.y, "y"), try rows(o.dy, "dy"), try rows(o.dx.view, "dx"))
    }
    public func cost(_ o: Operands) -> Cost { Cost(flops: 5 * Double(o.y.count), bytes: 12 * Double(o.y.count)) }
}
