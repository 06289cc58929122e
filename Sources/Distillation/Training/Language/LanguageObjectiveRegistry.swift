/// The losses of language models: those of rows of logits, token by token, and those of texts. One line here for each file of the latter.
enum LanguageObjectiveRegistry {
    static let all: [any LanguageObjective.Type] =
        ObjectiveRegistry.all.compactMap { $0 as? any LanguageObjective.Type } + [
            SampledReverseKLObjective.self,
            MiniLLMObjective.self,
            DistiLLM2Objective.self,
            DPOObjective.self,
            SimPOObjective.self,
            ORPOObjective.self,
            CPOObjective.self,
            KTOObjective.self,
            ULDObjective.self,
            GOLDObjective.self,
            HiddenStatesObjective.self,
            AttentionScoresObjective.self,
            MiniLMObjective.self,
        ]

    /// What may stand under `objective`.
    static var sections: [RecipeSection] {
        all.map {
            RecipeSection(
                $0.section.name, $0.section.summary,
                $0.section.fields + TokenReduction.field(of: $0)
                    + [ObjectiveRegistry.from, TermTexts.field, Ramp.field])
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
