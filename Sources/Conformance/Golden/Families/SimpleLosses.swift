import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Losses that compare two tensors element by element or row by row. A case without `fn` is told by its inputs: two
    /// make a cosine similarity, one is normalised. The reference of `bce_logits` took the sigmoid of b as its target.
    static let simpleLosses = TensorFamily { trial in
        let a = try trial.tensor("a")
        guard trial.has("b") else {
            return trial.give("y", try a.normalized(epsilon: trial.parameters.float("eps")))
        }
        let b = try trial.tensor("b")
        let name = try trial.parameters.word("fn", default: "cosine_similarity")
        switch name {
        case "mse_mean": trial.give("loss", try a.meanSquaredError(b))
        case "mse_sum": trial.give("loss", try a.meanSquaredError(b, reduction: .sum))
        case "l1": trial.give("loss", try a.meanAbsoluteError(b))
        case "smooth_l1": trial.give("loss", try a.smoothL1Loss(b))
        case "smooth_l1_beta0.3": trial.give("loss", try a.smoothL1Loss(b, beta: 0.3))
        case "huber_delta0.5": trial.give("loss", try a.huberLoss(b, delta: 0.5))
        case "bce_logits": trial.give("loss", try a.binaryCrossEntropy(withLogitsAgainst: b.map(.sigmoid)))
        case "cosine_embedding": trial.give("loss", try a.cosineEmbeddingLoss(b))
        case "cosine_similarity": trial.give("y", try a.cosineSimilarity(b))
        default: throw GoldenParameters.unknownValue("fn", name)
        }
    }
}
