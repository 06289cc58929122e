import RetortModels
import RetortSupport

extension RetortError {
    /// `from` names a teacher that the recipe does not have.
    static func noTeacher(_ from: RecipeNode, among names: [String]) -> RetortError {
        .recipe(
            "there is no teacher \(from.text.quoted())", at: from.location,
            why: names.isEmpty
                ? "the recipe has none with a name; several stand under `teachers`"
                : "teachers: " + names.joined(separator: ", "),
            help: EditDistance.suggestion(for: from.text, among: names))
    }
}

/// A teacher of a recipe: a model to train, or the directory of a trained one.
public struct TeacherSpec: Sendable {
    public enum Source: Sendable {
        case train(ModelSpec, TrainSpec)
        case directory(String)
    }
    /// Its key under `teachers`; nil for the only one, under `teacher`.
    public let name: String?
    public let source: Source
    /// What it sees of an example.
    public let sees: InputView

    /// What it is called in tables and directories: "teacher", "teacher/deep". No arm can be called so.
    public var role: String { name.map { "\(Role.teacher)/\($0)" } ?? Role.teacher }

    /// What it minimises; all teachers that are trained here do.
    static let objective = CrossEntropyObjective(smoothing: 0)

    /// How it came to be, in one line.
    public var contract: String {
        switch source {
        case .train: Self.objective.contract + (sees.isWhole ? "" : ", sees \(sees.contract)")
        case .directory(let path): "trained before: \(path)" + (sees.isWhole ? "" : ", sees \(sees.contract)")
        }
    }

    /// What becomes of inputs before a teacher that was trained before, where its directory says.
    func preprocessing() throws -> Preprocessing? {
        if case .directory(let path) = source { try ModelDirectory.preprocessing(path) } else { nil }
    }

    /// - Parameters:
    ///   - recipe: the whole recipe.
    ///   - resolve: makes a path in the recipe one that can be opened.
    /// - Throws: `RetortError` 78 unless there is either `teacher` or `teachers`, each with either a model or a path.
    static func all(_ recipe: RecipeNode, _ resolve: (String) -> String) throws -> [TeacherSpec] {
        let train = recipe.required("train")
        switch (recipe["teacher"], recipe["teachers"]) {
        case (let teacher?, nil): return [try TeacherSpec(nil, teacher, fallback: train, resolve)]
        case (nil, let teachers?):
            return try teachers.fields.map { try TeacherSpec($0.key, $0.value, fallback: train, resolve) }
        default: throw RetortError.notOne(of: ["teacher", "teachers"], "the recipe", recipe)
        }
    }

    private init(_ name: String?, _ node: RecipeNode, fallback: RecipeNode, _ resolve: (String) -> String) throws {
        self.name = name
        sees = try InputView(node["sees"])
        switch (node["model"], node["path"]) {
        case (let model?, nil): source = .train(ModelSpec(model), TrainSpec(node["train"], fallback: fallback))
        case (nil, let path?):
            if let train = node["train"] {
                throw RetortError.recipe(
                    "a teacher from a directory is not trained", at: train.location,
                    help: "remove its `train`, or give it a `model` instead of a `path`")
            }
            source = .directory(resolve(path.text))
        default: throw RetortError.notOne(of: ["model", "path"], "a teacher", node)
        }
    }
}
