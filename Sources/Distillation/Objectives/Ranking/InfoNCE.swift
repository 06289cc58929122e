import RetortRuntime

/// A query's passage among the candidates: weight·CE(label, softmax(s/T)) of scores s `[queries, candidates]`, mean over queries: InfoNCE (van den
/// Oord et al. 2018, arXiv:1807.03748), sentence-transformers' MultipleNegativesRankingLoss. What a retriever learns from labels alone.
public struct InfoNCEObjective: LogitObjective {
    public static let section = RecipeSection(
        "info-nce", "Cross entropy of the relevant passage among the candidates.",
        [
            RecipeField("weight", .number(0...1e6), .defaulted("1"), "of the loss among others")
        ] + Temperature.fields("0.05", "scores are divided by this"))
    private let weight: Float
    private let temperature: Temperature

    public init(_ recipe: RecipeNode) {
        weight = Float(recipe.required("weight").number)
        temperature = Temperature(recipe)
    }

    public var needsTeacher: Bool { false }
    public var laws: Set<ObjectiveLaw> { [.nonNegative, .shiftInvariant, .paddingInvariant] }
    public var contract: String {
        (weight == 1 ? "" : "\(weight.short)·")
            + "CE(relevant, softmax(s/T)), T=\(temperature.contract), mean over queries"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        let scores = input.student.logits
        return try (scores * (1 / temperature.now(input))).crossEntropy(input.labels, scale: weight / Float(input.rows))
            .total
    }
}
