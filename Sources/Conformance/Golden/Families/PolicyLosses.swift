import RetortDistillation
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Losses of tokens that a policy drew.
    static let policy: TensorFamily = {
        var family = TensorFamily { trial in
            let now = try trial.tensor("logp")
            let mask = try trial.labels("mask")
            let weight = 1 / Float(max(1, mask.count { $0 != 0 }))
            let weights = try Tensor(mask.map { $0 == 0 ? 0 : weight }, now.shape, on: trial.device)
            let old = try trial.tensor("old")
            if trial.has("teacher_logp") {
                let advantage = try trial.tensor("teacher_logp") - now.detached
                trial.give(
                    "loss",
                    try PolicyGradient.surrogate(now, old: old, advantage: advantage, weights: weights, clip: nil))
            } else {
                trial.give(
                    "loss",
                    try PolicyGradient.surrogate(
                        now, old: old, advantage: trial.tensor("adv"), weights: weights,
                        clip: trial.parameters.float("eps")))
            }
        }
        family.skipNames = ["gae", "value_clip", "grpo_sequence", "grpo_token", "rloo", "reward_bt", "kl_estimators"]
        return family
    }()
}
