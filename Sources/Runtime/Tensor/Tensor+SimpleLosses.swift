import RetortKernels

/// How a loss over many elements becomes one number.
public enum LossReduction: Sendable {
    case mean, sum
}

/// Losses between two tensors of one shape, as `torch.nn.functional` defines them; both sides are differentiated where
/// they are on the tape.
extension Tensor {
    /// Mean or sum of (x − target)².
    public func meanSquaredError(_ target: Tensor, reduction: LossReduction = .mean) throws -> Tensor {
        try difference(target).squared().reduced(reduction)
    }

    /// Mean or sum of |x − target|.
    public func meanAbsoluteError(_ target: Tensor, reduction: LossReduction = .mean) throws -> Tensor {
        try difference(target).abs().reduced(reduction)
    }

    /// Mean or sum of d² / (2·beta) where |d| = |x − target| < beta, else |d| − beta / 2 (Girshick 2015,
    /// arXiv:1504.08083).
    public func smoothL1Loss(_ target: Tensor, beta: Float = 1, reduction: LossReduction = .mean) throws -> Tensor {
        try difference(target).map(.smoothL1(beta: beta)).reduced(reduction)
    }

    /// Huber's loss: d² / 2 where |d| < delta, else delta · (|d| − delta / 2); delta times the smooth L1 loss.
    public func huberLoss(_ target: Tensor, delta: Float = 1, reduction: LossReduction = .mean) throws -> Tensor {
        try smoothL1Loss(target, beta: delta, reduction: reduction) * delta
    }

    /// Cross entropy in nats of sigmoid(x) against probabilities: mean or sum of ln(1 + eˣ) − x · target, which does
    /// not overflow.
    public func binaryCrossEntropy(
        withLogitsAgainst target: Tensor, reduction: LossReduction = .mean
    ) throws -> Tensor {
        try requireAlike(target)
        return try (map(.softplus) - self * target).reduced(reduction)
    }

    /// x / max(‖x‖, epsilon) over the last dimension, ‖·‖ the Euclidean norm.
    public func normalized(epsilon: Float = 1e-12) throws -> Tensor { try self / length(epsilon) }

    /// The cosine of the angle between the vectors of the last dimension: `[..., n]` with `[..., n]` → `[...]`.
    /// Norms below epsilon count as epsilon.
    public func cosineSimilarity(_ other: Tensor, epsilon: Float = 1e-8) throws -> Tensor {
        try requireAlike(other)
        let product = try (self * other).sum(-1, keepingDimension: true)
        let cosine = try product / (length(epsilon) * other.length(epsilon))
        return try cosine.reshaped(shape.dropLast())
    }

    /// Mean of 1 − cosine over all vectors of the last dimension: PyTorch's cosine embedding loss with target +1, which
    /// pulls each pair together (DistilBERT's hidden-state loss, arXiv:1910.01108).
    public func cosineEmbeddingLoss(_ other: Tensor) throws -> Tensor {
        let one = Tensor(try device.view([Float(1)], []), device)
        return try one - cosineSimilarity(other).mean()
    }

    /// max(‖x‖, epsilon) over the last dimension, kept with size 1. The maximum is taken of the square, so that the
    /// gradient of a zero vector is 0 and not 0 · ∞.
    private func length(_ epsilon: Float) throws -> Tensor {
        try squared().sum(-1, keepingDimension: true).map(.clampMinimum(epsilon * epsilon)).squareRoot()
    }

    private func difference(_ target: Tensor) throws -> Tensor {
        try requireAlike(target)
        return try self - target
    }

    private func requireAlike(_ other: Tensor) throws {
        guard shape == other.shape else { throw TensorError("a loss between shapes \(shape) and \(other.shape)") }
    }

    private func reduced(_ reduction: LossReduction) throws -> Tensor {
        switch reduction {
        case .mean: try mean()
        case .sum: try sum()
        }
    }
}
