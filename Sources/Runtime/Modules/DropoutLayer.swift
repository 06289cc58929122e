import RetortKernels

/// What decides which numbers a training step drops: the same key, the same numbers, however the batch is cut and as often as they are
/// computed.
public struct DropoutKey: Sendable, Equatable {
    /// Of the run.
    public let seed: UInt64
    /// Counted over the run.
    public let step: Int
    /// Place of the first sample in the step's whole batch, over micro-batches and ranks.
    public let firstSample: Int

    public init(seed: UInt64, step: Int, firstSample: Int = 0) {
        self.seed = seed
        self.step = step
        self.firstSample = firstSample
    }
}

/// Dropout at one place of a model (Srivastava et al. 2014): in training each number becomes 0 with `probability`, and the others
/// x / (1 − probability); else nothing happens.
///
/// The first dimension of what it gets counts samples. Two micro-batches see what their batch would see if samples have one length in both.
public final class DropoutLayer: Module {
    /// Path in the model: two places never drop alike.
    public let name: String
    public let probability: Float
    public var isTraining = true
    /// Of the present step; see `Module.setDropout`.
    fileprivate var key: DropoutKey?

    /// - `probability`: at least 0, below 1.
    public init(_ name: String, probability: Float) {
        self.name = name
        self.probability = probability
    }

    /// Whether it changes what it gets.
    public var isActive: Bool { isTraining && probability > 0 }

    /// - Throws: `TensorError` in training without a key: the same numbers in every step would be no dropout.
    public func callAsFunction(_ x: Tensor) throws -> Tensor {
        guard let drawn = try drawn(elementsPerSample: x.count / max(1, x.shape.first ?? 1)) else { return x }
        return try x.dropout(
            drawn.probability, seed: drawn.seed, stream: drawn.stream, firstElement: drawn.firstElement)
    }

    /// The present step's dropout of samples of so many numbers each, for an op that drops on its way; nil where nothing is dropped.
    /// - Throws: `TensorError` in training without a key.
    public func drawn(elementsPerSample: Int) throws -> Dropout? {
        guard isActive else { return nil }
        guard let key else {
            throw TensorError("\(name) drops numbers in training, and no step was set: see setDropout")
        }
        return Dropout(
            probability: probability, seed: key.seed, stream: Philox.stream("dropout/" + name) &+ UInt64(key.step),
            firstElement: key.firstSample * elementsPerSample)
    }
}

extension Module {
    /// Says which step comes next; every training step of a model with dropout begins with it.
    public func setDropout(_ key: DropoutKey) {
        (self as? DropoutLayer)?.key = key
        for child in children { child.setDropout(key) }
    }
}
