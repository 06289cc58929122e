/// The losses of language models: those of rows of logits, token by token, and those of texts. One line here for each file of the latter.
enum LanguageObjectiveRegistry {
    static let all: [any LanguageObjective.Type] =
        ObjectiveRegistry.all.compactMap { $0 as? any LanguageObjective.Type } + [
            SampledReverseKLObjective.self,
            MiniLLMObjective.self,
            HiddenStatesObjective.self,
            AttentionScoresObjective.self,
            MiniLMObjective.self,
        ]

    /// What may stand under `objective`.
    static var sections: [RecipeSection] {
        all.map {
            RecipeSection($0.section.name, $0.section.summary, $0.section.fields + [TermTexts.field, Ramp.field])
        }
    }

    /// The loss a validated recipe names.
    static func make(_ recipe: RecipeNode) -> any LanguageObjective {
        let name = recipe.required("loss").text
        guard let type = all.first(where: { $0.section.name == name }) else { preconditionFailure("schema: \(name)") }
        return type.init(recipe)
    }
}

/// Which texts a loss looks at.
enum TermTexts: String, Sendable, CaseIterable {
    /// What the step learns from: the data's, or what a model wrote.
    case step
    /// The data's own, also in steps that learn from others.
    case data
    /// `data.plain`.
    case plain

    static let field = RecipeField(
        "on", .choice(allCases.map(\.rawValue)), .defaulted(step.rawValue),
        "the texts it looks at: the step's, whoever wrote them; the data's, always; or those of data.plain")
}

/// One loss of a language model's arm with its factor over the epochs.
struct LanguageArmTerm: Sendable {
    let objective: any LanguageObjective
    let texts: TermTexts
    let ramp: Ramp

    init(_ objective: any LanguageObjective, on texts: TermTexts = .step, ramp: Ramp = .constant) {
        self.objective = objective
        self.texts = texts
        self.ramp = ramp
    }

    init(_ recipe: RecipeNode) throws {
        self.init(
            LanguageObjectiveRegistry.make(recipe), on: TermTexts(rawValue: recipe.required("on").text) ?? .step,
            ramp: try Ramp(recipe.required("ramp")))
    }

    var contract: String {
        let what =
            switch texts {
            case .step: "valid tokens"
            case .data: "valid tokens of the data"
            case .plain: "tokens of the plain text"
            }
        return objective.contract(over: what) + ramp.contract
    }
}
