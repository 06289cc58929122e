import RetortModels
import RetortRuntime

/// The student's vectors become the teacher's: alpha·mean((s·W − t)²) over rows and columns, W learned without bias where the widths differ,
/// absent where they do not. sentence-transformers' MSELoss (Reimers and Gurevych 2020, arXiv:2004.09813, for a student of the same text).
public struct EmbeddingMSEObjective: SignalObjective {
    public static let section = RecipeSection(
        "embedding-mse", "Squared distance of vectors, behind a learned projection where widths differ.",
        [AlphaField.field("1")] + SignalChoice.fields(.embedding))
    private let alpha: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        choice = SignalChoice("embedding-mse", .embedding, recipe)
    }

    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative] }
    public var contract: String {
        "\(alpha.short)·MSE(s, t) of vectors, s·W where widths differ, mean over rows and columns"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        try EmbeddingDistanceTerm(choice, context) { [alpha] in try $0.meanSquaredError($1) * alpha }
    }
}
