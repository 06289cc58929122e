import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// One loss of an arm, as the recipe states it. Its contract — direction, temperature, T², reduction, hard labels — is explicit and
/// can be printed, so that it cannot silently change.
///
/// A loss that only looks at logits and labels is a `LogitObjective`. One that looks inside the models says which signals it wants
/// and makes a `ObjectiveTerm` for each training run, which may hold parameters of its own (projectors) and a memory.
public protocol Objective: Sendable {
    /// The word under `loss` in a recipe and the keys beside it.
    static var section: RecipeSection { get }
    init(_ recipe: RecipeNode)
    /// Whether a teacher is needed.
    var needsTeacher: Bool { get }
    /// What is minimised, in one line.
    var contract: String { get }
    /// What is known to hold for this loss, checked by the law suite.
    var laws: Set<ObjectiveLaw> { get }
    /// Whether the loss compares examples with each other, so that it is not the mean of its values on parts of the batch. Such
    /// losses see the whole batch even when it is trained in micro-batches.
    var spansBatch: Bool { get }
    /// Whether the loss looks at all teachers at once; others are asked for each and averaged.
    var takesAllTeachers: Bool { get }
    /// Whether it knows what to do with mixed examples (mixup, CutMix), which have no label of their own.
    var takesMixedExamples: Bool { get }
    /// Which of its stages a loss is in, where a step computes something else in each: what a plan goes through. Most have one.
    func stage(_ progress: TrainingProgress) -> Int
    /// What the student does not see of its pictures where the loss counts; nil: nothing is hidden.
    var hiding: PatchMask? { get }
    /// Whether its mean over the examples may be another reduction: a loss of each example by itself.
    static var takesReduction: Bool { get }

    /// The signals to keep of both models.
    /// - Throws: `RetortError` 78 when a model cannot show what is asked for.
    func signals(_ models: ModelPair) throws -> SignalRequest
    /// The loss made ready for one training run.
    /// - Throws: `RetortError` 78 when shapes do not fit.
    func term(_ context: TermContext) throws -> any ObjectiveTerm
}

extension Objective {
    public var spansBatch: Bool { false }
    public var takesAllTeachers: Bool { false }
    public var takesMixedExamples: Bool { true }
    public var hiding: PatchMask? { nil }
    public static var takesReduction: Bool { false }
    public func stage(_ progress: TrainingProgress) -> Int { 0 }
    public func signals(_ models: ModelPair) throws -> SignalRequest { SignalRequest() }
}

/// A loss made ready for one training run.
public protocol ObjectiveTerm: AnyObject {
    /// Trained with the student and saved apart from it.
    var modules: [any Module] { get }
    /// Mean over the rows of the batch, a scalar on the tape.
    func loss(_ input: ObjectiveInput) throws -> Tensor
    /// Called when the optimizer has taken its step, also where the loss did not count in it: memories are updated here.
    func afterStep() throws
}

extension ObjectiveTerm {
    public var modules: [any Module] { [] }
    public func afterStep() throws {}
}

/// A loss that brings both models into one embedding space. Retrieval is measured there.
protocol EmbeddingTerm: ObjectiveTerm {
    /// Both sides, `[rows, width]` of length 1 each.
    func embeddings(_ input: ObjectiveInput) throws -> (student: Tensor, teacher: Tensor)
}

/// A loss of logits and labels alone: nothing to prepare.
public protocol LogitObjective: Objective {
    /// Mean over the rows of the batch, a scalar on the tape.
    func loss(_ input: ObjectiveInput) throws -> Tensor
}

extension LogitObjective {
    public func term(_ context: TermContext) throws -> any ObjectiveTerm { FunctionTerm(loss) }
}

/// A term without parameters.
public final class FunctionTerm: ObjectiveTerm {
    private let function: (ObjectiveInput) throws -> Tensor

    public init(_ function: @escaping (ObjectiveInput) throws -> Tensor) { self.function = function }

    public func loss(_ input: ObjectiveInput) throws -> Tensor { try function(input) }
}

/// What a loss sees of one batch.
public struct ObjectiveInput {
    /// The student's answers, on the tape.
    public let student: ModelOutput
    /// The teachers' answers, off the tape; empty when no term asks for them.
    public let teachers: [ModelOutput]
    /// Int32 classes `[rows]`.
    public let labels: View
    /// Probabilities `[rows, classes]` in place of the labels where examples are mixed (mixup, CutMix); else nil.
    public let targets: View?
    /// Int32 `[rows]`: each example's number in the training set.
    public let ids: View?
    /// `[rows, 1, height, width]`, 1 where a loss hides a pixel from the student; nil: nothing is hidden.
    public let hidden: Tensor?
    /// The first row's place in the batch: 0 but for the later parts of a batch that is trained in micro-batches. Random masks depend on it.
    public let firstRow: Int
    /// How far training has come.
    public let progress: TrainingProgress

    public init(
        student: ModelOutput, teachers: [ModelOutput], labels: View, targets: View? = nil, ids: View? = nil,
        hidden: Tensor? = nil, firstRow: Int = 0, progress: TrainingProgress = TrainingProgress()
    ) {
        self.student = student
        self.teachers = teachers
        self.labels = labels
        self.targets = targets
        self.ids = ids
        self.hidden = hidden
        self.firstRow = firstRow
        self.progress = progress
    }

    /// Of logits alone.
    public init(student: Tensor, teacher: Tensor?, labels: View) {
        self.init(
            student: ModelOutput(logits: student), teachers: teacher.map { [ModelOutput(logits: $0)] } ?? [],
            labels: labels)
    }

    public var rows: Int { student.logits.shape[0] }

    /// The same with one teacher only.
    func with(teacher: ModelOutput) -> ObjectiveInput {
        ObjectiveInput(
            student: student, teachers: [teacher], labels: labels, targets: targets, ids: ids, hidden: hidden,
            firstRow: firstRow, progress: progress)
    }

    /// The only teacher, or the first.
    /// - Throws: when there is none: a bug of the caller, for recipes are checked.
    public func teacher() throws -> ModelOutput {
        guard let teacher = teachers.first else {
            throw RetortError.internalBug("a distillation loss without a teacher")
        }
        return teacher
    }
}

/// How far training has come: what schedules depend on.
public struct TrainingProgress: Sendable {
    /// The epoch in progress, counted from 0.
    public var epoch: Int
    public var epochs: Int
    /// Optimizer steps taken.
    public var step: Int
    /// Steps of the whole training; 0 where nobody counts them.
    public var steps: Int

    public init(epoch: Int = 0, epochs: Int = 1, step: Int = 0, steps: Int = 0) {
        self.epoch = epoch
        self.epochs = epochs
        self.step = step
        self.steps = steps
    }

    /// How much of the training is done, 0 to 1.
    public var share: Double { Double(step) / Double(max(1, steps)) }
}

/// What a term can be built from.
public struct TermContext {
    public let models: ModelPair
    /// Shapes of the signals asked for, without their first dimension (rows).
    public let student: [String: [Int]]
    public let teacher: [String: [Int]]
    public let classes: Int
    /// Examples of the training set.
    public let examples: Int
    /// Their classes, int32 `[examples]`.
    public let labels: View?
    /// The teacher's batch norm that gives a signal its scale, where it shows one.
    public let teacherNorm: (String) -> BatchNorm2d?
    /// Unique in the run: names a term's parameters, "arm.student.1".
    public let name: String
    public let seed: UInt64
    public let device: Device

    public init(
        models: ModelPair, student: [String: [Int]], teacher: [String: [Int]], classes: Int, examples: Int,
        labels: View? = nil, teacherNorm: @escaping (String) -> BatchNorm2d? = { _ in nil }, name: String, seed: UInt64,
        device: Device
    ) {
        self.models = models
        self.student = student
        self.teacher = teacher
        self.classes = classes
        self.examples = examples
        self.labels = labels
        self.teacherNorm = teacherNorm
        self.name = name
        self.seed = seed
        self.device = device
    }
}

/// Properties that the law suite checks for every loss that claims them.
public enum ObjectiveLaw: String, Sendable, CaseIterable {
    /// 0 when student and teacher agree.
    case zeroAtEquality
    /// Never below 0.
    case nonNegative
    /// Unchanged when a row's logits all move by one number, in student or teacher.
    case shiftInvariant
    /// Unchanged when classes are added that both models exclude (logit −∞).
    case paddingInvariant
}
