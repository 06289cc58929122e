/// Every loss a recipe can name. One line here for each file in this folder.
public enum ObjectiveRegistry {
    public static let all: [any Objective.Type] = [
        CrossEntropyObjective.self,
        HintonObjective.self,
        ForwardKLObjective.self,
        ReverseKLObjective.self,
        JSDObjective.self,
        ContinuousJSDObjective.self,
        SkewKLObjective.self,
        SkewReverseKLObjective.self,
        TotalVariationObjective.self,
        AKLObjective.self,
        HardLabelObjective.self,
        SoftCrossEntropyObjective.self,
        LogitMSEObjective.self,
        DKDObjective.self,
        LogitStandardizationObjective.self,
        DISTObjective.self,
        MLKDObjective.self,
        TeacherFreeObjective.self,
        EnsembleObjective.self,
        LearnedEnsembleObjective.self,
        FitNetObjective.self,
        ATObjective.self,
        FSPObjective.self,
        CATKDObjective.self,
        VIDObjective.self,
        OFDObjective.self,
        ABObjective.self,
        FTObjective.self,
        NSTObjective.self,
        ReviewKDObjective.self,
        CRDObjective.self,
        MaskedFeatureObjective.self,
        MaskedImageObjective.self,
        RKDObjective.self,
        SPObjective.self,
        PKTObjective.self,
        CCObjective.self,
        IRGObjective.self,
        ContrastiveObjective.self,
        BeYourOwnTeacherObjective.self,
    ]

    /// What may stand under `objective`: each loss's own keys and those that every loss has.
    static var sections: [RecipeSection] {
        all.map {
            RecipeSection(
                $0.section.name, $0.section.summary,
                $0.section.fields + ($0.takesReduction ? [RowReduction.field] : [])
                    + [from, ExampleView.field, Ramp.field])
        }
    }

    static let from = RecipeField(
        "from", .text, .optional, "the teacher that the loss looks at, where the recipe has several")

    /// One entry of an arm's `objective` by itself: "{loss: hinton, temperature: 4}".
    /// - Throws: `RetortError` 78 as for a recipe.
    public static func parse(_ text: String) throws -> any Objective {
        let recipe = try RecipeReader.readValue(text, .variant(key: "loss", sections))
        let objective = make(recipe)
        try DivergenceTerm.checkEntropy(of: objective, recipe)
        return objective
    }

    /// The loss a validated recipe names.
    static func make(_ recipe: RecipeNode) -> any Objective {
        let name = recipe.required("loss").text
        guard let type = all.first(where: { $0.section.name == name }) else { preconditionFailure("schema: \(name)") }
        return type.init(recipe)
    }
}
