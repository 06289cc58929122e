import RetortModels
import RetortRuntime
import RetortSupport

/// What encoders are trained for: where the texts come from, which losses look at them, what the result is judged by.
protocol EncoderTask: Sendable {
    /// What stands under `data`; its name is the kind.
    static var section: RecipeSection { get }
    /// The losses that a recipe can name.
    static var objectives: [any Objective.Type] { get }
    /// Losses of what the models hide: hidden states, attention, relations of tokens; empty where texts are read apart from each other.
    static var innerObjectives: [any LanguageObjective.Type] { get }
    /// Further keys of a loss, beside its own.
    static func fields(of objective: any Objective.Type) -> [RecipeField]
    /// What is minimised by a model that nobody teaches; nil where there is nothing to learn alone.
    static var aloneObjective: EncoderArmTerm? { get }
    static var quality: Metric { get }

    /// - Throws: `RetortError` 78 for keys that do not fit together.
    init(_ data: RecipeNode, _ resolve: (String) -> String) throws
    /// Reads the texts.
    /// - Throws: `RetortError` 65, 66, 69, 74, 78.
    func load() throws -> any EncoderData
}

extension EncoderTask {
    static func fields(of objective: any Objective.Type) -> [RecipeField] { [] }
    static var aloneObjective: EncoderArmTerm? { nil }
    static var innerObjectives: [any LanguageObjective.Type] {
        [HiddenStatesObjective.self, AttentionScoresObjective.self, MiniLMObjective.self]
    }

    /// What may stand under `objective`. The signals that a loss compares are the task's own.
    static var losses: [RecipeSection] {
        objectives.map { type in
            RecipeSection(
                type.section.name, type.section.summary,
                type.section.fields.filter { !["student", "teacher"].contains($0.key) } + fields(of: type)
                    + [Ramp.field])
        }
            + innerObjectives.map { type in
                RecipeSection(type.section.name, type.section.summary, type.section.fields + [Ramp.field])
            }
    }
}

/// Texts that were read, and what is known of them.
protocol EncoderData: Sendable {
    var texts: TextSet { get }
    /// What has to stand on the models.
    var head: EncoderHead { get }
    /// Names of the classes; empty where there are none.
    var classes: [String] { get }
    /// The first text whose class is not among these; nil where all are, or the recipe and not the file says which classes there are.
    /// - Parameter owner: who knows these alone: "the teacher".
    /// - Throws: `RetortError` 65, 66 or 74 when the file cannot be read once more.
    func unknownClass(beside names: [String], of owner: String) throws -> RetortError?
    /// The identity of the data, for the manifest.
    var digest: String { get }
    /// What was read, in words.
    var summary: String { get }

    /// - Throws: `RetortError` 78 for a loss that the data, or a teacher that is not there, cannot serve.
    func check(_ arm: EncoderRecipe.Arm, hasTeacher: Bool, at location: RetortError.Location?) throws
    /// What training looks at.
    /// - Parameter teacher: nil where no loss looks at one, or the data have what it says.
    func lesson(for role: EncoderRole, teacher: TeacherAnswers?, seed: UInt64, on device: Device) throws
        -> any EncoderLesson
    /// How good a model is.
    /// - Parameters:
    ///   - teacher: to compare with; nil for the teacher itself, or where there is none.
    ///   - trainer: knows the space in which the arm's losses compare vectors; nil for a model that is not trained here.
    func measure(_ model: AnsweringEncoder, as role: EncoderRole, teacher: TeacherAnswers?, trainer: EncoderTrainer?)
        throws -> EncoderMeasurement
    /// The one number that is followed while a model is trained, 0 to 1.
    func quality(_ model: AnsweringEncoder, as role: EncoderRole, teacher: TeacherAnswers?) throws -> Double
}

extension EncoderData {
    func unknownClass(beside names: [String], of owner: String) throws -> RetortError? { nil }
}

/// Who reads: a teacher may see more of an example than its student.
enum EncoderRole: Sendable {
    case teacher, student
}

/// What came out of a model.
struct EncoderMeasurement {
    var metrics: [Metric: Double] = [:]
    /// `confusion[true][predicted]`; empty where there are no classes.
    var confusion: [[Int]] = []
    /// `[teacher's class][own class]`; empty without classes or a teacher.
    var teacherConfusion: [[Int]] = []
}

/// Examples made of texts, and what losses see of them.
protocol EncoderLesson {
    /// Examples of an epoch.
    var count: Int { get }
    /// The texts of some examples in groups, each of which is read at once.
    func texts(of examples: [Int32], epoch: Int) -> [[Int32]]
    /// - Parameters:
    ///   - student: its answers to those texts, one group behind the other.
    ///   - candidates: whom a query is compared with, where the examples are such.
    func input(
        _ student: ModelOutput, _ texts: [[Int32]], _ examples: [Int32], _ candidates: RankingCandidates,
        _ progress: TrainingProgress
    ) throws -> ObjectiveInput
}

/// The passages that a query is compared with in a step.
enum RankingCandidates: String, CaseIterable, Sendable {
    /// Its own.
    case own
    /// Those of all queries of the batch.
    case batch
}

/// One loss of an encoder's arm with its factor over the epochs.
struct EncoderArmTerm: Sendable {
    enum Loss: Sendable {
        /// Of what models answer to a text: vectors, logits.
        case answers(any Objective)
        /// Of what they hide: the losses of language models, of tokens that see each other in both directions.
        case inner(any LanguageObjective)
    }
    let loss: Loss
    var reduction = RowReduction.mean
    var ramp = Ramp.constant
    var candidates = RankingCandidates.own
    var location: RetortError.Location?

    init(_ objective: any Objective) { loss = .answers(objective) }

    /// nil for a loss of what models hide.
    var objective: (any Objective)? { if case .answers(let objective) = loss { objective } else { nil } }
    var isInner: Bool { objective == nil }

    var needsTeacher: Bool {
        switch loss {
        case .answers(let objective): objective.needsTeacher
        case .inner(let objective): objective.needsTeacher
        }
    }

    var contract: String {
        let formula =
            switch loss {
            case .answers(let objective): reduction.stated(in: objective.contract)
            case .inner(let objective): objective.contract(over: "tokens")
            }
        return formula + (candidates == .batch ? ", among all passages of the batch" : "") + ramp.contract
    }
}

/// What a teacher says of all texts of a run.
struct TeacherAnswers {
    /// `[texts, width]`, row-major: vectors, or what its head says.
    let values: [Float]
    let width: Int
    /// What losses see of it: `[texts, width]`, or fewer columns where they were reduced.
    private let table: Tensor
    private let embeddings: Tensor

    /// - Parameter reduction: makes vectors narrower for the losses.
    init(
        _ values: [Float], width: Int, embeddings: (values: [Float], width: Int)?,
        reduction: PrincipalComponents? = nil, on device: Device
    ) throws {
        (self.values, self.width) = (values, width)
        var table = try Tensor(values, [values.count / max(1, width), width], on: device)
        if let reduction {
            let components = try Tensor(reduction.components, [reduction.count, reduction.width], on: device)
            table = try Autograd.withoutGradients { try table.matmul(components.transposed(0, 1)) }
        }
        self.table = table
        self.embeddings =
            try embeddings.map { try Tensor($0.values, [$0.values.count / max(1, $0.width), $0.width], on: device) }
            ?? table
    }

    var embeddingWidth: Int { embeddings.shape[1] }

    /// Off the tape, rows in the order of the numbers.
    func output(_ numbers: [Int32]) throws -> ModelOutput {
        try Autograd.withoutGradients {
            ModelOutput(
                logits: try table.gatherRows(numbers, shape: [numbers.count]),
                signals: [AnsweringEncoder.embedding: try embeddings.gatherRows(numbers, shape: [numbers.count])])
        }
    }

    /// Of one text.
    func row(_ number: Int32) -> [Float] { Array(values[(Int(number) * width)..<((Int(number) + 1) * width)]) }
}
