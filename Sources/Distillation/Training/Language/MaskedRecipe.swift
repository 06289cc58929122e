import RetortModels

/// The recipe of an encoder that guesses masked tokens: that of a language model, with encoders for models, and without what writes text.
extension RecipeSection {
    static let maskedArm = RecipeSection(
        "arm", "One way to train the student.",
        [
            LanguagePreset.maskedField,
            RecipeField(
                "objective", .list(of: .variant(key: "loss", MaskedObjectives.sections), count: 1...16), .optional,
                "the losses that are added up; needed unless a preset has them"),
            LanguageScheme.field,
            RecipeField("train", .section(ownLanguageTrain), .optional, "what differs from `train` for this arm"),
        ])

    static var masked: RecipeSection {
        let teacher = RecipeSection(
            "teacher", "An encoder with a masked-language head that is there, or one to train with cross entropy.",
            LanguageTeacherSpec.section.fields.compactMap { field in
                switch field.key {
                case "cache": nil
                case "model": RecipeField("model", EncoderSpec.schema, field.presence, field.summary)
                default: field
                }
            })
        let student = RecipeSection(
            "student", "An encoder: its sizes, or the directory to start from.",
            [
                LanguageModelSpec.path, RecipeField("model", EncoderSpec.schema, .optional, "a fresh student"),
                SavedType.field,
            ])
        let own: [String: RecipeType] = [
            "data": .variant(key: "kind", [MaskedSource.section]), "teacher": .section(teacher),
            "teachers": .named(.section(teacher)), "student": .section(student),
            "arms": .named(.section(maskedArm)), "train": .section(languageTrain),
        ]
        let shared = RecipeSection.recipe
        return RecipeSection(
            shared.name, shared.summary,
            shared.fields.map { RecipeField($0.key, own[$0.key] ?? $0.type, $0.presence, $0.summary) })
    }
}

/// The losses of an encoder that guesses masked tokens: those of rows of logits, and those of what models hide.
enum MaskedObjectives {
    private static let inner: [any LanguageObjective.Type] = [
        HiddenStatesObjective.self, AttentionScoresObjective.self, MiniLMObjective.self,
    ]

    static var sections: [RecipeSection] {
        let predictions = ObjectiveRegistry.all.compactMap { $0 as? any LanguageObjective.Type }
        func section(_ type: any LanguageObjective.Type, _ places: [RecipeField]) -> RecipeSection {
            RecipeSection(
                type.section.name, type.section.summary,
                type.section.fields + TokenReduction.field(of: type) + [ObjectiveRegistry.from] + places
                    + [Ramp.field])
        }
        return predictions.map { section($0, [TermPlaces.field]) } + inner.map { section($0, []) }
    }
}
