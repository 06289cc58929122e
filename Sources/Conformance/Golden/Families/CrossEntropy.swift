import RetortKernels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Cross entropy against labels or probabilities, with PyTorch's options. Labels of a causal language model are
    /// shifted by one.
    static let crossEntropy = TensorFamily { trial in
        let logits = try trial.tensor("logits")
        if trial.has("labels") { return try nextToken(trial, logits) }
        let reduction = try trial.parameters.word("reduction")
        if try trial.parameters.flag("soft", default: false) {
            guard reduction == "mean" else { throw GoldenParameters.unknownValue("reduction", reduction) }
            let target = try trial.tensor("target").view
            return trial.give(
                "loss", try logits.crossEntropy(probabilities: target, scale: 1 / Float(logits.shape[0])).total)
        }
        let labels = try trial.view(trial.labels("target"))
        let weights = try trial.tensor(ifPresent: "weight")?.view
        let ignored = Int32(try trial.parameters.integer(ifPresent: "ignore_index") ?? -100)
        let smoothing = try trial.parameters.float("label_smoothing", default: 0)
        switch reduction {
        case "none":
            trial.give(
                "per_row",
                try logits.crossEntropyPerRow(
                    labels, classWeights: weights, ignoreIndex: ignored, labelSmoothing: smoothing))
        case "sum":
            trial.give(
                "loss",
                try logits.crossEntropy(
                    labels, classWeights: weights, ignoreIndex: ignored, labelSmoothing: smoothing, scale: 1
                ).total)
        case "mean":
            let share = try Tensor.tokenWeights(labels, classWeights: weights, ignoreIndex: ignored, on: trial.device)
            trial.give(
                "loss",
                try logits.crossEntropy(
                    labels, rowWeights: share, classWeights: weights, ignoreIndex: ignored, labelSmoothing: smoothing,
                    scale: 1
                ).total)
        default: throw GoldenParameters.unknownValue("reduction", reduction)
        }
    }

    /// Position s predicts label s + 1; the last position of each sequence predicts nothing.
    private static func nextToken(_ trial: GoldenTrial, _ logits: Tensor) throws {
        let shape = try trial.shape("labels")
        guard shape.count == 2 else { throw RetortError.badData("labels of shape \(shape)") }
        let labels = try trial.labels("labels")
        let shifted = labels.indices.map { ($0 + 1) % shape[1] == 0 ? -100 : labels[$0 + 1] }
        let view = try trial.view(shifted)
        let share = try Tensor.tokenWeights(view, on: trial.device)
        trial.give("loss", try logits.crossEntropy(view, rowWeights: share, scale: 1).total)
    }
}
