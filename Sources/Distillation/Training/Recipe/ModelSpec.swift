import RetortModels
import RetortRuntime
import RetortSupport

/// An architecture with its settings, as a recipe states them.
public struct ModelSpec: Sendable {
    public let type: any Model.Type
    public let settings: ModelSettings
    private let node: RecipeNode

    init(_ node: RecipeNode) {
        self.node = node
        let kind = node.required("kind").text
        guard let type = ModelRegistry.find(kind) else { preconditionFailure("schema: \(kind)") }
        self.type = type
        settings = ModelSettings(node, of: type.architecture)
    }

    /// The number of classes that the settings state by themselves; nil where the task decides.
    var statedClasses: Int? { type.statedClasses(settings) }
    /// Where the recipe describes it.
    var location: RetortError.Location? { node.location }

    /// A fresh model, not yet on a device.
    /// - Parameter who: "teacher" or "student", for messages.
    /// - Throws: `RetortError` 78 when the settings contradict each other or the task.
    func make(for task: ClassificationTask, who: String) throws -> any Model {
        do {
            return try type.init(settings, for: task)
        } catch let error as ModelError {
            throw RetortError.recipe(
                "the \(who)'s \(error.description)", at: node[error.setting]?.location ?? node.location)
        }
    }

    /// What may stand under `model`: every architecture with its settings.
    static let schema = RecipeType.variant(
        key: "kind", ModelRegistry.all.map { RecipeSection(model: $0.architecture) })

    static var kinds: [String] { ModelRegistry.all.map { $0.architecture.kind } }
}

extension ModelSettings {
    /// As a validated recipe states them.
    init(_ node: RecipeNode, of architecture: Architecture) {
        var values: [String: SettingValue] = [:]
        for setting in architecture.settings {
            guard let value = node[setting.key] else { continue }
            switch setting.kind {
            case .integer: values[setting.key] = .integer(value.integer)
            case .integers: values[setting.key] = .integers(value.list.map(\.integer))
            case .word: values[setting.key] = .word(value.text)
            }
        }
        self.init(values, of: architecture)
    }
}

extension RecipeSection {
    /// What may stand beside a model's kind.
    init(model architecture: Architecture) {
        self.init(architecture.kind, architecture.summary, architecture.settings.map(Self.field))
    }

    private static func field(_ setting: ModelSetting) -> RecipeField {
        let type: RecipeType =
            switch setting.kind {
            case .integer(let range): .integer(range)
            case .integers(let range, let count): .list(of: .integer(range), count: count)
            case .word(let words): .choice(words)
            }
        let presence: RecipeField.Presence =
            switch setting.fallback {
            case nil: .required
            case .integer(let value): .defaulted(String(value))
            case .integers(let values): .defaulted("[" + values.map(String.init).joined(separator: ", ") + "]")
            case .word(let word): .defaulted(word)
            }
        return RecipeField(setting.key, type, presence, setting.summary)
    }
}
