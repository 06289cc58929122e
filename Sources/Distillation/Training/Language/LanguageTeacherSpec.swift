import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// A teacher of a language model's recipe: a trained model, or one that is trained first, with cross entropy, or a cache of one's
/// predictions.
struct LanguageTeacherSpec: Sendable {
    /// What losses call it under `from`: its key under `teachers`; "teacher" for the only one.
    let name: String
    /// What it is called in tables and directories: "teacher", "teacher/deep".
    let role: String
    /// nil where there is a cache and nothing else.
    let spec: LanguageModelSpec?
    /// nil for one from a directory.
    let train: LanguageTrainSpec?
    /// The directory with predictions that were read before: no teacher is loaded then.
    let cache: String?
    /// Where its model computes; nil: on the student's device.
    let device: String?
    /// What the matrices of one from a directory are stored as.
    let dtype: DType
    let location: RetortError.Location?

    /// The model that teaches; nil where a cache does.
    var live: LanguageModelSpec? { cache == nil ? spec : nil }
    /// What its steps, or its weights, are stored in, for the log; nil where all is fp32, and where a cache teaches.
    var precision: String? { cache == nil ? train?.precision ?? dtype.teacherPrecision : nil }

    /// - Parameters:
    ///   - recipe: the whole recipe.
    ///   - isMasked: whether they are encoders that guess masked tokens.
    ///   - resolve: makes a path in the recipe one that can be opened.
    /// - Throws: `RetortError` 78 for a recipe with both `teacher` and `teachers`, and for keys that do not go together.
    static func all(_ recipe: RecipeNode, isMasked: Bool, _ resolve: (String) -> String) throws
        -> [LanguageTeacherSpec]
    {
        let train = recipe.required("train")
        switch (recipe["teacher"], recipe["teachers"]) {
        case (nil, nil): return []
        case (let teacher?, nil):
            return [
                try LanguageTeacherSpec(
                    Role.teacher, Role.teacher, teacher, fallback: train, isMasked: isMasked, resolve)
            ]
        case (nil, let teachers?):
            return try teachers.fields.map { name, node in
                guard name != Role.ownTeacher, name != Role.start else {
                    throw RetortError.recipe(
                        "a teacher cannot be called \(name)", at: node.location,
                        why: name == Role.start
                            ? "that is what the student is called as it was at first"
                            : "that is what losses call the teacher that an arm's scheme makes of the student")
                }
                return try LanguageTeacherSpec(
                    name, "\(Role.teacher)/\(name)", node, fallback: train, isMasked: isMasked, resolve)
            }
        default: throw RetortError.notOne(of: ["teacher", "teachers"], "the recipe", recipe)
        }
    }

    private init(
        _ name: String, _ role: String, _ node: RecipeNode, fallback: RecipeNode, isMasked: Bool,
        _ resolve: (String) -> String
    ) throws {
        self.name = name
        self.role = role
        location = node.location
        cache = node["cache"].map { resolve($0.text) }
        device = node["device"]?.text
        dtype = node["dtype"]?.dtype ?? .f32
        if let model = node["model"], cache != nil {
            throw RetortError.recipe(
                "a teacher with a cache is not trained", at: model.location,
                help: "Remove its `model`; `path` says whose predictions the cache must have.")
        }
        spec =
            cache != nil && node["path"] == nil
            ? nil : try LanguageModelSpec(node, who: "teacher", isMasked: isMasked, resolve)
        if spec?.directory != nil || cache != nil, let train = node["train"] {
            throw RetortError.recipe(
                "a teacher from a directory or a cache is not trained", at: train.location,
                help: "remove its `train`, or give it a `model` instead of a `path`")
        }
        let isFresh = spec != nil && spec?.directory == nil
        if let place = node["device"], isFresh || cache != nil {
            throw RetortError.recipe(
                "only a teacher from a directory has a device of its own", at: place.location,
                help: "remove `device`")
        }
        if dtype != .f32, isFresh {
            throw RetortError.recipe(
                "only a teacher from a directory is stored in \(dtype)", at: node["dtype"]?.location,
                why: "one that is trained has fp32 weights",
                help: "remove `dtype`; `train: {dtype: \(dtype)}` is for its training")
        }
        train = isFresh ? try LanguageTrainSpec(node["train"], fallback: fallback) : nil
    }

    static let section = RecipeSection(
        "teacher", "A language model that is there, or one to train with cross entropy.",
        [
            LanguageModelSpec.path,
            RecipeField(
                "cache", .text, .optional,
                "what `retort cache` kept of the teacher's predictions: no teacher is loaded; where `path` is there too, it must be the one"
            ),
            RecipeField("model", LanguageModelSpec.schema, .optional, "the teacher, when it is to be trained"),
            RecipeField(
                "train", .section(.ownLanguageTrain), .optional,
                "how the teacher is trained; what is absent is taken from train"),
            RecipeField(
                "device", .text, .optional,
                "where a teacher from a directory computes, as --device names it (default: the student's device)"),
            storage,
        ])

    /// What a teacher's weights are stored as.
    static let storage = RecipeField(
        "dtype", .dtype, .defaulted("f32"),
        "what the matrices of a teacher from a directory are stored as: bf16 is half the memory; it computes in fp32")
}
