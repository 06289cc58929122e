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
    /// What is measured of the models' own texts; nil: nothing.
    let answers: AnswerSpec?

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
        /// nil: it learns from the data's texts.
        let rollouts: RolloutSpec?
        let train: LanguageTrainSpec
        /// Whether a teacher is asked while the student is trained.
        var needsTeacher: Bool { rollouts?.needsTeacher ?? false || terms.contains { $0.objective.needsTeacher } }
        /// What is minimised and on which texts, a line each.
        var contract: [String] { terms.map(\.contract) + (rollouts.map { ["on " + $0.contract] } ?? []) }
    }

    /// Where paths may stand.
    private static let paths = [
        ["data", "path"], ["data", "test", "path"], ["data", "plain", "path"], ["data", "tokenizer"],
        ["teacher", "path"], ["teacher", "cache"], ["student", "path"],
        ["teacher", "model", "path"], ["student", "model", "path"],
    ]

    /// - Parameter folder: relative paths in the recipe start here; where nothing is there, in the working directory.
    init(_ recipe: RecipeNode, name: String, folder: String) throws {
        let node = recipe.setting("arms", to: try LanguagePreset.expand(recipe.required("arms"), .languageArm))
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
        answers = try node["answers"].map { try AnswerSpec($0) }
        let hasTeacher = teacher != nil
        let (hasPlain, hasCache) = (data.hasPlain, teacher?.cache != nil)
        arms = try node.required("arms").fields.map { name, arm in
            let arm = try Arm(name, arm, train: train, hasPlain: hasPlain)
            if hasCache { try arm.checkCache(at: node.required("arms").required(name)) }
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

extension LanguageRecipe.Arm {
    /// - Throws: `RetortError` 78 for losses and texts that do not go together.
    init(_ name: String, _ node: RecipeNode, train: RecipeNode, hasPlain: Bool) throws {
        self.name = name
        self.train = try LanguageTrainSpec(node["train"], fallback: train)
        rollouts = try node["rollouts"].map { try RolloutSpec($0) }
        let losses = node.required("objective").list
        terms = try losses.map { try LanguageArmTerm($0) }
        for (loss, term) in zip(losses, terms) {
            let word = loss.required("loss").text
            if term.texts == .plain, !hasPlain {
                throw RetortError.recipe(
                    "the loss \(word) looks at plain text, and there is none", at: loss.location,
                    help: "add data.plain, or look at other texts")
            }
            guard term.objective.needsRollouts else { continue }
            guard let rollouts, rollouts.isOnPolicy, term.texts == .step else {
                throw RetortError.recipe(
                    "the loss \(word) is about tokens that the student drew", at: loss.location,
                    why: rollouts.map {
                        "the arm \(name) has rollouts of kind \($0.name), not all of them the student's"
                    }
                        ?? "the arm \(name) learns from the data's texts",
                    help: "add `rollouts: {kind: student, share: 1}` or `{kind: mixed}`")
            }
            guard rollouts.sampling.temperature > 0 else {
                throw RetortError.recipe(
                    "the loss \(word) is about tokens that were drawn, and none is at temperature 0",
                    at: rollouts.location, help: "say `temperature: 1`")
            }
        }
        if let second = zip(losses, terms).filter({ $0.1.objective.needsRollouts }).dropFirst().first {
            throw RetortError.recipe("a second policy loss in one arm", at: second.0.location, help: "keep one of them")
        }
    }
}

extension LanguageRecipe.Arm {
    /// - Throws: `RetortError` 78 for what a cache of the teacher's predictions cannot give.
    fileprivate func checkCache(at node: RecipeNode) throws {
        let help = "give the teacher a `path` without a `cache`"
        if let rollouts, needsTeacher {
            throw RetortError.recipe(
                "the teacher's cache knows the data's texts, and the arm \(name) learns from others",
                at: rollouts.location ?? node.location, help: help)
        }
        for (loss, term) in zip(node.required("objective").list, terms) {
            let word = loss.required("loss").text
            guard term.objective.takesCachedTeacher else {
                throw RetortError.recipe(
                    "the loss \(word) asks for more of the teacher than a cache keeps", at: loss.location,
                    why: "it keeps the likeliest tokens and the mass of the others", help: help)
            }
            guard term.texts != .plain || !term.objective.needsTeacher else {
                throw RetortError.recipe(
                    "the teacher's cache knows the data's texts, and the loss \(word) looks at others",
                    at: loss.location, help: help)
            }
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
    static let languageArm = RecipeSection(
        "arm", "One way to train the student.",
        [
            LanguagePreset.field,
            RecipeField(
                "objective", .list(of: .variant(key: "loss", LanguageObjectiveRegistry.sections), count: 1...16),
                .optional, "the losses that are added up; needed unless a preset has them"),
            RolloutSpec.field,
            RecipeField("train", .section(ownLanguageTrain), .optional, "what differs from `train` for this arm"),
        ])

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
        let own: [String: RecipeType] = [
            "data": .variant(key: "kind", LanguageSource.sections), "teacher": .section(teacher),
            "student": .section(student), "arms": .named(.section(languageArm)), "train": .section(languageTrain),
        ]
        let shared = RecipeSection.recipe
        return RecipeSection(
            shared.name, shared.summary,
            shared.fields.filter { $0.key != "teachers" }.map {
                RecipeField($0.key, own[$0.key] ?? $0.type, $0.presence, $0.summary)
            } + [AnswerSpec.field])
    }
}
