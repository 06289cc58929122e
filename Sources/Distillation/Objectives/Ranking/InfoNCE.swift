import RetortModels
import RetortRuntime
import RetortSupport

/// A query's passage among the candidates: weight·CE(label, softmax(s/T)) of scores s `[queries, candidates]`, mean over queries: InfoNCE (van den
/// Oord et al. 2018, arXiv:1807.03748), sentence-transformers' MultipleNegativesRankingLoss. What a retriever learns from labels alone.
public struct InfoNCEObjective: LogitObjective {
    public static let section = RecipeSection(
        "info-nce", "Cross entropy of the relevant passage among the candidates.",
        [
            RecipeField("weight", .number(0...1e6), .defaulted("1"), "of the loss among others"),
            RecipeField(
                "false-negative-margin", .number(0...1e6), .optional,
                "leave out candidates that the teacher scores above the relevant passage's score less this (GISTEmbed); needs a teacher"
            ),
        ] + Temperature.fields("0.05", "scores are divided by this"))
    private let weight: Float
    private let temperature: Temperature
    /// Of the teacher's score of the relevant passage; nil: no teacher is asked.
    private let margin: Float?

    public init(_ recipe: RecipeNode) {
        weight = Float(recipe.required("weight").number)
        temperature = Temperature(recipe)
        margin = recipe["false-negative-margin"].map { Float($0.number) }
    }

    public var needsTeacher: Bool { margin != nil }
    public var laws: Set<ObjectiveLaw> { [.nonNegative, .shiftInvariant, .paddingInvariant] }
    public var contract: String {
        (weight == 1 ? "" : "\(weight.short)·")
            + "CE(relevant, softmax(s/T)), T=\(temperature.contract), mean over queries"
            + (margin.map { ", without candidates that the teacher scores above t⁺ − \($0.short)" } ?? "")
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        let scores = try counting(input)
        return try (scores * (1 / temperature.now(input))).crossEntropy(input.labels, scale: weight / Float(input.rows))
            .total
    }

    /// The scores, without those of false negatives: candidates that a guide finds more relevant than the passage that is said to be, or
    /// nearly so (GISTEmbed, Solatorio 2024, arXiv:2402.16829).
    private func counting(_ input: ObjectiveInput) throws -> Tensor {
        let scores = input.student.logits
        guard let margin else { return scores }
        guard let relevant = input.student.signals[RankingSignals.relevant] else {
            throw RetortError.internalBug("false negatives without a relevant passage")
        }
        let taught = try input.teacher().logits.detached
        let own = try (taught * relevant).sum(1, keepingDimension: true)
        // 1 where a candidate is to go; the relevant one stays.
        let all = try Tensor.full(1, scores.shape, on: scores.device)
        let negatives = try (taught - own + .full(margin, own.shape, on: own.device)).isPositive() * (all - relevant)
        return try RankingSignals.excluding(scores, all - negatives)
    }
}
