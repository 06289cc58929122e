import RetortModels
import RetortRuntime

/// Correlation congruence as RepDistiller has it: alpha·mean over neighbours i, i + 1 of the batch of |s − t|_i · |s − t|_{i+1}, s and t the
/// features `[rows, …]` of student and teacher mapped to `width` numbers by a linear layer each, both trained. Defined on the whole
/// batch and its order. Peng et al. 2019 (arXiv:1904.01802); alpha 0.02 and width 128 at the embedding are RepDistiller's.
public struct CCObjective: SignalObjective {
    public static let section = RecipeSection(
        "cc", "How the errors of neighbours in a batch go together.",
        [
            AlphaField.field("0.02"),
            RecipeField("width", .integer(1...65536), .defaulted("128"), "features that both are mapped to"),
        ] + SignalChoice.fields(.embedding))
    private let alpha: Float
    private let width: Int
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        width = recipe.required("width").integer
        choice = SignalChoice("cc", .embedding, recipe)
    }

    /// The two maps differ, so equal features do not give 0.
    public var spansBatch: Bool { true }
    public var laws: Set<ObjectiveLaw> { [.nonNegative] }
    public var contract: String {
        "\(alpha.short)·|s − t|·|s − t| of neighbours in the batch, both mapped to \(width) features, \(choice.contract), "
            + "mean over neighbours"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        try Term(
            choice.pairs(context.models).enumerated().map { i, pair in
                let shapes = try context.shapes(pair)
                func layer(_ who: String, _ shape: [Int]) -> Linear {
                    Linear("\(context.name).\(i).\(who)", inputs: shape.reduce(1, *), outputs: width)
                }
                return (pair, layer("student", shapes.student), layer("teacher", shapes.teacher))
            }, alpha: alpha)
    }

    private final class Term: ObjectiveTerm {
        private let pairs: [(pair: SignalPair, student: Linear, teacher: Linear)]
        private let alpha: Float

        init(_ pairs: [(SignalPair, Linear, Linear)], alpha: Float) {
            self.pairs = pairs
            self.alpha = alpha
        }

        var modules: [any Module] { pairs.flatMap { [$0.student, $0.teacher] } }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            try Tensor.total(
                pairs.map { pair, student, teacher in
                    let (s, t) = try input.signals(pair)
                    return try student(s.flattenedRows()).correlationCongruence(teacher(t.flattenedRows()))
                }) * alpha
        }
    }
}

extension Tensor {
    /// Mean over i of Σ |s − t|_i·|s − t|_{i+1}, embeddings `[rows, width]`; both sides are differentiated. 0 for a single row.
    public func correlationCongruence(_ teacher: Tensor) throws -> Tensor {
        let error = try (self - teacher).abs()
        let rows = shape[0]
        guard rows > 1 else { return try error.sum() * 0 }
        return try (error.slice(0..<(rows - 1)) * error.slice(1..<rows)).sum() * (1 / Float(rows - 1))
    }
}
