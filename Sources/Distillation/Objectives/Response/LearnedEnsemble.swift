import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Several teachers, each with a weight for each example that is learned with the student: alpha·T²·KL(Σ wₖ·pₖ‖q), mean over rows; pₖ and q
/// the softmax at temperature T of teacher k and of the student, w = softmax over teachers of M·e, e what the student's classifier sees
/// and M `[teachers, features]` trained beside the student.
///
/// The integrated soft target of AMTML-KD (Liu, Zhang & Wang 2020, arXiv:2103.04062), whose vᵀ(θₖ ⊙ e) is M with rows v ⊙ θₖ; their hints are
/// a loss of their own here (`fitnet` with `from`). M starts at 0: all teachers weigh the same.
public struct LearnedEnsembleObjective: Objective {
    public static let section = RecipeSection(
        "learned-ensemble", "Several teachers at once, with learned weights for each example.",
        [
            AlphaField.field("1"),
            RecipeField(
                "student", .list(of: .text, count: 1...1), .optional,
                "the student's signal that the weights depend on; what its classifier sees when absent"),
        ] + Temperature.fields("4", "all logits are divided by this"))
    private let alpha: Float
    private let temperature: Temperature
    private let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        temperature = Temperature(recipe)
        choice = SignalChoice("learned-ensemble", .embedding, recipe, studentKey: "student")
    }

    public var needsTeacher: Bool { true }
    public var takesAllTeachers: Bool { true }
    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative] }
    public var contract: String {
        "\(alpha.short)·T²·KL(Σ w·p‖q), w learned from the student \(choice.studentContract), T=\(temperature.contract), "
            + "mean over rows"
    }

    public func signals(_ models: ModelPair) throws -> SignalRequest {
        SignalRequest(student: try choice.studentPaths(models))
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        let path = try choice.studentPaths(context.models)[0]
        let gate = Linear(
            context.name + ".gate", inputs: (context.student[path] ?? []).reduce(1, *),
            outputs: context.models.teacherCount, bias: false)
        gate.weight.initializer = .zeros
        return Term(gate, path, self)
    }

    private final class Term: ObjectiveTerm {
        private let gate: Linear
        private let path: String
        private let objective: LearnedEnsembleObjective

        init(_ gate: Linear, _ path: String, _ objective: LearnedEnsembleObjective) {
            self.gate = gate
            self.path = path
            self.objective = objective
        }

        var modules: [any Module] { [gate] }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            guard let features = input.student.signals[path] else {
                throw RetortError.internalBug("the signal \(path) was not kept")
            }
            return try input.student.logits.divergence(
                fromTeachers: input.teachers.map(\.logits), weights: gate(features.flattenedRows()).softmax(),
                temperature: objective.temperature.now(input)) * objective.alpha
        }
    }
}

extension Tensor {
    /// T²·KL(Σ wₖ·pₖ‖q), mean over the rows of logits `[rows, classes]`, with the gradient with respect to the weights too.
    /// - `teachers`: logits `[rows, classes]` each, constants.
    /// - `weights`: `[rows, teachers]`, each row a distribution.
    public func divergence(fromTeachers teachers: [Tensor], weights: Tensor, temperature: Float) throws -> Tensor {
        let rows = shape[0]
        guard weights.shape == [rows, teachers.count] else {
            throw RetortError.internalBug("weights \(weights.shape) for \(teachers.count) teachers")
        }
        let mixture = try Tensor.total(
            teachers.enumerated().map { k, teacher in
                try teacher.detached.softmax(temperature: temperature) * weights.narrowed(axis: 1, k..<(k + 1))
            })
        // The fused op takes logits and gives the student's gradient; the logarithm times T has the mixture as its softmax at T.
        let factor = temperature * temperature
        let op = Divergence(.forwardKL, temperature: temperature, softWeight: factor, scale: 1 / Float(rows))
        let value = try divergence(op, teacher: (mixture.detached.log() * temperature).view).total
        // d KL / d mixture = ln mixture − ln q, up to a number that is the same for all classes and falls out, for the mixture's sum is
        // always 1. A term of value 0 brings this gradient to the weights. Classes that both exclude count as the smallest number.
        func logarithm(_ p: Tensor) throws -> Tensor { try p.detached.map(.clampMinimum(.leastNormalMagnitude)).log() }
        let slope = try logarithm(mixture) - logarithm(softmax(temperature: temperature))
        return try value + ((mixture - mixture.detached) * slope).sum() * (factor / Float(rows))
    }
}
