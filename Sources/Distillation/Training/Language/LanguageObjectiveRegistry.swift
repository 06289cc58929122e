/// The losses of language models: those of rows of logits, token by token.
enum LanguageObjectiveRegistry {
    static let all: [any TokenObjective.Type] = ObjectiveRegistry.all.compactMap { $0 as? any TokenObjective.Type }

    /// What may stand under `objective`.
    static var sections: [RecipeSection] {
        all.map { RecipeSection($0.section.name, $0.section.summary, $0.section.fields + [Ramp.field]) }
    }

    /// The loss a validated recipe names.
    static func make(_ recipe: RecipeNode) -> any TokenObjective {
        let name = recipe.required("loss").text
        guard let type = all.first(where: { $0.section.name == name }) else { preconditionFailure("schema: \(name)") }
        return type.init(recipe)
    }
}

/// One loss of a language model's arm with its factor over the epochs.
struct LanguageArmTerm: Sendable {
    let objective: any TokenObjective
    let ramp: Ramp

    init(_ objective: any TokenObjective, ramp: Ramp = .constant) {
        self.objective = objective
        self.ramp = ramp
    }

    init(_ recipe: RecipeNode) throws {
        self.init(LanguageObjectiveRegistry.make(recipe), ramp: try Ramp(recipe.required("ramp")))
    }

    var contract: String { objective.contract(over: "valid tokens") + ramp.contract }
}
