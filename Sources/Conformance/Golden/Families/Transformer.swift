import RetortKernels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Root mean square normalisation over the last dimension.
    static let rmsNorm = TensorFamily { trial in
        trial.give(
            "y",
            try trial.tensor("x").rmsNorm(weight: trial.tensor("weight"), epsilon: trial.parameters.float("eps")))
    }

    /// Rotary position embedding of `[rows, heads, tokens, width]`.
    static let rotary = TensorFamily { trial in
        let x = try trial.tensor("x")
        let (rows, heads, tokens, width) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        let positions = try trial.labels("pos")
        let pairing: RotaryEmbedding.Pairing
        switch try trial.parameters.word("style") {
        case "half": pairing = .halves
        case "interleaved": pairing = .interleaved
        case let other: throw GoldenParameters.unknownValue("style", other)
        }
        let table = try RotaryTable(
            width: width, theta: trial.parameters.number("theta"), scaling: scaling(trial.parameters),
            positions: Int(positions.max() ?? 0) + 1, on: trial.device.compute)
        let turned = try x.transposed(1, 2).reshaped([rows * tokens, heads * width]).rotated(
            table, positions: trial.view(positions), heads: heads, pairing: pairing)
        trial.give("y", try turned.reshaped([rows, tokens, heads, width]).transposed(1, 2))
    }

    /// Attention with grouped queries, causal, in a window, with padding or a bias.
    static let attention = TensorFamily { trial in
        let valid = trial.has("key_mask") ? try trial.labels("key_mask").map { $0 != 0 } : nil
        let mask = AttentionMask(
            isCausal: try trial.parameters.flag("causal"), window: try trial.parameters.integer(ifPresent: "window"),
            validKeys: valid)
        let (q, k) = (try trial.tensor("q"), try trial.tensor("k"))
        let (output, probabilities) = try q.attention(
            keys: k, values: trial.tensor("v"), scale: trial.parameters.float("scale"),
            mask: mask.bias(batch: q.shape[0], queries: q.shape[2], keys: k.shape[2], on: q.device),
            bias: trial.tensor(ifPresent: "bias"))
        trial.give("out", output)
        trial.give("probs", probabilities)
    }

    private static func scaling(_ parameters: GoldenParameters) throws -> RotaryTable.Scaling {
        guard let scaling = try parameters.section(ifPresent: "scaling") else { return .none }
        switch try scaling.word("type") {
        case "linear": return .linear(factor: try scaling.number("factor"))
        case "llama3":
            return .llama3(
                factor: try scaling.number("factor"),
                lowFrequencyFactor: try scaling.number("low_freq_factor"),
                highFrequencyFactor: try scaling.number("high_freq_factor"),
                originalPositions: try scaling.integer("original_max"))
        case let other: throw GoldenParameters.unknownValue("scaling.type", other)
        }
    }
}
