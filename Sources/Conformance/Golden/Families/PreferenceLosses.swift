import RetortDistillation
import RetortKernels
import RetortRuntime
import RetortSupport

/// Losses of two answers to a prompt.
extension GoldenFamilies {
    /// From logits: behind a head that is the identity they are hidden states, of which log-probabilities are made by chunks.
    static let preference = TensorFamily { trial in
        let likelihood: AnswerLikelihood = try trial.parameters.flag("avg") ? .mean : .sum
        func answers(_ name: String) throws -> Tensor {
            let logits = try trial.tensor(name)
            let (rows, length, classes) = (logits.shape[0], logits.shape[1], logits.shape[2])
            let labels = try trial.labels(name + "_labels")
            // A place predicts the token behind it.
            let next = labels.indices.map { ($0 + 1) % length == 0 ? Int32(-100) : labels[$0 + 1] }
            let one = (0..<(classes * classes)).map { Float($0 % (classes + 1) == 0 ? 1 : 0) }
            let head = try OutputHead(weight: try Tensor(one, [classes, classes], on: trial.device))
            let logs = try logits.chunkedLogProbabilities(trial.view(next), head: head, chunk: .rows(5))
            return try likelihood(logs, next, rows: rows)
        }
        let (chosen, rejected) = (try answers("chosen"), try answers("rejected"))
        trial.give("logp_chosen", chosen)
        trial.give("logp_rejected", rejected)
        let beta = try trial.parameters.float("beta")
        let kind = try trial.parameters.word("kind")
        if kind == "simpo" {
            let pairs = AnswerPairs(chosen: chosen, rejected: rejected)
            trial.give("loss", try pairs.logistic(beta: beta, beyond: trial.parameters.float("gamma")).mean())
            return
        }
        let reference = (try trial.tensor("ref_chosen"), try trial.tensor("ref_rejected"))
        let pairs = AnswerPairs(chosen: chosen, rejected: rejected, reference: reference)
        let losses =
            switch kind {
            case "dpo_sigmoid":
                try pairs.logistic(beta: beta, smoothing: trial.parameters.float("label_smoothing", default: 0))
            case "dpo_hinge": try pairs.hinge(beta: beta)
            case "dpo_ipo": try pairs.squaredDistance(beta: beta)
            default: throw GoldenParameters.unknownValue("kind", kind)
            }
        trial.give("per_pair", losses)
        trial.give("reward_chosen", try (chosen - reference.0) * beta)
        trial.give("reward_rejected", try (rejected - reference.1) * beta)
        trial.give("loss", try losses.mean())
    }

    /// From the log-probabilities of answers.
    static let preferenceOfAnswers = TensorFamily { trial in
        let reference = trial.has("ref_c") ? (try trial.tensor("ref_c"), try trial.tensor("ref_r")) : nil
        let pairs = AnswerPairs(
            chosen: try trial.tensor("c"), rejected: try trial.tensor("r"), reference: reference)
        let beta = try trial.parameters.float("beta")
        let kind = try trial.parameters.word("kind")
        switch kind {
        case "orpo":
            let odds = try pairs.logOdds()
            trial.give("log_odds", odds)
            trial.give("loss", try trial.tensor("nll") - odds.map(.logSigmoid).mean() * beta)
        case "cpo": trial.give("loss", try trial.tensor("nll") + pairs.logistic(beta: beta).mean())
        case "slic": trial.give("loss", try pairs.hinge(beta: beta).mean())
        case "kto":
            let divergence = try trial.tensor("kl_logratios").mean().relu()
            trial.give("KL", divergence)
            trial.give(
                "loss",
                try pairs.prospects(
                    beta: beta, desirable: trial.parameters.float("w_d"),
                    undesirable: trial.parameters.float("w_u"), divergence: divergence
                ).mean())
        case "apo_zero": trial.give("loss", try pairs.anchored(beta: beta).mean())
        default: throw GoldenParameters.unknownValue("kind", kind)
        }
    }
}
