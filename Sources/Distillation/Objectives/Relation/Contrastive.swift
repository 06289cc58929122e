import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Two encoders, one embedding space: each example's embedding of the student shall be nearest to the same example's of the teacher, among all of
/// the batch, and the reverse. alpha·(CE(rows of S) + CE(columns of S)) / 2, S[i, j] = ⟨sᵢ, tⱼ⟩ / τ, s and t projections of both signals to one width
/// and length 1; the label of row i is i. Mean over rows.
///
/// The loss of CLIP (Radford et al. 2021, arXiv:2103.00020) with a frozen teacher, as for two modalities of the same examples (`sees`). Both
/// projections are linear, without bias, and trained with the student. 1/τ is learned, at most 100, and starts at 1/0.07, as theirs.
public struct ContrastiveObjective: SignalObjective {
    public static let section = RecipeSection(
        "contrastive", "The student's embedding of an example is nearest to the teacher's of the same example.",
        [
            AlphaField.field("1"),
            RecipeField("width", .integer(1...65536), .defaulted("128"), "numbers of an embedding"),
            RecipeField(
                "temperature", .number(0.01...1e3), .defaulted("0.07"), "cosines are divided by this at the start"),
            RecipeField("learn-temperature", .flag, .defaulted("true"), "whether the temperature is trained"),
        ] + SignalChoice.fields(.embedding))
    private let alpha: Float
    private let width: Int
    private let temperature: Float
    private let isLearned: Bool
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        width = recipe.required("width").integer
        temperature = Float(recipe.required("temperature").number)
        isLearned = recipe.required("learn-temperature").flag
        choice = SignalChoice("contrastive", .embedding, recipe)
    }

    public var spansBatch: Bool { true }
    public var laws: Set<ObjectiveLaw> { [.nonNegative] }
    public var contract: String {
        "\(alpha.short)·(CE of rows + CE of columns)/2 of cosines/τ between embeddings of \(width) numbers, τ=\(temperature.short)"
            + "\(isLearned ? " and learned" : ""), \(choice.contract), mean over rows"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        let pairs = try choice.pairs(context.models)
        guard pairs.count == 1 else {
            throw RetortError.recipe("the loss contrastive compares one signal of each model, not \(pairs.count)")
        }
        let shapes = try context.shapes(pairs[0])
        return Term(pairs[0], self, context.name, student: shapes.student, teacher: shapes.teacher)
    }

    private final class Term: EmbeddingTerm {
        private let pair: SignalPair
        private let objective: ContrastiveObjective
        private let student: Linear
        private let teacher: Linear
        /// ln 1/τ, a scalar; trained or constant.
        private let logScale: Parameter

        init(_ pair: SignalPair, _ objective: ContrastiveObjective, _ name: String, student: [Int], teacher: [Int]) {
            self.pair = pair
            self.objective = objective
            func projection(_ who: String, _ shape: [Int]) -> Linear {
                Linear("\(name).\(who)", inputs: shape.reduce(1, *), outputs: objective.width, bias: false)
            }
            self.student = projection("student", student)
            self.teacher = projection("teacher", teacher)
            logScale = Parameter(name + ".log_scale", [1], .constant(-log(objective.temperature)))
            logScale.isTrainable = objective.isLearned
        }

        var modules: [any Module] { [student, teacher, Leaf([logScale])] }

        func embeddings(_ input: ObjectiveInput) throws -> (student: Tensor, teacher: Tensor) {
            let signals = try input.signals(pair)
            return (
                try student(signals.student.flattenedRows()).normalized(),
                try teacher(signals.teacher.flattenedRows()).normalized()
            )
        }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            let (s, t) = try embeddings(input)
            // min(x, ln 100), which CLIP clamps its scale to.
            let bounded = try -(-logScale.tensor).map(.clampMinimum(-log(100)))
            return try s.contrast(with: t, scale: bounded.exp()) * objective.alpha
        }
    }

    /// Parameters that belong to no layer.
    private final class Leaf: Module {
        let parameters: [Parameter]
        var isTraining = true
        init(_ parameters: [Parameter]) { self.parameters = parameters }
    }
}

extension Tensor {
    /// The symmetric cross entropy of matching rows (InfoNCE both ways): embeddings `[rows, width]` of length 1 each, the i-th of one to the
    /// i-th of the other; `scale` `[1]` multiplies the cosines. Mean over rows.
    public func contrast(with other: Tensor, scale: Tensor) throws -> Tensor {
        let rows = shape[0]
        let scores = try matmul(other.transposed(0, 1)) * scale
        let own = try device.view((0..<Int32(rows)).map { $0 }, [rows], .i32)
        let weight = 0.5 / Float(rows)
        return try scores.crossEntropy(own, scale: weight).total
            + scores.transposed(0, 1).reshaped([rows, rows]).crossEntropy(own, scale: weight).total
    }
}
