import RetortData
import RetortModels
import RetortRuntime
import RetortSupport

/// One loss of a recommender's arm, as the recipe states it. All are divided by the pairs of the batch, so that the weights of papers that
/// sum over a batch keep their meaning beside BPR.
public protocol RecommenderObjective: Sendable {
    /// The word under `loss` in a recipe and the keys beside it.
    static var section: RecipeSection { get }
    init(_ recipe: RecipeNode)
    var needsTeacher: Bool { get }
    /// What is minimised, in one line.
    var contract: String { get }
    /// The loss made ready for one training run.
    /// - Throws: `RetortError` 78 when its numbers do not fit the data.
    func term(_ context: RecommenderContext) throws -> any RecommenderTerm
}

/// A recommender's loss made ready for one training run.
public protocol RecommenderTerm: AnyObject {
    /// Trained with the student and saved apart from it.
    var modules: [any Module] { get }
    /// Called before each epoch with the student's tables, off the tape: samples are drawn here.
    func beginEpoch(_ progress: TrainingProgress, student: EmbeddingTables) throws
    /// A scalar on the tape.
    func loss(_ input: RecommenderInput) throws -> Tensor
}

extension RecommenderTerm {
    public var modules: [any Module] { [] }
    public func beginEpoch(_ progress: TrainingProgress, student: EmbeddingTables) throws {}
}

/// What a term is built from.
public struct RecommenderContext {
    public let task: RecommenderTask
    /// Off the tape; nil without a teacher.
    public let teacher: EmbeddingTables?
    public let studentDimension: Int
    /// Unique in the run: names a term's parameters.
    public let name: String
    public let seed: UInt64
    public let device: Device

    public init(
        task: RecommenderTask, teacher: EmbeddingTables?, studentDimension: Int, name: String, seed: UInt64,
        device: Device
    ) {
        self.task = task
        self.teacher = teacher
        self.studentDimension = studentDimension
        self.name = name
        self.seed = seed
        self.device = device
    }

    /// - Throws: when there is none: a bug of the caller, for recipes are checked.
    func required() throws -> EmbeddingTables {
        guard let teacher else { throw RetortError.internalBug("a distillation loss without a teacher") }
        return teacher
    }
}

/// What a loss sees of one batch of pairs.
public struct RecommenderInput {
    /// On the tape.
    public let student: EmbeddingTables
    /// `[pairs]` each: who, what was taken, and what was not.
    public let users: [Int32]
    public let positives: [Int32]
    public let negatives: [Int32]
    public let progress: TrainingProgress

    public init(
        student: EmbeddingTables, users: [Int32], positives: [Int32], negatives: [Int32],
        progress: TrainingProgress = TrainingProgress()
    ) {
        self.student = student
        self.users = users
        self.positives = positives
        self.negatives = negatives
        self.progress = progress
    }

    public var pairs: Int { users.count }
}

extension [Int32] {
    /// Each number once, ascending.
    var distinct: [Int32] {
        var result: [Int32] = []
        for number in sorted() where result.last != number { result.append(number) }
        return result
    }
}

/// Every loss a recommender's recipe can name. One line here for each file in this folder.
public enum RecommenderObjectiveRegistry {
    public static let all: [any RecommenderObjective.Type] = [
        BPRObjective.self, PreferenceConsistentObjective.self, DistillationExpertsObjective.self,
        RankingDistillationObjective.self, RelaxedRankingObjective.self,
    ]

    static var sections: [RecipeSection] {
        all.map { RecipeSection($0.section.name, $0.section.summary, $0.section.fields + [Ramp.field]) }
    }

    /// The loss a validated recipe names.
    static func make(_ recipe: RecipeNode) -> any RecommenderObjective {
        let name = recipe.required("loss").text
        guard let type = all.first(where: { $0.section.name == name }) else { preconditionFailure("schema: \(name)") }
        return type.init(recipe)
    }
}
