import RetortModels
import RetortRuntime

/// The teacher's order of each pair of candidates: alpha·mean(ln(1 + e^(−scale·(sᵢ − sⱼ)))) over the pairs of a query's candidates with tᵢ > tⱼ,
/// mean over all such pairs of the batch, in nats. RankNet (Burges et al. 2005) with the teacher's scores as the truth.
public struct RankNetObjective: LogitObjective {
    public static let section = RecipeSection(
        "ranknet", "Pairwise logistic loss on the teacher's order of the candidates.",
        [
            AlphaField.field("1"),
            RecipeField("scale", .number(1e-6...1e6), .defaulted("1"), "differences of scores are multiplied by this"),
        ])
    private let alpha: Float
    private let scale: Float

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        scale = Float(recipe.required("scale").number)
    }

    public var needsTeacher: Bool { true }
    public var laws: Set<ObjectiveLaw> { [.nonNegative, .shiftInvariant] }
    public var contract: String {
        "−\(alpha.short)·ln σ(\(scale == 1 ? "" : "\(scale.short)·")(sᵢ − sⱼ)) where tᵢ > tⱼ, mean over such pairs of candidates"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        let taught = try Self.differences(input.teacher().logits.detached)
        var counts = try taught.isPositive()
        if let counted = input.student.signals[RankingSignals.counted] {
            let (rows, columns) = (counted.shape[0], counted.shape[1])
            counts = try counts * counted.reshaped([rows, columns, 1]) * counted.reshaped([rows, 1, columns])
        }
        let losses = try (Self.differences(input.student.logits) * -scale).map(.softplus)
        return try (losses * counts).sum() / counts.sum().map(.clampMinimum(1)) * alpha
    }

    /// xᵢ − xⱼ: `[queries, candidates]` → `[queries, candidates, candidates]`.
    private static func differences(_ x: Tensor) throws -> Tensor {
        let (rows, columns) = (x.shape[0], x.shape[1])
        return try x.reshaped([rows, columns, 1]) - x.reshaped([rows, 1, columns])
    }
}
