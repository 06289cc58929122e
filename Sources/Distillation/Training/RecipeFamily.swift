/// What recipes are about; each family has models and losses of its own.
enum RecipeFamily: CaseIterable {
    case classification, recommender

    init(dataKind: String?) { self = dataKind == InteractionSource.section.name ? .recommender : .classification }

    var schema: RecipeSection {
        switch self {
        case .classification: .recipe
        case .recommender: .recommender
        }
    }

    /// Names of its models and losses.
    private var words: [String] {
        switch self {
        case .classification: ModelSpec.kinds + ObjectiveRegistry.sections.map(\.name)
        case .recommender:
            RecommenderSpec.kinds + RecommenderObjectiveRegistry.sections.map(\.name)
        }
    }

    /// What a message adds for a word that the other family knows: "; bpr is for data of kind interactions"; "" for any other word.
    func remark(on word: String) -> String {
        guard !words.contains(word), Self.allCases.contains(where: { $0 != self && $0.words.contains(word) }) else {
            return ""
        }
        switch self {
        case .classification: return "; \(word) is for data of kind \(InteractionSource.section.name)"
        case .recommender: return "; \(word) is for labelled data, not for \(InteractionSource.section.name)"
        }
    }
}
