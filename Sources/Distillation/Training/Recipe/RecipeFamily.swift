/// What recipes are about; each family has models and losses of its own.
enum RecipeFamily: String, CaseIterable {
    case classification, recommender
    case language = "language-model"
    case masked = "masked-texts"
    case sentences, retrieval
    case labelledTexts = "labelled-texts"

    init(dataKind: String?) {
        self = Self.allCases.first { $0.dataKinds.contains(dataKind ?? "") } ?? .classification
    }

    /// What may stand under `data`.
    var dataSections: [RecipeSection] {
        switch self {
        case .classification: DataSchema.labelled
        case .recommender: [InteractionSource.section]
        case .language: LanguageSource.sections
        case .masked: [MaskedSource.section]
        case .sentences: [SentenceTask.section]
        case .retrieval: [RetrievalTask.section]
        case .labelledTexts: [LabelledTextTask.section]
        }
    }

    /// What its data is called under `data.kind`.
    var dataKinds: [String] { dataSections.map(\.name) }

    var schema: RecipeSection {
        switch self {
        case .classification: .recipe
        case .recommender: .recommender
        case .language: .language
        case .masked: .masked
        case .sentences: EncoderRecipe.schema(SentenceTask.self)
        case .retrieval: EncoderRecipe.schema(RetrievalTask.self)
        case .labelledTexts: EncoderRecipe.schema(LabelledTextTask.self)
        }
    }

    /// Names of its models and losses.
    private var words: [String] {
        switch self {
        case .classification: ModelSpec.kinds + ObjectiveRegistry.sections.map(\.name)
        case .recommender: RecommenderSpec.kinds + RecommenderObjectiveRegistry.sections.map(\.name)
        case .language: LanguageModelSpec.kinds + LanguageObjectiveRegistry.sections.map(\.name)
        case .masked: EncoderSpec.kinds + MaskedObjectives.sections.map(\.name)
        case .sentences: EncoderSpec.kinds + SentenceTask.losses.map(\.name)
        case .retrieval: EncoderSpec.kinds + RetrievalTask.losses.map(\.name)
        case .labelledTexts: EncoderSpec.kinds + LabelledTextTask.losses.map(\.name)
        }
    }

    /// What a message adds for a word that only other families know: "; bpr is for data of kind interactions"; "" for any other word.
    func remark(on word: String) -> String {
        let others = Self.allCases.filter { $0 != self && $0.words.contains(word) }
        guard !words.contains(word), !others.isEmpty else { return "" }
        return "; \(word) is for data of kind " + others.flatMap(\.dataKinds).joined(separator: ", ")
    }
}
