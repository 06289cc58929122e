import RetortKernels
import RetortRuntime
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
    /// What activations, and the matrices that are read, are stored as: f32 or bf16.
    let dtype: DType
    /// How many tokens' logits a loss holds at a time.
    let chunk: ChunkSize
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
        dtype = (node?["dtype"] ?? fallback["dtype"])?.dtype ?? .f32
        let memory = node?["loss-memory"] ?? fallback["loss-memory"]
        if let memory, memory.integer == 0 {
            throw RetortError.recipe(
                "train.loss-memory is 0, and a loss needs the logits of one token at least", at: memory.location)
        }
        chunk = memory.map { .bytes($0.integer) } ?? .automatic
        optimizer = OptimizerSpec(find("optimizer"))
        schedule = ScheduleSpec(find("schedule"))
        let clip = find("clip").number
        self.clip = clip > 0 ? Float(clip) : nil
    }

    /// What steps are stored in, for the log and the report; nil where all is fp32.
    var precision: String? {
        dtype == .f32
            ? nil : "steps in \(dtype): activations and the matrices that are read; sums, gradients and weights in fp32"
    }
}

extension RecipeSection {
    /// `train` of a language model's recipe.
    static let languageTrain = languageLength(of: train, flags: .defaulted("false"), dtype: .defaulted("f32"))
    /// What a teacher or an arm may set for itself.
    static let ownLanguageTrain = languageLength(of: armTrain, flags: .optional, dtype: .optional)

    /// The same for encoders that have no vocabulary to guess from.
    static let encoderTrain = languageTrain.without("loss-memory")
    static let ownEncoderTrain = ownLanguageTrain.without("loss-memory")

    private func without(_ key: String) -> RecipeSection {
        RecipeSection(name, summary, fields.filter { $0.key != key })
    }

    /// With `steps` beside `epochs`, and without the key that chooses rows.
    private static func languageLength(
        of section: RecipeSection, flags: RecipeField.Presence, dtype: RecipeField.Presence
    ) -> RecipeSection {
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
            RecipeField(
                "dtype", .dtype, dtype,
                "bf16: a step stores activations, and the matrices that it reads, in half the bytes; sums, gradients, the weights themselves and the optimizer stay fp32"
            ),
            RecipeField(
                "loss-memory", .bytes, .optional,
                "what a loss, and what models are asked of written texts, may hold of logits at a time, at least one token's; absent: an eighth of a batch's, at most 256 MiB and at least 128 tokens'"
            ),
        ]
        let others = section.fields.filter { !["rows", "epochs"].contains($0.key) }
        return RecipeSection(section.name, section.summary, length + others)
    }
}

extension RecipeType {
    /// What numbers are stored as.
    static let dtype = RecipeType.choice([DType.f32, .bf16].map(\.rawValue))
}

extension DType {
    /// What a teacher is whose matrices are stored so, for the log; nil where all is fp32.
    var teacherPrecision: String? { self == .f32 ? nil : "matrices in \(self), half the memory; it computes in fp32" }
}

extension RecipeNode {
    /// Of a value of the type `dtype`.
    var dtype: DType { DType(rawValue: text) ?? .f32 }
}
