import RetortModels
import RetortRuntime
import RetortSupport

/// A recipe whose data are interactions.
public struct RecommenderRecipe: Sendable {
    public let name: String
    public let node: RecipeNode
    public let data: InteractionSource
    public let teacher: TeacherSource
    public let student: RecommenderSpec
    public let arms: [Arm]
    public let seeds: [UInt64]
    let checkpoint: CheckpointSpec

    public enum TeacherSource: Sendable {
        case train(RecommenderSpec, TrainSpec)
        case directory(String)
    }

    public struct Arm: Sendable {
        public let name: String
        public let terms: [RecommenderArmTerm]
        public let train: TrainSpec
        public var needsTeacher: Bool { terms.contains { $0.objective.needsTeacher } }
        public var contract: [String] { terms.map(\.contract) }
    }

    /// - Parameter folder: relative paths in the recipe start here; where nothing is there, in the working directory.
    init(_ node: RecipeNode, name: String, folder: String) throws {
        let paths = RecipePaths(folder: folder)
        self.name = name
        data = try InteractionSource(
            node.required("data"), path: paths.resolve(node.required("data").required("path").text))
        var resolved = node.replacing(["data", "path"], by: RecipePaths.absolute(data.path))
        checkpoint = CheckpointSpec(node.required("checkpoint"))
        let train = node.required("train")
        let teacher = node.required("teacher")
        switch (teacher["model"], teacher["path"]) {
        case (let model?, nil):
            self.teacher = .train(RecommenderSpec(model), TrainSpec(teacher["train"], fallback: train))
        case (nil, let path?):
            if let train = teacher["train"] {
                throw RetortError.recipe(
                    "a teacher from a directory is not trained", at: train.location,
                    help: "remove teacher.train, or give teacher.model instead of teacher.path")
            }
            self.teacher = .directory(paths.resolve(path.text))
            resolved = resolved.replacing(["teacher", "path"], by: RecipePaths.absolute(paths.resolve(path.text)))
        default: throw RetortError.notOne(of: ["model", "path"], "the teacher", teacher)
        }
        self.node = resolved
        student = RecommenderSpec(node.required("student").required("model"))
        seeds = node.required("seeds").list.map { UInt64($0.integer) }
        guard Set(seeds).count == seeds.count else {
            throw RetortError.recipe("a seed stands twice in seeds", at: node.required("seeds").location)
        }
        arms = try node.required("arms").fields.map { name, arm in
            try Arm(
                name: name, terms: arm.required("objective").list.map { try RecommenderArmTerm($0) },
                train: TrainSpec(arm["train"], fallback: train))
        }
    }
}

/// One loss of a recommender's arm with its factor over the epochs.
public struct RecommenderArmTerm: Sendable {
    public let objective: any RecommenderObjective
    public let ramp: Ramp

    public init(_ objective: any RecommenderObjective, ramp: Ramp = .constant) {
        self.objective = objective
        self.ramp = ramp
    }

    init(_ recipe: RecipeNode) throws {
        try self.init(RecommenderObjectiveRegistry.make(recipe), ramp: Ramp(recipe.required("ramp")))
    }

    public var contract: String { objective.contract + ramp.contract }
}

/// A recommender with its settings, as a recipe states them.
public struct RecommenderSpec: Sendable {
    public let type: any RecommenderModel.Type
    public let settings: ModelSettings
    private let node: RecipeNode

    init(_ node: RecipeNode) {
        self.node = node
        let kind = node.required("kind").text
        guard let type = RecommenderModelRegistry.find(kind) else { preconditionFailure("schema: \(kind)") }
        self.type = type
        settings = ModelSettings(node, of: type.architecture)
    }

    /// A fresh model, not yet on a device.
    /// - Throws: `RetortError` 78 when the settings do not fit the data.
    func make(for task: RecommenderTask, who: String) throws -> any RecommenderModel {
        do {
            return try type.init(settings, for: task)
        } catch let error as ModelError {
            throw RetortError.recipe(
                "the \(who)'s \(error.description)", at: node[error.setting]?.location ?? node.location)
        }
    }

    static let schema = RecipeType.variant(
        key: "kind", RecommenderModelRegistry.all.map { RecipeSection(model: $0.architecture) })

    static var kinds: [String] { RecommenderModelRegistry.all.map { $0.architecture.kind } }
}

extension RecipeSection {
    /// The recipe of a recommender: what differs from the other is the data, the models and the losses.
    static var recommender: RecipeSection {
        let arm = RecipeSection(
            "arm", "One way to train the student.",
            [
                RecipeField(
                    "objective",
                    .list(of: .variant(key: "loss", RecommenderObjectiveRegistry.sections), count: 1...16), .required,
                    "the losses that are added up"),
                RecipeField(
                    "train", .section(wholeRows(armTrain)), .optional, "what differs from `train` for this arm"),
            ])
        let teacher = RecipeSection(
            "teacher", "A model and how it is trained with bpr, or the directory of a trained one.",
            [
                RecipeField("model", RecommenderSpec.schema, .optional, "the teacher, when it is to be trained"),
                RecipeField(
                    "train", .section(wholeRows(armTrain)), .optional,
                    "how the teacher is trained; what is absent is taken from train"),
                RecipeField(
                    "path", .text, .optional,
                    "a directory with config.json and model.safetensors, instead of model and train"),
            ])
        let student = RecipeSection(
            "student", "The student.", [RecipeField("model", RecommenderSpec.schema, .required, "the student")])
        let own: [String: RecipeType] = [
            "data": .variant(key: "kind", [InteractionSource.section]), "teacher": .section(teacher),
            "student": .section(student), "arms": .named(.section(arm)), "train": .section(wholeRows(train)),
        ]
        let shared = RecipeSection.recipe
        return RecipeSection(
            shared.name, shared.summary,
            shared.fields.map { RecipeField($0.key, own[$0.key] ?? $0.type, $0.presence, $0.summary) })
    }

    /// Without the keys that choose rows or cut batches: a pair of a user and an item is no row, and a batch of them is small.
    private static func wholeRows(_ section: RecipeSection) -> RecipeSection {
        RecipeSection(
            section.name, section.summary, section.fields.filter { !["rows", "micro-batch"].contains($0.key) })
    }
}
