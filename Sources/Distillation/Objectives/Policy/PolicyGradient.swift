import RetortKernels
import RetortRuntime

/// What is minimised of tokens that a policy drew, from their log-probabilities.
public enum PolicyGradient {
    /// The clipped surrogate of PPO (Schulman et al. 2017, arXiv:1707.06347): Σ weight · max(−A·r, −A·clip(r, 1 − ε, 1 + ε)) with
    /// r = importance · exp(ln q − ln q_old); without a clip Σ weight · (−A·r). A scalar on the tape.
    /// - Parameters:
    ///   - logProbabilities: ln q `[tokens]` of the student as it is, with gradients.
    ///   - old: ln q `[tokens]` when the tokens were drawn.
    ///   - advantage: A `[tokens]`, a constant.
    ///   - importance: `[tokens]`; nil: 1.
    ///   - weights: `[tokens]`: 1 / number of tokens, 0 for the others.
    ///   - clip: ε; nil: no clipping.
    public static func surrogate(
        _ logProbabilities: Tensor, old: Tensor, advantage: Tensor, importance: Tensor? = nil, weights: Tensor,
        clip: Float?
    ) throws -> Tensor {
        var ratio = try (logProbabilities - old).exp()
        if let importance { ratio = try ratio * importance }
        let plain = try -(advantage * ratio)
        guard let clip else { return try (plain * weights).sum() }
        // min(r, 1 + ε) = −max(−r, −1 − ε).
        let clipped = try -(-(ratio.map(.clampMinimum(1 - clip)))).map(.clampMinimum(-1 - clip))
        let bounded = try -(advantage * clipped)
        // The larger of the two.
        return try ((bounded + (plain - bounded).relu()) * weights).sum()
    }
}
