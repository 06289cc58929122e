import RetortModels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Which tokens are left and how likely they are: transformers' processors of logits `[rows, vocabulary]` in a chain, which is always in our
    /// order. `prev` `[rows, tokens]` is what the repetition penalty has seen.
    static let sampling = TensorFamily { trial in
        var sampling = TokenSampling(temperature: 1)
        let order = ["repetition_penalty", "temperature", "top_k", "top_p", "min_p"]
        var last = -1
        for (name, value) in try trial.parameters.pairs("chain") {
            guard let place = order.firstIndex(of: name), place > last else {
                throw GoldenParameters.unknownValue("chain", name)
            }
            last = place
            switch name {
            case "repetition_penalty": sampling.repetitionPenalty = value
            case "temperature": sampling.temperature = value
            case "top_k": sampling.topK = Int(value)
            case "top_p": sampling.topP = value
            default: sampling.minP = value
            }
        }
        let logits = try trial.tensor("logits")
        let (seen, shape) = (try trial.labels("prev"), try trial.shape("prev"))
        let left = try sampling.filtered(
            logits, previous: (0..<shape[0]).map { Array(seen[($0 * shape[1])..<(($0 + 1) * shape[1])]) })
        trial.give("filtered", left)
        trial.give("probs", try left.softmax())
    }
}
