import RetortModels
import RetortRuntime
import RetortSupport

/// How far the relevant passage is above each other candidate: alpha·mean(((s⁺ − s) − (t⁺ − t))²) of scores `[queries, candidates]`, mean over
/// queries and their other candidates. Hofstätter et al. 2020 (arXiv:2010.02666), who have one other candidate.
public struct MarginMSEObjective: LogitObjective {
    public static let section = RecipeSection(
        "margin-mse", "Squared error of the margins between the relevant passage and the others.",
        [AlphaField.field("1")])
    private let alpha: Float

    public init(_ recipe: RecipeNode) { alpha = AlphaField.value(recipe) }

    public var needsTeacher: Bool { true }
    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative, .shiftInvariant] }
    public var contract: String {
        "\(alpha.short)·((s⁺ − s⁻) − (t⁺ − t⁻))², mean over queries and their other candidates"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        let scores = input.student.logits
        guard let relevant = input.student.signals[RankingSignals.relevant], scores.shape[1] > 1 else {
            throw RetortError.internalBug("margins without a relevant passage or another candidate")
        }
        // The error of a margin is the difference of two errors; that of the relevant passage from itself is 0 and does not count.
        let errors = try scores - input.teacher().logits.detached
        let own = try (errors * relevant).sum(1, keepingDimension: true)
        let (rows, others) = (Float(scores.shape[0]), Float(scores.shape[1] - 1))
        let margins = try (own - errors).squared()
        guard let counted = input.student.signals[RankingSignals.counted] else {
            return try margins.sum() * (alpha / (rows * others))
        }
        return try (margins * counted).sum() / (counted - relevant).sum().map(.clampMinimum(1)) * alpha
    }
}

/// What losses of scores see beside them, among the student's signals.
enum RankingSignals {
    /// `[queries, candidates]`: 1 for the passage that is relevant, else 0.
    static let relevant = "relevant"
    /// `[queries, candidates]`: 1 for those that count, 0 for false negatives; absent where all count. The scores of false negatives are
    /// `excluded`, the teacher's too: no softmax sees them.
    static let counted = "counted"
    /// So low that nothing is left of it in a softmax at any temperature, and finite, so that 0 times it is 0.
    static let excluded: Float = -1e9

    /// Scores, and `excluded` where `counted` is 0; without a gradient there.
    static func excluding(_ scores: Tensor, _ counted: Tensor) throws -> Tensor {
        try scores * counted + (counted - .full(1, counted.shape, on: counted.device)) * -excluded
    }
}
