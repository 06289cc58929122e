import RetortModels
import RetortRuntime

/// The student's vectors point where the teacher's do: alpha·mean(1 − cos(s·W, t)) over rows, W learned without bias where the widths differ,
/// absent where they do not. PyTorch's cosine embedding loss with target 1.
public struct EmbeddingCosineObjective: SignalObjective {
    public static let section = RecipeSection(
        "embedding-cosine", "1 − cosine of vectors, behind a learned projection where widths differ.",
        [AlphaField.field("1")] + SignalChoice.fields(.embedding))
    private let alpha: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        choice = SignalChoice("embedding-cosine", .embedding, recipe)
    }

    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative] }
    public var contract: String {
        "\(alpha.short)·(1 − cos(s, t)) of vectors, s·W where widths differ, mean over rows"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        try EmbeddingDistanceTerm(choice, context) { [alpha] in try $0.cosineEmbeddingLoss($1) * alpha }
    }
}
