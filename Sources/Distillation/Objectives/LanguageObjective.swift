import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// One loss of a language model's arm, as the recipe states it.
public protocol LanguageObjective: Sendable {
    /// The word under `loss` in a recipe and the keys beside it.
    static var section: RecipeSection { get }
    init(_ recipe: RecipeNode)
    /// Whether a teacher is needed.
    var needsTeacher: Bool { get }
    /// Whether the loss looks at all teachers at once; others look at one.
    var takesAllTeachers: Bool { get }
    /// How a teacher that reads in tokens of its own is compared; nil for a loss that compares token by token, which needs one tokenizer for both.
    var reading: TokenAlignment? { get }
    /// Which texts it is about.
    var needs: TextNeed { get }
    /// Whether the teacher's likeliest tokens, the mass of the others and hidden states are enough of it: what a cache keeps.
    var takesCachedTeacher: Bool { get }
    /// How its tokens may become one number; empty for a loss that has a way of its own.
    static var reductions: [TokenReduction] { get }
    /// What is minimised, in one line.
    /// - Parameter what: what the mean is taken over: "valid tokens".
    func contract(over what: String) -> String
    /// The loss made ready for one training run.
    /// - Throws: `RetortError` 78 when the models do not fit.
    func term(_ context: LanguageTermContext) throws -> any LanguageTerm
}

/// The texts that a loss is about.
public enum TextNeed: Sendable {
    case any
    /// Whose tokens the student drew itself.
    case drawn
    /// Two to each prompt, the teacher's and the student's.
    case pairs
    /// Two to each prompt, the better one first, whoever wrote them.
    case answers

    /// Whether it is about how likely models find what was written.
    var wantsSignals: Bool {
        switch self {
        case .any, .answers: false
        case .drawn, .pairs: true
        }
    }
}

/// A loss that needs nothing but what models say of tokens: nothing to prepare.
public protocol PlainLanguageObjective: LanguageObjective {
    /// What tokens that were drawn are rewarded with, `[rows, length]`; see `LanguageTerm`.
    func advantages(of batch: RolloutBatch) -> [Float]?
    /// The weighted sum over the tokens, a scalar on the tape.
    func loss(_ input: LanguageInput) throws -> Tensor
}

extension PlainLanguageObjective {
    public func term(_ context: LanguageTermContext) throws -> any LanguageTerm { PlainLanguageTerm(self) }
}

/// What a loss can be built from.
public struct LanguageTermContext {
    public let student: any TokenLayers
    /// nil where nobody teaches.
    public let teacher: (any TokenLayers)?
    /// Unique in the run: names a term's parameters, "arm.1".
    public let name: String
    /// nil where nothing is trained.
    var likelihoods: Likelihoods?

    /// How likely models find texts: ln of each label `[rows · length]`, 0 where there is none. No gradients.
    struct Likelihoods {
        let student: (LanguageBatch) throws -> [Float]
        /// nil where nobody teaches.
        let teacher: ((LanguageBatch) throws -> [Float])?
    }
}

/// A loss made ready for one training run.
public protocol LanguageTerm: AnyObject {
    /// Trained with the student and saved apart from it.
    var modules: [any Module] { get }
    /// The signals to keep of both models.
    var signals: SignalRequest { get }
    /// What is known of each token of texts that models wrote, `[rows, length]`: rewards of those that were drawn, for one. Asked once for a
    /// batch, before it is gone through in parts, which find it in `rollout.advantage`. nil for a loss that wants nothing of the kind.
    func advantages(of batch: RolloutBatch, _ progress: TrainingProgress) throws -> [Float]?
    /// What it keeps from step to step beside its modules' parameters; nil: nothing.
    var state: JSON? { get }
    /// - Throws: `RetortError` 65.
    func resume(_ state: JSONCursor) throws
    /// The weighted sum over the tokens, a scalar on the tape.
    func loss(_ input: LanguageInput) throws -> Tensor
}

extension LanguageTerm {
    public func advantages(of batch: RolloutBatch, _ progress: TrainingProgress) throws -> [Float]? { nil }
    public var state: JSON? { nil }
    public func resume(_ state: JSONCursor) throws {}
    public var modules: [any Module] { [] }
    public var signals: SignalRequest { SignalRequest() }
}

private final class PlainLanguageTerm: LanguageTerm {
    private let objective: any PlainLanguageObjective
    init(_ objective: any PlainLanguageObjective) { self.objective = objective }
    func advantages(of batch: RolloutBatch, _ progress: TrainingProgress) -> [Float]? {
        objective.advantages(of: batch)
    }
    func loss(_ input: LanguageInput) throws -> Tensor { try objective.loss(input) }
}

extension LanguageObjective {
    public var takesAllTeachers: Bool { false }
    public var reading: TokenAlignment? { nil }
    public var needs: TextNeed { .any }
    public var takesCachedTeacher: Bool { !needsTeacher }
    public static var reductions: [TokenReduction] { [] }
}

extension PlainLanguageObjective {
    public func advantages(of batch: RolloutBatch) -> [Float]? { nil }
}

/// Rows with a label among all of the student's classes.
public struct LabelledRows {
    let head: OutputHead
    /// Int32 `[rows · length]`, −100 where nothing is learned.
    let labels: View
    /// `[rows · length]`: what the loss of each token is multiplied by, 0 for those that are not learned.
    let weights: View
}

/// What a loss sees of some rows of tokens.
public struct LanguageInput {
    /// What the student's head sees, `[rows, length, hidden]`.
    public let hidden: Tensor
    /// Over the classes that are compared: all, or those that teachers know too.
    public let head: OutputHead
    /// The teachers' predictions of the same tokens: one, or for a loss that takes all those of all; empty where it asks for none.
    public let teachers: [TokenTeacher]
    /// Int32 `[rows · length]`: the class of what follows each token, −100 where nothing is learned or compared.
    public let labels: View
    /// The same on the host.
    public let targets: [Int32]
    /// `[rows · length]`: what the loss of each token is multiplied by, for a mean over tokens 1 / number of the batch's that are learned; 0 for those
    /// that are not learned or not compared.
    public let weights: View
    /// The same on the host, but for those that are not compared.
    public let shares: [Float]
    /// What hard labels are about where teachers do not know all of the student's tokens: all of these. nil: `head`, `labels` and `weights`.
    public var labelled: LabelledRows?
    /// Where the head's gradient waits for backward.
    public let gradient: HeadGradient
    /// How many tokens' logits are held at a time.
    public var chunk = ChunkSize.automatic
    /// Of tokens that the student drew.
    public let rollout: RolloutSignals?
    /// What was asked of both models, by path; the teacher's off the tape.
    public let student: [String: Tensor]
    public let taught: [String: Tensor]
    public let tokens: TokenBatch
    /// `[rows · length]`: 1 / number of the batch's tokens, 0 for padding.
    public let tokenWeights: View
    public let progress: TrainingProgress
    /// Whether tokens see those before them alone.
    public var isCausal = true
    /// ln p(label) of the teacher `[rows · length]`, 0 where there is no label: of texts of which two answers are compared.
    var reference: Tensor?
    /// Of the whole batch, where its rows are pairs of answers.
    var pairs = PairedSize()

    /// The only teacher.
    public var teacher: TokenTeacher? { teachers.first }
}
