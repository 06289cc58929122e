import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// What each preset minimises, as it is printed: direction, temperature, T², the teacher's entropy, reduction, mask, and how texts are drawn.
@Suite("Contracts of presets")
struct PresetContractTests {
    private struct Expected {
        /// The contract of each loss.
        let losses: [String]
        /// The temperature at which texts are drawn; nil: the data's are learned.
        let sampling: Double?

        init(_ losses: [String], sampling: Double? = nil) {
            self.losses = losses
            self.sampling = sampling
        }
    }

    private static let mask = ", mask: label ≠ −100, one place ahead"
    private static let mean = ", mean over valid tokens\(mask)"
    private static let plain = "CE(labels, q), mean over tokens of the plain text\(mask)"
    private static let rewards = "rewards (ln p − ln q)/0.5 within ±100, γ = 0.95, over the tokens left, whitened"
    private static let pairs = "(2−β)·KL(p‖αp+(1−α)q) on chosen + β·KL(q‖(1−α)p+αq) on rejected"

    private static let expected: [String: Expected] = [
        "hinton": Expected(["0.9·T²·KL(p‖q) + 0.1·CE(labels, q at T=1), T=2, teacher entropy out\(mean)"]),
        "mdistiller": Expected(["0.9·T²·KL(p‖q) + 0.1·CE(labels, q at T=1), T=4, teacher entropy out\(mean)"]),
        "torchtune": Expected(["0.5·(−Σ p ln(q)) + 0.5·CE(labels, q at T=1), T=1, no T², teacher entropy in\(mean)"]),
        "babyllama": Expected([
            "0.5·T²·KL(teachers‖q), teachers: mean of logits, T=2, teacher entropy out, sum over valid tokens / sequences\(mask)",
            "0.5·CE(labels, q)\(mean)",
        ]),
        "seqkd": Expected(["CE(labels, q)\(mean)"], sampling: 0),
        "trl-gkd": Expected(
            ["1·JSD_β(p,q), GKD form with beta = 0.5, T=1, no T², teacher entropy out\(mean)"], sampling: 0.9),
        "trl-distillation": Expected(["1·KL(q‖p), T=1, no T², teacher entropy out\(mean)"], sampling: 1),
        "minillm": Expected(
            ["PPO(q/q_old · q_old/mixture, clipped to 1 ± 0.2) with \(rewards) + 1·KL(q‖p)\(mean)", plain], sampling: 1),
        "distillm": Expected(
            ["1·(−Σ p ln(λp+(1−λ)q)) with lambda = 0.1, T=1, no T², teacher entropy in\(mean)", plain], sampling: 1),
        "distillm2": Expected(
            [
                "1·(\(pairs)), α up to 0.1, by how far the models are apart, β from 1 to 1.5, each a mean over valid tokens\(mask)"
            ], sampling: 0.8),
        "uld": Expected([
            "1.5·Σ|sorted q − sorted p|, the n-th tokens of both, groups by their last token, mean over sequences of the mean over valid tokens of each\(mask)",
            "CE(labels, q)\(mean)",
        ]),
    ]

    @Test("printed as their peers have them")
    func contracts() throws {
        let recipe = SmallLanguage.recipe.replacing(
            "rows.safetensors}", with: "rows.safetensors, plain: {tensor: train}}")
        for preset in LanguagePreset.all {
            // Losses of what models hide have other means.
            guard let expected = Self.expected[preset.name] else {
                #expect(["distilbert", "tinybert", "minilm"].contains(preset.name), "\(preset.name)")
                continue
            }
            let small = try SmallLanguage(
                .cpu, recipe.replacing("{objective: [{loss: cross-entropy}]}", with: "{preset: \(preset.name)}"))
            guard let read = try readRecipe(small.folder.path("small.yaml")) as? LanguageRecipe else {
                throw RetortError.internalBug("another recipe")
            }
            let arm = read.arms[0]
            #expect(arm.terms.map(\.contract) == expected.losses, "\(preset.name)")
            let sampling = arm.rollouts.map { Double($0.sampling.temperature) }
            #expect(abs((sampling ?? -1) - (expected.sampling ?? -1)) < 1e-6, "\(preset.name)")
            // What is kept of it says the reduction.
            let losses = read.node["arms"]?.fields[0].value.required("objective").list ?? []
            for (loss, term) in zip(losses, arm.terms) where loss["reduction"] != nil {
                #expect(loss["reduction"]?.text == term.reduction.rawValue, "\(preset.name)")
            }
        }
        #expect(Self.expected.count == LanguagePreset.all.count - 3)
    }
}
