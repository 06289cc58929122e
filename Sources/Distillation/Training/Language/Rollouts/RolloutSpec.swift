import RetortModels
import RetortSupport

/// Which texts an arm's student learns from, where they are not the data's own.
struct RolloutSpec: Sendable {
    enum Kind: Sendable {
        /// What the teacher wrote before training: sequence-level distillation (Kim & Rush 2016, arXiv:1606.07947).
        case teacher(TeacherTextSpec)
        /// What the student writes in this step, in a share of the steps: GKD (Agarwal et al. 2024, arXiv:2306.13649).
        case student(share: Double, otherwise: Otherwise)
        /// What the student wrote in this step or before, the more of it the worse it fares on held-out data: DistiLLM
        /// (Ko et al. 2024, arXiv:2402.03898).
        case replay(ReplaySpec)
        /// What student and teacher wrote together, token by token: MiniLLM (Gu et al. 2024, arXiv:2306.08543).
        case mixed(MixedSpec)
        /// Two to each prompt, the teacher's and the student's: DistiLLM-2 (Ko et al. 2025, arXiv:2503.07067).
        case pairs(PairSpec)
    }

    /// What the other steps learn from.
    enum Otherwise: String, Sendable, CaseIterable { case data, teacher }

    struct MixedSpec: Sendable {
        /// Of the teacher's probabilities in the mixture that tokens are drawn from.
        let share: Double
        /// Texts that are written at once, and passes over them.
        let collect: Int
        let epochs: Int
    }

    struct PairSpec: Sendable {
        /// Who answers beside the student: the teacher writes, or the data have what it or a better one wrote.
        let chosen: Otherwise
        /// Prompts that are answered at once, and passes over them.
        let collect: Int
        let epochs: Int
    }

    var kind: Kind
    /// Tokens of an answer at most.
    let count: Int
    let sampling: TokenSampling
    /// Tokens of a prompt at least: where plain text is cut into prompt and answer.
    let promptTokens: Int
    let location: RetortError.Location?
    /// The name of the teacher that writes; nil where none does.
    let teacher: String?

    /// The words after which its kind is called.
    let name: String

    /// - Parameter teachers: the recipe's.
    /// - Throws: `RetortError` 78 for filters that need a temperature, for a pattern that is none, and for a teacher that is not said or not there.
    init(_ node: RecipeNode, teachers: [String]) throws {
        location = node.location
        name = node.required("kind").text
        count = node.required("max-new-tokens").integer
        promptTokens = node.required("prompt-tokens").integer
        sampling = TokenSampling(
            temperature: node.required("temperature").number, topK: node["top-k"]?.integer,
            topP: node["top-p"]?.number, minP: node["min-p"]?.number,
            repetitionPenalty: node.required("repetition-penalty").number)
        let temperature = node.required("temperature")
        guard sampling.temperature == 0 || TokenSampling.temperatures.contains(sampling.temperature) else {
            throw RetortError.recipe(
                "temperature is \(sampling.temperature)", at: temperature.location ?? location,
                why: "it must be 0, which takes the likeliest token, or a number from 0.001 to 100")
        }
        if sampling.temperature == 0, let filter = ["top-k", "top-p", "min-p"].compactMap({ node[$0] }).first {
            throw RetortError.recipe(
                "a filter of what is drawn, and nothing is drawn", at: filter.location,
                why: "at temperature 0 the likeliest token is taken", help: "remove it, or raise the temperature")
        }
        kind =
            switch name {
            case "teacher": .teacher(try TeacherTextSpec(node))
            case "student":
                .student(
                    share: node.required("share").number,
                    otherwise: Otherwise(rawValue: node.required("otherwise").text) ?? .data)
            case "replay": .replay(ReplaySpec(node))
            case "pairs":
                .pairs(
                    PairSpec(
                        chosen: Otherwise(rawValue: node.required("chosen").text) ?? .teacher,
                        collect: node.required("collect").integer, epochs: node.required("epochs").integer))
            default:
                .mixed(
                    MixedSpec(
                        share: node.required("share").number, collect: node.required("collect").integer,
                        epochs: node.required("epochs").integer))
            }
        let writes = Self.needsTeacher(kind)
        if let from = node["from"] {
            guard writes else {
                throw RetortError.recipe(
                    "no teacher writes these texts", at: from.location, help: "remove `from`")
            }
            guard teachers.contains(from.text) else {
                throw RetortError.noTeacher(from, among: teachers)
            }
            teacher = from.text
        } else {
            teacher = writes ? teachers.first : nil
            if writes, teachers.count > 1 {
                throw RetortError.recipe(
                    "a teacher writes, and the recipe has \(teachers.count)", at: node.location,
                    help: "add `from: ` and one of \(teachers.joined(separator: ", "))")
            }
        }
    }

    /// Whether every step has the texts that a loss is about.
    func serves(_ need: TextNeed) -> Bool {
        switch (need, kind) {
        case (.any, _), (.drawn, .student(share: 1, _)), (.drawn, .mixed), (.pairs, .pairs), (.answers, .pairs): true
        default: false
        }
    }

    /// Whether a teacher writes.
    var needsTeacher: Bool { Self.needsTeacher(kind) }

    private static func needsTeacher(_ kind: Kind) -> Bool {
        switch kind {
        case .teacher, .mixed, .student(_, .teacher): true
        case .pairs(let spec): spec.chosen == .teacher
        case .student, .replay: false
        }
    }

    /// In words, for the printed contract.
    var contract: String {
        func number(_ x: Double) -> String { NumberFormat.significant(x) }
        let texts: String =
            switch kind {
            case .teacher(let spec): "texts of the teacher, \(spec.contract)"
            case .student(let share, let otherwise):
                share == 1
                    ? "texts of the student"
                    : "texts of the student in \(NumberFormat.percent(share)) of the steps, else of the \(otherwise.rawValue)"
            case .replay(let spec): "texts of the student, \(spec.contract)"
            case .mixed(let spec):
                "\(spec.collect) texts of \(number(1 - spec.share))·student + \(number(spec.share))·teacher, "
                    + "\(spec.epochs) passes over them"
            case .pairs(let spec):
                "the \(spec.chosen.rawValue)'s and the student's answers to \(spec.collect) prompts, \(spec.epochs) passes over them"
            }
        return "\(texts), written \(sampling.words), up to \(count) tokens"
    }

    static let field = RecipeField(
        "rollouts", .variant(key: "kind", sections), .optional,
        "whose texts the student learns from (default: the data's)")

    private static let sections = [
        RecipeSection(
            "teacher", "The teacher answers every prompt before training (sequence-level distillation).",
            writing(temperature: "0") + TeacherTextSpec.fields),
        RecipeSection(
            "student", "The student answers the prompts of a step itself (GKD).",
            writing(temperature: "1") + [
                RecipeField("share", .number(0...1), .defaulted("0.5"), "of the steps; 1 is on-policy throughout"),
                RecipeField(
                    "otherwise", .choice(Otherwise.allCases.map(\.rawValue)), .defaulted("data"),
                    "whose answers the other steps learn from: the data's, or the teacher's, written then"),
            ]),
        RecipeSection(
            "replay", "The student's texts, kept and seen again, more of them as the data wear out (DistiLLM).",
            writing(temperature: "1") + ReplaySpec.fields),
        RecipeSection(
            "mixed", "Tokens drawn from a mixture of student and teacher (MiniLLM).",
            writing(temperature: "1") + [
                RecipeField("share", .number(0...1), .defaulted("0.2"), "of the teacher in the mixture"),
                RecipeField("collect", .integer(1...1_000_000), .defaulted("256"), "texts that are written at once"),
                RecipeField("epochs", .integer(1...1000), .defaulted("4"), "passes over them before the next"),
            ]),
        RecipeSection(
            "pairs", "Two answers to each prompt: the teacher's, and the student's own (DistiLLM-2).",
            writing(temperature: "1") + [
                RecipeField(
                    "chosen", .choice(Otherwise.allCases.map(\.rawValue)), .defaulted("teacher"),
                    "whose answer stands beside the student's: the teacher's, written then, or the data's"),
                RecipeField("collect", .integer(1...1_000_000), .defaulted("256"), "prompts that are answered at once"),
                RecipeField("epochs", .integer(1...1000), .defaulted("1"), "passes over them before the next"),
            ]),
    ]

    private static func writing(temperature: String) -> [RecipeField] {
        [
            RecipeField(
                "from", .text, .optional, "the teacher that writes, where the recipe has several"),
            RecipeField("max-new-tokens", .integer(1...1_000_000), .defaulted("128"), "tokens of an answer at most"),
            RecipeField(
                "prompt-tokens", .integer(1...1_000_000), .defaulted("1"),
                "tokens of a prompt at least: plain text is its own prompt up to there"),
            RecipeField(
                "temperature", .number(0...100), .defaulted(temperature), "of the drawing; 0 takes the likeliest token"),
            RecipeField("top-k", .integer(1...10_000_000), .optional, "draw from so many of the likeliest only"),
            RecipeField(
                "top-p", .number(TokenSampling.shares), .optional, "draw from the fewest that together are this likely"),
            RecipeField(
                "min-p", .number(TokenSampling.shares), .optional,
                "draw from those that are at least this times as likely as the likeliest"),
            RecipeField(
                "repetition-penalty", .number(TokenSampling.penalties), .defaulted("1"),
                "above 1 makes tokens that were there before less likely"),
        ]
    }
}
