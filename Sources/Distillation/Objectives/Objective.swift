import RetortKernels
import RetortRuntime
import RetortSupport

/// What a loss sees of one batch.
public struct ObjectiveInput {
    /// Student logits `[rows, classes]`, on the tape.
    public let student: Tensor
    /// Teacher logits `[rows, classes]`; nil when no term asks for them.
    public let teacher: Tensor?
    /// Int32 classes `[rows]`.
    public let labels: View

    public init(student: Tensor, teacher: Tensor?, labels: View) {
        self.student = student
        self.teacher = teacher
        self.labels = labels
    }

    var rows: Int { student.shape[0] }
}

/// One loss of an arm. Its contract — direction, temperature, T², reduction, hard labels — is explicit and can be printed, so that
/// it cannot silently change.
public protocol Objective: Sendable {
    /// The word under `loss` in a recipe and the keys beside it.
    static var section: RecipeSection { get }
    init(_ recipe: RecipeNode)
    /// Whether a teacher is needed.
    var needsTeacher: Bool { get }
    /// What is minimised, in one line.
    var contract: String { get }
    /// Mean over the rows of the batch, on the tape.
    func loss(_ input: ObjectiveInput) throws -> FusedLoss
    /// What is known to hold for this loss, checked by the law suite.
    var laws: Set<ObjectiveLaw> { get }
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

/// Every loss a recipe can name. One line here for each file in this folder.
public enum ObjectiveRegistry {
    public static let all: [any Objective.Type] = [
        CrossEntropyObjective.self,
        HintonObjective.self,
        ForwardKLObjective.self,
        ReverseKLObjective.self,
        JSDObjective.self,
        ContinuousJSDObjective.self,
        SkewKLObjective.self,
        SkewReverseKLObjective.self,
        TotalVariationObjective.self,
    ]

    static var sections: [RecipeSection] { all.map { $0.section } }

    /// The loss a validated recipe names.
    static func make(_ recipe: RecipeNode) -> any Objective {
        let name = recipe.required("loss").text
        guard let type = all.first(where: { $0.section.name == name }) else { preconditionFailure("schema: \(name)") }
        return type.init(recipe)
    }
}
