import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// A loss of two answers to a prompt, the better and the worse. Mean over the pairs of a batch, whatever parts it comes in.
public protocol PreferenceObjective: LanguageObjective {
    /// How answers of different lengths are compared.
    var likelihood: AnswerLikelihood { get }
    /// β: a reward is β·(ln q(answer) − ln r(answer)), without a reference β·ln q(answer).
    var beta: Float { get }
    /// Of the loss among others.
    var weight: Float { get }
    /// What a loss beside a reference asks for; nil: the teacher where there is one, else the student's start.
    var reference: ReferenceModel? { get }
    /// The loss of each pair, `[pairs]`.
    func losses(_ pairs: AnswerPairs, _ batch: PreferenceBatch) throws -> Tensor
    /// How far the student is from the reference on a whole batch, which is asked once, before it is gone through in parts; 0 for a loss that does not
    /// want to know.
    func divergence(of batch: LanguageBatch, _ context: LanguageTermContext) throws -> Float
    /// Throws `RetortError` 78 for keys that do not go together.
    func check() throws
}

/// What a loss of pairs wants to know of the whole batch.
public struct PreferenceBatch: Sendable {
    /// Learned tokens of a better answer, their mean.
    public let tokens: Float
    /// As the objective has measured it.
    public let divergence: Float
}

/// What answers are compared with. A raw value is the word in a recipe.
public enum ReferenceModel: String, Sendable, CaseIterable {
    case teacher
    /// The student as it was at first.
    case start

    static let field = RecipeField(
        "reference", .choice(allCases.map(\.rawValue)), .optional,
        "what answers are compared with: the teacher, or the student as it was at first (default: the teacher where the recipe has one, else start)"
    )
}

extension PreferenceObjective {
    public var needsTeacher: Bool { false }
    public var reference: ReferenceModel? { nil }
    public var needs: TextNeed { .answers }
    public var takesCachedTeacher: Bool { !needsTeacher }
    public func check() throws {}
    public func divergence(of batch: LanguageBatch, _ context: LanguageTermContext) throws -> Float { 0 }

    public func term(_ context: LanguageTermContext) throws -> any LanguageTerm {
        try check()
        return PreferenceTerm(self, context)
    }

    static var weightField: RecipeField {
        RecipeField("weight", .number(0...1e6), .defaulted("1"), "of the loss among others")
    }
}

private final class PreferenceTerm: LanguageTerm {
    private let objective: any PreferenceObjective
    private let context: LanguageTermContext
    private var divergence: Float = 0

    init(_ objective: any PreferenceObjective, _ context: LanguageTermContext) {
        (self.objective, self.context) = (objective, context)
    }

    func advantages(of batch: RolloutBatch, _ progress: TrainingProgress) throws -> [Float]? {
        divergence = try objective.divergence(of: batch.batch, context)
        return nil
    }

    func loss(_ input: LanguageInput) throws -> Tensor {
        let size = input.pairs
        let losses = try objective.losses(
            AnswerPairs(input, objective.likelihood),
            PreferenceBatch(tokens: Float(size.tokens) / Float(max(1, size.pairs)), divergence: divergence))
        return try losses.sum() * (objective.weight / Float(max(1, size.pairs)))
    }
}

/// The size of a batch whose rows are, in turns, the better and the worse answer to a prompt.
public struct PairedSize: Sendable {
    public var pairs = 0
    /// Learned tokens of the better answers.
    public var tokens = 0

    init() {}

    /// Of a batch that comes in parts.
    init(_ parts: [LanguageBatch]) {
        for part in parts {
            pairs += part.rows / 2
            for row in stride(from: 0, to: part.rows, by: 2) {
                tokens += part.targets[row * part.length..<(row + 1) * part.length].count { $0 >= 0 }
            }
        }
    }
}
