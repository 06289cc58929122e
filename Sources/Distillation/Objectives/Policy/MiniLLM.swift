import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// MiniLLM (Gu et al. 2024, arXiv:2306.08543), as its authors' code has it: the gradient of the sequence-level KL(q‖p) split into a single
/// step, which is the token's own reverse KL over the whole vocabulary, and what comes after, a policy gradient over tokens that a mixture
/// of student and teacher drew (`rollouts: {kind: mixed}`).
///
/// A token's reward is (ln p − ln q) / `reward-scale`, within ± `reward-clip`; its advantage the sum of the rewards from it on, each a factor
/// `gamma` less than the one before, over the number of tokens left, and then all of a batch brought to mean 0 and variance 1. The
/// surrogate is PPO's, its ratio multiplied by q over the mixture. The paper also has a cross entropy on plain text: give it as a second
/// loss, `{loss: cross-entropy, on: plain}`.
public struct MiniLLMObjective: PlainLanguageObjective {
    public static let section = RecipeSection(
        "minillm", "Sequence-level reverse KL by policy gradient, with the single step exact.",
        [
            RecipeField("gamma", .number(0...1), .defaulted("0.95"), "what a later token's reward counts"),
            RecipeField("reward-scale", .number(1e-6...1e6), .defaulted("0.5"), "rewards are divided by it"),
            RecipeField("reward-clip", .number(1e-6...1e6), .defaulted("100"), "largest reward, after that"),
            RecipeField(
                "clip", .number(0...1e6), .defaulted("0.2"),
                "how far the ratio may be from 1 before it counts no more; 0 never clips"),
            RecipeField("length-norm", .flag, .defaulted("true"), "divide what is to come by the tokens that are left"),
            RecipeField("whiten", .flag, .defaulted("true"), "bring a batch's advantages to mean 0 and variance 1"),
            RecipeField("single-step", .number(0...1e6), .defaulted("1"), "weight of the single step's reverse KL"),
        ])
    private let gamma: Double
    private let scale: Double
    private let limit: Double
    private let clip: Float?
    private let dividesByLength: Bool
    private let whitens: Bool
    private let singleStep: Float

    public init(_ recipe: RecipeNode) {
        gamma = recipe.required("gamma").number
        scale = recipe.required("reward-scale").number
        limit = recipe.required("reward-clip").number
        let clip = Float(recipe.required("clip").number)
        self.clip = clip > 0 ? clip : nil
        dividesByLength = recipe.required("length-norm").flag
        whitens = recipe.required("whiten").flag
        singleStep = Float(recipe.required("single-step").number)
    }

    public var needsTeacher: Bool { true }
    public static var reductions: [TokenReduction] { TokenReduction.allCases.filter { $0 != .elementMean } }
    public var needs: TextNeed { .drawn }
    public func contract(over what: String) -> String {
        func number(_ x: Double) -> String { NumberFormat.significant(x) }
        var parts = ["γ = \(number(gamma))"]
        if dividesByLength { parts.append("over the tokens left") }
        if whitens { parts.append("whitened") }
        let clipped = clip.map { ", clipped to 1 ± \(number(Double($0)))" } ?? ""
        let single = singleStep > 0 ? " + \(number(Double(singleStep)))·KL(q‖p)" : ""
        let rewards = "rewards (ln p − ln q)/\(number(scale)) within ±\(number(limit)), "
        return "PPO(q/q_old · q_old/mixture\(clipped)) with " + rewards
            + parts.joined(separator: ", ") + single + ", mean over \(what)"
    }

    public func advantages(of batch: RolloutBatch) -> [Float]? {
        guard let signals = batch.signals else { return nil }
        let length = batch.batch.length
        var advantages = [Double](repeating: 0, count: signals.student.count)
        var places: [Int] = []
        for row in 0..<batch.batch.rows {
            // From the last token back.
            var (sum, left) = (0.0, 0.0)
            for place in (row * length..<(row + 1) * length).reversed()
            where batch.batch.targets[place] != LanguageBatch.ignored {
                let reward = (Double(signals.teacher[place]) - Double(signals.student[place])) / scale
                sum = max(-limit, min(limit, reward)) + gamma * sum
                left += 1
                advantages[place] = dividesByLength ? sum / left : sum
                places.append(place)
            }
        }
        if whitens, places.count > 1 {
            let mean = places.reduce(0) { $0 + advantages[$1] } / Double(places.count)
            let squares = places.reduce(0) { $0 + (advantages[$1] - mean) * (advantages[$1] - mean) }
            let spread = (squares / Double(places.count - 1) + 1e-8).squareRoot()
            for place in places { advantages[place] = (advantages[place] - mean) / spread }
        }
        return advantages.map { Float($0) }
    }

    public func loss(_ input: LanguageInput) throws -> Tensor {
        guard let signals = input.rollout, let teacher = input.teacher?.logits else {
            throw TensorError("a policy loss of texts that were not drawn, or without a teacher")
        }
        let now = try input.hidden.chunkedLogProbabilities(input.labels, head: input.head, chunk: input.chunk)
        let later = try PolicyGradient.surrogate(
            now, old: signals.tensor(\.student, like: now), advantage: signals.tensor(\.advantage, like: now),
            importance: signals.tensor(\.importance, like: now),
            weights: Tensor(view: input.weights, on: Device(now.device)), clip: clip)
        guard singleStep > 0 else { return later }
        let single = try input.hidden.chunkedDivergence(
            Divergence(.reverseKL, softWeight: singleStep), head: input.head, teacher: teacher,
            rowWeights: input.weights, chunk: input.chunk, headGradient: input.gradient
        ).total
        return try later + single
    }
}
