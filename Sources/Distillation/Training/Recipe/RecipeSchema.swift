import RetortModels
import RetortRuntime
import RetortSupport

/// What a value of a recipe may be. One description serves reading, validation, help and documentation.
public indirect enum RecipeType: Sendable {
    case text
    case flag
    case integer(ClosedRange<Int>)
    case number(ClosedRange<Double>)
    /// A number of bytes, plain or with KiB, MiB, GiB or TiB.
    case bytes
    /// One of these words.
    case choice([String])
    case list(of: RecipeType, count: ClosedRange<Int>)
    /// Fixed keys.
    case section(RecipeSection)
    /// Keys of the user's own choosing, each with a value of one type, in the order written.
    case named(RecipeType)
    /// A section whose further keys depend on the word under `key`.
    case variant(key: String, [RecipeSection])

    /// For messages: "a whole number from 1 to 100".
    var phrase: String {
        switch self {
        case .text: "text"
        case .flag: "true or false"
        case .integer(let range): "a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .number(let range):
            "a number from \(NumberFormat.plain(range.lowerBound)) to \(NumberFormat.plain(range.upperBound))"
        case .bytes: "a size such as 0, 512MiB or 2GiB"
        case .choice(let words): "one of " + words.joined(separator: ", ")
        case .list(let element, _): "a list, each of it " + element.phrase
        case .section(let section):
            "a section with keys \(section.fields.map(\.key).joined(separator: ", "))"
                + (section.shorthand.map { ", or its \($0) alone" } ?? "")
        case .named: "a section of names"
        case .variant(let key, let sections):
            "a section with \(key): " + sections.map(\.name).joined(separator: " | ")
        }
    }
}

/// A section of a recipe: its name and its keys.
public struct RecipeSection: Sendable {
    public let name: String
    public let summary: String
    public let fields: [RecipeField]

    public init(_ name: String, _ summary: String, _ fields: [RecipeField]) {
        self.name = name
        self.summary = summary
        self.fields = fields
    }

    /// The key whose value may stand for the whole section, where it is one that may be absent: `teacher: models/large` is
    /// `teacher: {path: models/large}`.
    var shorthand: String? {
        fields.first { field in
            guard field.key == "path", case .text = field.type, case .optional = field.presence else { return false }
            return true
        }?.key
    }
}

/// One key of a section.
public struct RecipeField: Sendable {
    public enum Presence: Sendable {
        case required
        /// May be absent, and absence means something of its own.
        case optional
        /// Filled in when absent; the text is YAML.
        case defaulted(String)
    }
    public let key: String
    public let type: RecipeType
    public let presence: Presence
    public let summary: String

    public init(_ key: String, _ type: RecipeType, _ presence: Presence, _ summary: String) {
        self.key = key
        self.type = type
        self.presence = presence
        self.summary = summary
    }
}

extension RecipeSection {
    /// The whole recipe.
    public static var recipe: RecipeSection {
        RecipeSection(
            "recipe", "A distillation: data, teacher, student and the ways to train it.",
            [
                RecipeField(
                    "data", .variant(key: "kind", DataSchema.sections), .required, "where the examples come from"),
                RecipeField("teacher", .section(teacher), .optional, "who teaches: a model to train, or a directory"),
                RecipeField(
                    "teachers", .named(.section(teacher)), .optional,
                    "several who teach, by name, instead of `teacher`; a loss that looks at one says `from: name`"),
                RecipeField("student", .section(student), .required, "who learns"),
                RecipeField(
                    "arms", .named(.section(arm)), .required,
                    "ways to train the student; all start from the same weights of their seed"),
                RecipeField("train", .section(train), .required, "how long and with which optimizer"),
                RecipeField(
                    "seeds", .list(of: .integer(0...Int(Int32.max)), count: 1...1000), .defaulted("[0]"),
                    "one run of everything for each seed"),
                CheckpointSpec.field,
            ])
    }

    static let teacher = RecipeSection(
        "teacher", "A model and how it is trained, or the directory of a trained one.",
        [
            RecipeField("model", ModelSpec.schema, .optional, "the teacher's architecture, when it is to be trained"),
            RecipeField(
                "train", .section(teacherTrain), .optional,
                "how the teacher is trained; what is absent is taken from train"),
            RecipeField(
                "path", .text, .optional,
                "a directory with config.json and model.safetensors, instead of model and train"),
            InputView.field,
        ])

    static let student = RecipeSection(
        "student", "The student's architecture.",
        [
            RecipeField("model", ModelSpec.schema, .required, "the student's architecture"),
            InputView.field, SavedType.field,
        ])

    static var arm: RecipeSection {
        RecipeSection(
            "arm", "One way to train the student.",
            [
                RecipeField(
                    "objective", .list(of: .variant(key: "loss", ObjectiveRegistry.sections), count: 1...16), .required,
                    "the losses that are added up"),
                LossBalance.field,
                SchemeRegistry.field,
                RecipeField(
                    "train", .section(armTrain), .optional, "what differs from `train` for this arm"),
            ])
    }

    /// Keys of `train` that a teacher or an arm may set for itself.
    private static let ownTrain = [
        RecipeField("rows", .integer(1...Int(Int32.max)), .optional, "only the first rows of the training set"),
        RecipeField("epochs", .integer(1...1_000_000), .optional, "passes over the rows"),
        RecipeField("batch", .integer(1...1_000_000), .optional, "rows of one step"),
        microBatch,
        RecipeField("optimizer", optimizer, .optional, "how gradients become steps"),
        RecipeField("schedule", schedule, .optional, "the learning rate over the steps"),
        RecipeField("clip", .number(0...1e9), .optional, "largest gradient norm; 0 never clips"),
    ]

    private static let microBatch = RecipeField(
        "micro-batch", .integer(1...1_000_000), .optional,
        "rows of one forward and backward pass, for large batches in little memory; the gradient is that of the batch")

    static let armTrain = RecipeSection("train", "How this arm's student is trained.", ownTrain)

    static let teacherTrain = RecipeSection(
        "train", "How the teacher is trained.",
        [
            RecipeField(
                "loss", .choice(["cross-entropy"]), .defaulted("cross-entropy"), "what the teacher minimises")
        ] + ownTrain)

    static let train = RecipeSection(
        "train", "How the student is trained.",
        [
            RecipeField(
                "rows", .integer(1...Int(Int32.max)), .optional, "only the first rows of the training set (few labels)"),
            RecipeField("epochs", .integer(1...1_000_000), .required, "passes over the rows"),
            RecipeField(
                "batch", .integer(1...1_000_000), .required,
                "rows of one step; the last step of an epoch may have fewer"),
            microBatch,
            RecipeField("optimizer", optimizer, .required, "how gradients become steps"),
            RecipeField("schedule", schedule, .defaulted("{kind: constant}"), "the learning rate over the steps"),
            RecipeField("clip", .number(0...1e9), .defaulted("0"), "largest gradient norm; 0 never clips"),
        ])

    static let optimizer = RecipeType.variant(
        key: "kind",
        [
            RecipeSection(
                "sgd", "Stochastic gradient descent.",
                [
                    RecipeField("lr", .number(0...1e6), .required, "learning rate"),
                    RecipeField(
                        "momentum", .number(0...0.999999999), .defaulted("0"), "share of the last step that is kept"),
                    RecipeField("nesterov", .flag, .defaulted("false"), "look ahead along the momentum"),
                    RecipeField("weight-decay", .number(0...1e3), .defaulted("0"), "L2 penalty"),
                    decays,
                ]),
            RecipeSection("adam", "Adam; weight decay is an L2 penalty.", adamFields(decay: "0")),
            RecipeSection("adamw", "Adam with decoupled weight decay.", adamFields(decay: "0.01")),
        ])

    private static func adamFields(decay: String) -> [RecipeField] {
        [
            RecipeField("lr", .number(0...1e6), .required, "learning rate"),
            RecipeField(
                "betas", .list(of: .number(0...0.999999999), count: 2...2), .defaulted("[0.9, 0.999]"),
                "decay of the first and second moment"),
            // Never 0: weights without a gradient, the padding of the arena among them, would be moved by 0/0.
            RecipeField("epsilon", .number(1e-30...1), .defaulted("1e-8"), "added to the root of the second moment"),
            RecipeField("weight-decay", .number(0...1e3), .defaulted(decay), "weight decay"),
            decays,
        ]
    }

    private static let decays = RecipeField(
        "decays", .choice(DecayScope.allCases.map(\.rawValue)), .defaulted(DecayScope.all.rawValue),
        "what weight decay shrinks: all parameters, or those of two and more dimensions only")

    static let schedule = RecipeType.variant(
        key: "kind",
        [
            RecipeSection("constant", "The same learning rate throughout.", [warmup]),
            RecipeSection("linear", "Down to 0 in a straight line.", [warmup]),
            RecipeSection("cosine", "Down to 0 along half a cosine.", [warmup]),
            RecipeSection(
                "cosine-annealing", "Down to 0 along half a cosine from the first step on, times the warm-up.",
                [
                    RecipeField(
                        "warmup", .integer(0...Int(Int32.max)), .defaulted("0"),
                        "steps during which the rate is also multiplied by 1/warmup, 2/warmup, … 1")
                ]),
            RecipeSection(
                "multi-step", "Times gamma after each of some epochs.",
                [
                    RecipeField(
                        "milestones", .list(of: .integer(1...1_000_000), count: 1...100), .required,
                        "whole epochs after which the rate falls; those past the end never come"),
                    RecipeField("gamma", .number(1e-6...1), .defaulted("0.1"), "what the rate is multiplied by"),
                ]),
        ])
    private static let warmup = RecipeField(
        "warmup", .integer(0...Int(Int32.max)), .defaulted("0"), "steps during which the rate rises from 0")
}
