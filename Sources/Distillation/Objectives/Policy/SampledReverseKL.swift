import RetortKernels
import RetortRuntime
import RetortSupport

/// KL(q‖p) by its policy gradient, from the tokens that were drawn alone: −A·r with A = ln p(y) − ln q(y) taken as a constant and r = q(y) over the
/// probability with which y was drawn: q_old(y), or that of the mixture where the teacher had a say. Mean over tokens. On-policy
/// distillation; it asks the teacher for one number a token.
public struct SampledReverseKLObjective: PlainLanguageObjective {
    public static let section = RecipeSection(
        "sampled-reverse-kl", "Reverse KL of the tokens that the student drew, by policy gradient.",
        [
            RecipeField(
                "weight", .number(0...1e6), .defaulted("1"), "of the loss among others"),
            RecipeField(
                "clip", .number(0...1e6), .defaulted("0"),
                "how far r may be from 1 before it counts no more; 0 never clips"),
        ])
    private let weight: Float
    private let clip: Float?

    public init(_ recipe: RecipeNode) {
        weight = Float(recipe.required("weight").number)
        let clip = Float(recipe.required("clip").number)
        self.clip = clip > 0 ? clip : nil
    }

    public var needsTeacher: Bool { true }
    public static var reductions: [TokenReduction] { TokenReduction.allCases.filter { $0 != .elementMean } }
    public var needs: TextNeed { .drawn }
    public func contract(over what: String) -> String {
        let number = { (x: Float) in NumberFormat.significant(Double(x)) }
        return "\(number(weight))·(−A·r), A = ln p − ln q, r = q over what it was drawn from"
            + (clip.map { ", clipped to 1 ± \(number($0))" } ?? "") + ", mean over \(what)"
    }

    public func loss(_ input: LanguageInput) throws -> Tensor {
        guard let signals = input.rollout else { throw TensorError("a policy loss of texts that were not drawn") }
        let now = try input.hidden.chunkedLogProbabilities(input.labels, head: input.head, chunk: input.chunk)
        let (old, teacher) = try (signals.tensor(\.student, like: now), signals.tensor(\.teacher, like: now))
        let loss = try PolicyGradient.surrogate(
            now, old: old, advantage: teacher - now.detached,
            importance: signals.tensor(\.importance, like: now),
            weights: Tensor(view: input.weights, on: Device(now.device)),
            clip: clip)
        return try loss * weight
    }
}

extension RolloutSignals {
    /// One of them on the device, in the shape of a tensor.
    func tensor(_ path: KeyPath<RolloutSignals, [Float]>, like other: Tensor) throws -> Tensor {
        try Tensor(self[keyPath: path], other.shape, on: Device(other.device))
    }
}
