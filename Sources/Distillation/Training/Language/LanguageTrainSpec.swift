import RetortSupport

/// How long a language model is trained and how.
struct LanguageTrainSpec: Sendable {
    enum Length: Sendable {
        case epochs(Int)
        case steps(Int)
    }
    var length: Length
    /// Examples of one step.
    let batch: Int
    /// Examples of one forward and backward pass; nil: the whole batch.
    let microBatch: Int?
    /// Whether each example of a batch is drawn from all, instead of each being seen once an epoch.
    var drawsWithReplacement: Bool
    /// Whether blocks are computed again in backward instead of being kept.
    let checkpointsActivations: Bool
    let optimizer: OptimizerSpec
    let schedule: ScheduleSpec
    let clip: Float?

    /// - Parameter fallback: where absent keys come from; the schema requires them there.
    /// - Throws: `RetortError` 78 unless there is either `epochs` or `steps`.
    init(_ node: RecipeNode?, fallback: RecipeNode) throws {
        func find(_ key: String) -> RecipeNode { node?[key] ?? fallback.required(key) }
        func length(_ node: RecipeNode) throws -> Length? {
            switch (node["epochs"], node["steps"]) {
            case (let epochs?, nil): return .epochs(epochs.integer)
            case (nil, let steps?): return .steps(steps.integer)
            case (nil, nil): return nil
            case (_, let steps):
                throw RetortError.recipe(
                    "train has both epochs and steps", at: steps?.location, help: "keep one of them")
            }
        }
        guard let length = try node.flatMap(length) ?? length(fallback) else {
            throw RetortError.recipe("train needs either epochs or steps", at: fallback.location)
        }
        self.length = length
        batch = find("batch").integer
        microBatch = (node?["micro-batch"] ?? fallback["micro-batch"])?.integer
        drawsWithReplacement = find("replacement").flag
        checkpointsActivations = find("activation-checkpointing").flag
        optimizer = OptimizerSpec(find("optimizer"))
        schedule = ScheduleSpec(find("schedule"))
        let clip = find("clip").number
        self.clip = clip > 0 ? Float(clip) : nil
    }
}

extension RecipeSection {
    /// `train` of a language model's recipe.
    static let languageTrain = languageLength(of: train, flags: .defaulted("false"))
    /// What a teacher or an arm may set for itself.
    static let ownLanguageTrain = languageLength(of: armTrain, flags: .optional)

    /// With `steps` beside `epochs`, and without the key that chooses rows.
    private static func languageLength(of section: RecipeSection, flags: RecipeField.Presence) -> RecipeSection {
        let length = [
            RecipeField("epochs", .integer(1...1_000_000), .optional, "passes over the examples"),
            RecipeField("steps", .integer(1...100_000_000), .optional, "optimizer steps, instead of epochs"),
            RecipeField(
                "replacement", .flag, flags,
                "draw each example of a batch from all, instead of seeing each once an epoch"),
            RecipeField(
                "activation-checkpointing", .flag, flags,
                "keep of each block its input alone and compute it again in backward: less memory, a third more arithmetic, the same bits"
            ),
        ]
        let others = section.fields.filter { !["rows", "epochs"].contains($0.key) }
        return RecipeSection(section.name, section.summary, length + others)
    }
}
