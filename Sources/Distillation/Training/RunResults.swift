/// What a finished run knows: the content of the summary table, of `--json` and of the report. Plain data.
public struct RunResults: Sendable {
    /// The recipe's file name without extension.
    public var recipe: String
    /// The device's name: `cpu`, `opencl:0`.
    public var device: String
    /// The device in words.
    public var deviceSummary: String
    public var seeds: [UInt64]
    /// Names of the classes, in label order.
    public var classes: [String]
    /// Teacher first, then the arms in the recipe's order, each before the peers that learned beside its student.
    public var arms: [ArmResult]
    /// For images: where teacher and student disagree most, of the first seed.
    public var gallery: Gallery?
    /// What the arms are judged by: the metric of curves, charts and verdict.
    public var quality = Metric.accuracy
    /// What curves count in their `epoch`.
    public var timeUnit = TimeUnit.epoch
    /// What a reader of the numbers has to know of them, a sentence each.
    public var notes: [String] = []

    public enum TimeUnit: String, Sendable {
        case epoch, step
    }

    public init(
        recipe: String, device: String, deviceSummary: String, seeds: [UInt64], classes: [String], arms: [ArmResult],
        gallery: Gallery? = nil, quality: Metric = .accuracy, timeUnit: TimeUnit = .epoch
    ) {
        self.recipe = recipe
        self.device = device
        self.deviceSummary = deviceSummary
        self.seeds = seeds
        self.classes = classes
        self.arms = arms
        self.gallery = gallery
        self.quality = quality
        self.timeUnit = timeUnit
    }
}

/// One way to train the student (or the teacher itself) over all seeds.
public struct ArmResult: Sendable {
    /// `teacher`, `student-alone`, `student`, or the arm's name in the recipe; `<arm>/peer-<n>` for who learned beside its student.
    public var role: String
    /// The loss contract in words, one line per term: what was minimised.
    public var contract: [String]
    public var seeds: [SeedResult]

    public init(role: String, contract: [String], seeds: [SeedResult]) {
        self.role = role
        self.contract = contract
        self.seeds = seeds
    }
}

/// One trained model.
public struct SeedResult: Sendable {
    public var seed: UInt64
    /// By metric key (see `Metric`): accuracy, macro_f1, agreement, kl_to_teacher, retrieval_at_1, parameters, bytes, latency_us, peak_bytes, step_us.
    /// A metric that does not apply (the teacher's agreement with itself) is absent.
    public var metrics: [String: Double]
    /// One point per epoch.
    public var curve: [CurvePoint]
    /// `confusion[true][predicted]`: number of test rows.
    public var confusion: [[Int]]
    /// `teacherConfusion[teacher's answer][own answer]`: number of test rows; empty where no teacher's answers are known.
    public var teacherConfusion: [[Int]]
    /// What was measured of the students that learned beside this one, in their order.
    public var peers: [SeedResult]

    public init(
        seed: UInt64, metrics: [String: Double], curve: [CurvePoint], confusion: [[Int]],
        teacherConfusion: [[Int]] = [], peers: [SeedResult] = []
    ) {
        self.seed = seed
        self.metrics = metrics
        self.curve = curve
        self.confusion = confusion
        self.teacherConfusion = teacherConfusion
        self.peers = peers
    }
}

public struct CurvePoint: Sendable {
    /// Epochs finished; steps where the run's `timeUnit` says so.
    public var epoch: Int
    /// Optimizer steps finished.
    public var step: Int
    /// Mean training loss over the epoch.
    public var loss: Double
    /// Test accuracy, or the run's `quality` in its place (0–1), where it was measured at this epoch.
    public var accuracy: Double?

    public init(epoch: Int, step: Int, loss: Double, accuracy: Double?) {
        self.epoch = epoch
        self.step = step
        self.loss = loss
        self.accuracy = accuracy
    }
}

/// The metrics: key, heading and how a number is shown.
public enum Metric: String, Sendable, CaseIterable {
    case accuracy
    case macroF1 = "macro_f1"
    case agreement
    case klToTeacher = "kl_to_teacher"
    /// KL(student ‖ teacher), of language models.
    case reverseKL = "reverse_kl_to_teacher"
    /// The same on texts that the student drew itself.
    case rolloutReverseKL = "rollout_reverse_kl"
    /// Of language models, per token.
    case crossEntropy = "cross_entropy"
    case perplexity
    /// Of what language models write: F of ROUGE-L, the share that is as wanted, F1 of the words, the share without an answer.
    case rougeL = "rouge_l"
    case exactMatch = "exact_match"
    case tokenF1 = "token_f1"
    case unanswered
    /// Of language models that two answers to a prompt are compared by: the share of pairs whose better answer has the higher reward, and by
    /// how much it is higher.
    case preferenceAccuracy = "preference_accuracy"
    case preferenceMargin = "preference_margin"
    /// Of encoders: how their numbers follow those that people gave.
    case spearman
    case pearson
    /// Of encoders of sentences: how the similarities of their vectors follow the teacher's, and how near the vectors are to its.
    case teacherSpearman = "spearman_to_teacher"
    case teacherCosine = "cosine_to_teacher"
    case retrieval = "retrieval_at_1"
    case recall10 = "recall@10"
    case recall20 = "recall@20"
    case ndcg10 = "ndcg@10"
    case ndcg20 = "ndcg@20"
    case mrr10 = "mrr@10"
    case parameters
    /// Of a model that adapters adapt: theirs.
    case trainableParameters = "trainable_parameters"
    case bytes
    case latency = "latency_us"
    case peakBytes = "peak_bytes"
    case stepTime = "step_us"
    /// Of a language model's training.
    case tokenRate = "tokens_per_s"
    /// Of a federated run without a server's model: mean and least test accuracy of the clients.
    case clientAccuracy = "client_accuracy"
    case worstClient = "worst_client_accuracy"
    /// What a federated run sent, clients to server and server to clients.
    case bytesUp = "bytes_up"
    case bytesDown = "bytes_down"

    public var heading: String {
        switch self {
        case .accuracy: "accuracy %"
        case .macroF1: "macro-F1 %"
        case .agreement: "agreement %"
        case .klToTeacher: "KL to teacher (nats)"
        case .reverseKL: "reverse KL (nats)"
        case .rolloutReverseKL: "reverse KL, own texts (nats)"
        case .crossEntropy: "cross entropy (nats)"
        case .perplexity: "perplexity"
        case .rougeL: "ROUGE-L %"
        case .exactMatch: "exact match %"
        case .tokenF1: "token F1 %"
        case .unanswered: "no answer %"
        case .preferenceAccuracy: "preference accuracy %"
        case .preferenceMargin: "preference margin"
        case .spearman: "Spearman"
        case .pearson: "Pearson"
        case .teacherSpearman: "Spearman to teacher"
        case .teacherCosine: "cosine to teacher"
        case .retrieval: "retrieval %"
        case .recall10: "recall@10 %"
        case .recall20: "recall@20 %"
        case .ndcg10: "NDCG@10 %"
        case .ndcg20: "NDCG@20 %"
        case .mrr10: "MRR@10 %"
        case .parameters: "parameters"
        case .trainableParameters: "of them trained"
        case .bytes: "size"
        case .latency: "latency (µs)"
        case .peakBytes: "peak memory"
        case .stepTime: "step (µs)"
        case .tokenRate: "tokens/s"
        case .clientAccuracy: "clients %"
        case .worstClient: "worst client %"
        case .bytesUp: "sent up"
        case .bytesDown: "sent down"
        }
    }

    /// Of a share, in running text: "accuracy".
    var name: String { heading.hasSuffix(" %") ? String(heading.dropLast(2)) : heading }
    /// The same at the beginning of a line: "Accuracy".
    var title: String { name.prefix(1).uppercased() + name.dropFirst() }
}

/// Mean and sample standard deviation over seeds.
public struct Spread: Sendable, Equatable {
    public var mean: Double
    /// nil for a single seed.
    public var deviation: Double?

    public init(_ values: [Double]) {
        mean = values.reduce(0, +) / Double(max(1, values.count))
        let mean = mean
        deviation =
            values.count < 2
            ? nil
            : (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
    }
}

extension ArmResult {
    /// The spread of a metric over seeds; nil when no seed has it.
    public func spread(_ metric: Metric) -> Spread? {
        let values = seeds.compactMap { $0.metrics[metric.rawValue] }
        return values.isEmpty ? nil : Spread(values)
    }
}
