/// y = x / (1 − probability) where element e is kept, else 0. Element e is kept when the 32-bit word of (seed, stream, e), drawn by
/// Philox 4×32-10, is at least probability · 2³²: every device and every batch split sees one mask. Contiguous; both f32 or
/// both bf16.
public struct Dropout: Op {
    public let probability: Float
    public let seed: UInt64
    public let stream: UInt64
    /// Global index of the first element.
    public let firstElement: Int

    public init(probability: Float, seed: UInt64, stream: UInt64, firstElement: Int = 0) {
        self.probability = probability
        self.seed = seed
        self.stream = stream
        self.firstElement = firstElement
    }

    /// Words below this drop their element.
    public var threshold: Int { Int((Double(probability) * 4_294_967_296).rounded()) }
    /// What is kept is multiplied by it.
    public var scale: Float { 1 / (1 - probability) }
    /// Of an element, in the count of `cost`.
    static let flops = 20.0
    var isPossible: Bool { probability >= 0 && probability < 1 }
    var complaint: String { "probability \(probability) is outside [0, 1)" }

    public typealias Operands = Unary.Operands
    public var name: String { "dropout" }
    public func validate(_ o: Operands) throws {
        try requireActivations(("x", o.x), ("y", o.y.view))
        try require(isPossible, complaint)
        try require(
            o.x.isContiguous && o.y.view.isContiguous && o.x.count == o.y.view.count,
            "x and y must be contiguous, of one length")
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: Self.flops * Double(o.x.count), bytes: 2 * Double(o.x.dtype.size * o.x.count))
    }
}
