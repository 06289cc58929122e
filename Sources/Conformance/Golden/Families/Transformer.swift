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
    static let attention = TensorFamily([
        GoldenWay("composed") { try attend($0, flash: false) }, GoldenWay("flash") { try attend($0, flash: true) },
    ])

    /// Probabilities are the composed attention's both times, and so are answers where scores have a bias.
    private static func attend(_ trial: GoldenTrial, flash: Bool) throws {
        let valid = trial.has("key_mask") ? try trial.labels("key_mask").map { $0 != 0 } : nil
        let mask = AttentionMask(
            isCausal: try trial.parameters.flag("causal"), window: try trial.parameters.integer(ifPresent: "window"),
            validKeys: valid)
        let (q, k, v) = (try trial.tensor("q"), try trial.tensor("k"), try trial.tensor("v"))
        let (scale, bias) = (try trial.parameters.float("scale"), try trial.tensor(ifPresent: "bias"))
        let (batch, queries, keys) = (q.shape[0], q.shape[2], k.shape[2])
        let (output, probabilities) = try q.attention(
            keys: k, values: v, scale: scale, mask: mask.bias(batch: batch, queries: queries, keys: keys, on: q.device),
            bias: bias)
        trial.give("out", output)
        trial.give("probs", probabilities)
        guard flash, bias == nil else { return }
        let spans: AttentionSpans?
        switch try mask.sight(batch: batch, queries: queries, keys: keys, on: q.device) {
        case .everything: spans = nil
        case .spans(let some): spans = some
        case .holes: return
        }
        // dS = p · (dO·v − dO·o): where one key is seen both products are one number, in two roundings.
        func largest(_ x: Tensor) throws -> Double { Double(try x.values().map(abs).max() ?? 0) }
        let rounding = 2e-6 * Double(scale) * (try largest(v))
        trial.allow("q", atLeast: rounding * (try largest(k)))
        trial.allow("k", atLeast: rounding * (try largest(q)))
        // Heads lie in front of tokens here: strides do the rest.
        let heard = try q.transposed(1, 2).flashAttention(
            keys: k.transposed(1, 2), values: v.transposed(1, 2), scale: scale, spans: spans)
        trial.give("out", heard.transposed(1, 2))
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
