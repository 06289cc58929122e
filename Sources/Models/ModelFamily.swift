import RetortSupport

/// What kind of model a directory holds, by its config.json's model_type.
public enum ModelFamily: Sendable, CaseIterable {
    /// Predicts the next token: `LanguageModelRegistry`.
    case language
    /// Reads a text in both directions: `EncoderModelRegistry`.
    case encoder
    /// Names the class of a picture or of a row of a table: `ModelRegistry`.
    case classifier
    /// Ranks items for users: `RecommenderModelRegistry`.
    case recommender

    /// - Throws: `RetortError` 66 when there is no directory or no config.json, 65 when that is malformed or names no model that is known.
    public init(of folder: String) throws {
        guard Folder.exists(folder) else {
            throw RetortError.missingInput(
                "there is no model directory \(folder.quoted(limit: 200))",
                help: "give a directory with config.json and model.safetensors, for example RUN/student/seed-0/final")
        }
        let config = try ModelDirectory.configuration(folder + "/config.json")
        let kind = try config.member("model_type")
        let name = try kind.string()
        guard let family = Self.allCases.first(where: { $0.modelTypes.contains(name) }) else {
            throw kind.failure(
                "this program knows model_type " + Self.allCases.flatMap(\.modelTypes).joined(separator: ", "))
        }
        self = family
    }

    private var modelTypes: [String] {
        switch self {
        case .language: LanguageModelRegistry.all.flatMap { $0.modelTypes }
        case .encoder: EncoderModelRegistry.all.flatMap { $0.modelTypes }
        case .classifier: ModelRegistry.all.map { $0.architecture.kind }
        case .recommender: RecommenderModelRegistry.all.map { $0.architecture.kind }
        }
    }
}
