extension Tensor {
    /// KL(P‖Q) = Σ P (ln P − ln Q) over the last dimension, in nats; both sides are differentiated, so two models can
    /// teach each other. A constant teacher is cheaper through the fused `divergence`.
    ///
    /// Σ (Q − P), 0 but for rounding, is added: it cancels the rounding of both normalisations, and small divergences
    /// keep their digits.
    ///
    /// - Parameters:
    ///   - logP: log-probabilities `[..., classes]` (`logSoftmax`), all finite: a class that is excluded (−∞) gives
    ///     NaN.
    ///   - logQ: the same for Q.
    /// - Returns: `[...]`.
    public static func klDivergence(_ logP: Tensor, _ logQ: Tensor) throws -> Tensor {
        guard logP.shape == logQ.shape else {
            throw TensorError("a divergence between shapes \(logP.shape) and \(logQ.shape)")
        }
        let p = try logP.exp()
        return try (p * (logP - logQ) + (logQ.exp() - p)).sum(-1)
    }
}
