import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// A recipe whose student is an encoder of texts.
struct EncoderRecipe: Sendable {
    let name: String
    let node: RecipeNode
    let task: any EncoderTask
    /// nil where nobody teaches, or the data have what a teacher said.
    let teacher: Teacher?
    let student: EncoderSpec
    /// What its weights are saved as.
    let savedType: SavedType
    let arms: [Arm]
    let seeds: [UInt64]
    let checkpoint: CheckpointSpec

    /// A trained encoder, or one that is trained first on what the data say.
    struct Teacher: Sendable {
        let spec: EncoderSpec
        /// nil for one that is asked as it is.
        let train: LanguageTrainSpec?
        /// Whether its vectors are projected onto as many principal components as the student's have numbers.
        let reduces: Bool
        /// What the matrices of one that is asked as it is are stored as.
        let dtype: DType
        /// What its steps, or its weights, are stored in, for the log; nil where all is fp32.
        var precision: String? { train?.precision ?? dtype.teacherPrecision }
    }

    struct Arm: Sendable {
        let name: String
        let terms: [EncoderArmTerm]
        let train: LanguageTrainSpec
        var needsTeacher: Bool { terms.contains(where: \.needsTeacher) }
        /// The first loss of what models hide; nil without one.
        var inner: EncoderArmTerm? { terms.first(where: \.isInner) }
        /// What is minimised, and in which precision, a line each.
        var contract: [String] { terms.map(\.contract) + [train.precision].compactMap { $0 } }
    }

    /// The kinds of tasks. One line here for each.
    static let tasks: [any EncoderTask.Type] = [SentenceTask.self, RetrievalTask.self, LabelledTextTask.self]

    static func task(_ kind: String) -> (any EncoderTask.Type)? { tasks.first { $0.section.name == kind } }

    /// The role of the student before it is trained.
    static let untrained = "untrained"

    private static let paths = [
        ["data", "path"], ["data", "test", "path"], ["data", "unlabelled"], ["teacher", "path"], ["student", "path"],
        ["teacher", "tokenizer"],
        ["student", "tokenizer"], ["teacher", "model", "path"], ["student", "model", "path"],
    ]

    /// - Parameter folder: relative paths in the recipe start here; where nothing is there, in the working directory.
    init(_ node: RecipeNode, name: String, folder: String) throws {
        let paths = RecipePaths(folder: folder)
        self.name = name
        let data = node.required("data")
        let kind = data.required("kind").text
        guard let type = Self.task(kind) else { preconditionFailure("schema: \(kind)") }
        task = try type.init(data, paths.resolve)
        // The stored recipe must mean the same from anywhere, so its paths are absolute.
        var resolved = node
        for place in Self.paths {
            if let path = place.reduce(node, { $0?[$1] }), case .text(let text) = path.value {
                resolved = resolved.replacing(place, by: RecipePaths.absolute(paths.resolve(text)))
            }
        }
        self.node = resolved
        checkpoint = CheckpointSpec(node.required("checkpoint"))
        let train = node.required("train")
        teacher = try node["teacher"].map { try Teacher($0, type, fallback: train, paths.resolve) }
        student = try EncoderSpec(node.required("student"), who: "student", paths.resolve)
        savedType = SavedType(student: node.required("student"))
        seeds = node.required("seeds").list.map { UInt64($0.integer) }
        guard Set(seeds).count == seeds.count else {
            throw RetortError.recipe("a seed stands twice in seeds", at: node.required("seeds").location)
        }
        arms = try node.required("arms").fields.map { name, arm in
            guard name != Self.untrained else {
                throw RetortError.recipe(
                    "\(name) cannot be an arm's name", at: arm.location,
                    why: "the table calls the student so before its training")
            }
            return Arm(
                name: name, terms: try arm.required("objective").list.map { try EncoderArmTerm($0, type) },
                train: try LanguageTrainSpec(arm["train"], fallback: train))
        }
    }

    /// What becomes of a section for one kind of task.
    static func schema(_ type: any EncoderTask.Type) -> RecipeSection {
        let reading = (type.hasVectors ? EncoderSpec.vectorFields + [reduction] : []) + [LanguageTeacherSpec.storage]
        let teacher = RecipeSection(
            "teacher",
            "An encoder that is there"
                + (type.aloneObjective == nil ? "." : ", or one that is trained first on what the data say."),
            (type.aloneObjective == nil ? EncoderSpec.fields.filter { $0.key != "model" } : EncoderSpec.fields)
                + reading
                + (type.aloneObjective == nil
                    ? []
                    : [
                        RecipeField(
                            "train", .section(.ownEncoderTrain), .optional,
                            "how the teacher is trained on what the data say, from a path's weights too; what is absent is taken from train"
                        )
                    ]))
        let student = RecipeSection(
            "student", "An encoder: its sizes, or the directory to start from.",
            EncoderSpec.fields + (type.hasVectors ? EncoderSpec.vectorFields : []) + [SavedType.field])
        let arm = RecipeSection(
            "arm", "One way to train the student.",
            [
                RecipeField(
                    "objective", .list(of: .variant(key: "loss", type.losses), count: 1...16), .required,
                    "the losses that are added up"),
                RecipeField(
                    "train", .section(.ownEncoderTrain), .optional, "what differs from `train` for this arm"),
            ])
        let own: [String: RecipeType] = [
            "data": .variant(key: "kind", [type.section]), "teacher": .section(teacher), "student": .section(student),
            "arms": .named(.section(arm)), "train": .section(.encoderTrain),
        ]
        let shared = RecipeSection.recipe
        return RecipeSection(
            shared.name, shared.summary,
            shared.fields.filter { $0.key != "teachers" }.map {
                RecipeField($0.key, own[$0.key] ?? $0.type, $0.presence, $0.summary)
            })
    }

    private static let reduction = RecipeField(
        "pca", .flag, .defaulted("false"),
        "losses see its vectors projected onto as many principal components as the student's have numbers")
}

extension EncoderRecipe.Teacher {
    init(_ node: RecipeNode, _ type: any EncoderTask.Type, fallback: RecipeNode, _ resolve: (String) -> String) throws {
        spec = try EncoderSpec(node, who: "teacher", resolve)
        reduces = node["pca"]?.flag ?? false
        // One from a directory is as it is, unless the recipe says how it is trained further.
        let isTrained = spec.directory == nil || node["train"] != nil
        dtype = node["dtype"]?.dtype ?? .f32
        if dtype != .f32, isTrained {
            throw RetortError.recipe(
                "a teacher that the run trains is not stored in \(dtype)", at: node["dtype"]?.location,
                why: "what is trained has fp32 weights",
                help: "remove `dtype`; `train: {dtype: \(dtype)}` is for its training")
        }
        train = isTrained ? try LanguageTrainSpec(node["train"], fallback: fallback) : nil
    }
}

extension EncoderArmTerm {
    init(_ node: RecipeNode, _ task: any EncoderTask.Type) throws {
        let name = node.required("loss").text
        if let type = task.objectives.first(where: { $0.section.name == name }) {
            let objective = type.init(node)
            try DivergenceTerm.checkEntropy(of: objective, node)
            loss = .answers(objective)
        } else if let type = task.innerObjectives.first(where: { $0.section.name == name }) {
            loss = .inner(type.init(node))
        } else {
            preconditionFailure("schema: \(name)")
        }
        reduction = RowReduction(node)
        ramp = try Ramp(node.required("ramp"))
        candidates = node["candidates"].flatMap { RankingCandidates(rawValue: $0.text) } ?? .own
        location = node.location
    }
}

extension EncoderTask {
    /// Whether models answer with vectors, not with what a head says.
    static var hasVectors: Bool { quality != .accuracy }
}
