import RetortModels
import RetortRuntime
import RetortSupport

/// A recipe whose student is a language model.
struct LanguageRecipe: Sendable {
    let name: String
    let node: RecipeNode
    let data: LanguageSource
    /// nil where nobody teaches.
    let teacher: Teacher?
    let student: LanguageModelSpec
    let arms: [Arm]
    let seeds: [UInt64]

    /// A trained model, or one that is trained first, with cross entropy, or a cache of one's predictions.
    struct Teacher: Sendable {
        /// nil where there is a cache and nothing else.
        let spec: LanguageModelSpec?
        /// nil for one from a directory.
        let train: LanguageTrainSpec?
        /// The directory with predictions that were read before: no teacher is loaded then.
        let cache: String?

        /// The model that teaches; nil where a cache does.
        var live: LanguageModelSpec? { cache == nil ? spec : nil }
    }

    struct Arm: Sendable {
        let name: String
        let terms: [LanguageArmTerm]
        let train: LanguageTrainSpec
        var needsTeacher: Bool { terms.contains { $0.objective.needsTeacher } }
        var contract: [String] { terms.map(\.contract) }
    }

    /// Where paths may stand.
    private static let paths = [
        ["data", "path"], ["data", "test", "path"], ["data", "tokenizer"], ["teacher", "path"], ["teacher", "cache"],
        ["student", "path"],
        ["teacher", "model", "path"], ["student", "model", "path"],
    ]

    /// - Parameter folder: relative paths in the recipe start here; where nothing is there, in the working directory.
    init(_ node: RecipeNode, name: String, folder: String) throws {
        let paths = RecipePaths(folder: folder)
        self.name = name
        data = try LanguageSource(node.required("data"), paths.resolve)
        // The stored recipe must mean the same from anywhere, so its paths are absolute.
        var resolved = node
        for place in Self.paths {
            if let path = place.reduce(node, { $0?[$1] }), case .text(let text) = path.value {
                resolved = resolved.replacing(place, by: RecipePaths.absolute(paths.resolve(text)))
            }
        }
        self.node = resolved
        let train = node.required("train")
        teacher = try node["teacher"].map { try Teacher($0, fallback: train, paths.resolve) }
        student = try LanguageModelSpec(node.required("student"), who: "student", paths.resolve)
        seeds = node.required("seeds").list.map { UInt64($0.integer) }
        guard Set(seeds).count == seeds.count else {
            throw RetortError.recipe("a seed stands twice in seeds", at: node.required("seeds").location)
        }
        let hasTeacher = teacher != nil
        arms = try node.required("arms").fields.map { name, arm in
            let arm = try Arm(
                name: name, terms: arm.required("objective").list.map { try LanguageArmTerm($0) },
                train: LanguageTrainSpec(arm["train"], fallback: train))
            if arm.needsTeacher, !hasTeacher {
                throw RetortError.recipe(
                    "the arm \(name) needs a teacher, and the recipe has none",
                    at: node.required("arms").required(name).location,
                    help: "add teacher: {path: DIRECTORY}, or {cache: DIRECTORY}")
            }
            return arm
        }
    }
}

extension LanguageRecipe.Teacher {
    init(_ node: RecipeNode, fallback: RecipeNode, _ resolve: (String) -> String) throws {
        cache = node["cache"].map { resolve($0.text) }
        if let model = node["model"], cache != nil {
            throw RetortError.recipe(
                "a teacher with a cache is not trained", at: model.location,
                help: "Remove its `model`; `path` says whose predictions the cache must have.")
        }
        spec = cache != nil && node["path"] == nil ? nil : try LanguageModelSpec(node, who: "teacher", resolve)
        if spec?.directory != nil || cache != nil, let train = node["train"] {
            throw RetortError.recipe(
                "a teacher from a directory or a cache is not trained", at: train.location,
                help: "remove its `train`, or give it a `model` instead of a `path`")
        }
        let isFresh = spec != nil && spec?.directory == nil
        train = isFresh ? try LanguageTrainSpec(node["train"], fallback: fallback) : nil
    }
}

extension RecipeSection {
    /// The recipe of a language model.
    static var language: RecipeSection {
        let path = RecipeField("path", .text, .optional, "a Hugging Face directory with config.json and safetensors")
        let teacher = RecipeSection(
            "teacher", "A language model that is there, or one to train with cross entropy.",
            [
                path,
                RecipeField(
                    "cache", .text, .optional,
                    "what `retort cache` kept of the teacher's predictions: no teacher is loaded; where `path` is there too, it must be the one"
                ),
                RecipeField("model", LanguageModelSpec.schema, .optional, "the teacher, when it is to be trained"),
                RecipeField(
                    "train", .section(ownLanguageTrain), .optional,
                    "how the teacher is trained; what is absent is taken from train"),
            ])
        let student = RecipeSection(
            "student", "A language model: its sizes, or the directory to start from.",
            [
                path, RecipeField("model", LanguageModelSpec.schema, .optional, "a fresh student"),
                RecipeField(
                    "lora", .section(LowRankAdaptation.section), .optional,
                    "train adapters beside the frozen weights of path"),
            ])
        let arm = RecipeSection(
            "arm", "One way to train the student.",
            [
                RecipeField(
                    "objective", .list(of: .variant(key: "loss", LanguageObjectiveRegistry.sections), count: 1...16),
                    .required, "the losses that are added up"),
                RecipeField("train", .section(ownLanguageTrain), .optional, "what differs from `train` for this arm"),
            ])
        let own: [String: RecipeType] = [
            "data": .variant(key: "kind", LanguageSource.sections), "teacher": .section(teacher),
            "student": .section(student), "arms": .named(.section(arm)), "train": .section(languageTrain),
        ]
        let shared = RecipeSection.recipe
        return RecipeSection(
            shared.name, shared.summary,
            shared.fields.filter { $0.key != "teachers" }.map {
                RecipeField($0.key, own[$0.key] ?? $0.type, $0.presence, $0.summary)
            })
    }
}
