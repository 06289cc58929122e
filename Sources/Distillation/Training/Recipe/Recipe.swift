import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// A recipe as the trainer uses it.
public struct Recipe: Sendable {
    /// File name without extension: names the run.
    public let name: String
    /// The validated text with every default filled in.
    public let node: RecipeNode
    public let data: DataSource
    /// At least one.
    public let teachers: [TeacherSpec]
    public let student: ModelSpec
    /// What the student's weights are saved as.
    let savedType: SavedType
    /// What the student sees of an example.
    public let studentSees: InputView
    public let arms: [Arm]
    public let train: TrainSpec
    public let seeds: [UInt64]
    let checkpoint: CheckpointSpec
    public let remarks: [String]

    /// Reads and validates a recipe file.
    /// - Throws: `RetortError` 66 when it is not there, 78 when it is wrong.
    public static func read(_ path: String, overrides: [String] = []) throws -> Recipe {
        let node = try RecipeReader.read(path: path, overrides: overrides)
        let url = URL(fileURLWithPath: path)
        return try Recipe(
            node, name: url.deletingPathExtension().lastPathComponent, folder: url.deletingLastPathComponent().path)
    }

    /// Reads and validates a recipe's text; relative paths in it start in the working directory.
    /// - `name`: names the run, and the text in messages.
    /// - Throws: `RetortError` 78 when it is wrong.
    public static func parse(_ text: String, name: String) throws -> Recipe {
        try Recipe(try RecipeReader.read(text, file: name), name: name, folder: ".")
    }

    /// - Parameter folder: relative paths in the recipe start here; where nothing is there, in the working directory.
    init(_ node: RecipeNode, name: String, folder: String) throws {
        func resolve(_ path: String) -> String { RecipePaths(folder: folder).resolve(path) }
        self.name = name
        let data = node.required("data")
        guard RecipeFamily(dataKind: data.required("kind").text) == .classification else {
            throw RetortError.recipe("this is not the recipe of a classifier", at: data.location)
        }
        self.data = try DataSource(data, path: resolve(data.required("path").text))
        // The stored recipe must mean the same from anywhere, so its paths are absolute.
        let absolute = RecipePaths.absolute
        var resolved = node.replacing(["data", "path"], by: absolute(self.data.path))
        for place in [["teacher"]] + (node["teachers"]?.fields.map { ["teachers", $0.key] } ?? []) {
            if let path = place.reduce(node, { $0?[$1] })?["path"]?.text {
                resolved = resolved.replacing(place + ["path"], by: absolute(resolve(path)))
            }
        }
        self.node = resolved
        train = TrainSpec(node.required("train"))
        checkpoint = CheckpointSpec(node.required("checkpoint"))
        student = ModelSpec(node.required("student").required("model"))
        savedType = SavedType(student: node.required("student"))
        studentSees = try InputView(node["student"]?["sees"])
        seeds = node.required("seeds").list.map { UInt64($0.integer) }
        guard Set(seeds).count == seeds.count else {
            throw RetortError.recipe("a seed stands twice in seeds", at: node.required("seeds").location)
        }
        let teachers = try TeacherSpec.all(node, resolve)
        self.teachers = teachers
        arms = try node.required("arms").fields.map { name, arm in
            try Arm(name, arm, teachers: teachers, train: node.required("train"))
        }
        for arm in arms {
            let own = node.required("arms").required(arm.name)
            try arm.check(self.data, at: own.location)
            try arm.scheme.check(arm, recipe: own)
        }
        // Whoever leaves out the arms that look at it need not take it out too.
        let isLookedAt = arms.contains { $0.terms.contains { $0.view == .strong } }
        remarks =
            data["strong-augment"] == nil || isLookedAt
            ? [] : ["no loss looks at the view that data.strong-augment makes: it is not made"]
    }
}

/// How long a model is trained and how.
public struct TrainSpec: Sendable {
    public let rows: Int?
    public let epochs: Int
    public let batch: Int
    /// Rows of one forward and backward pass; nil: the whole batch.
    public let microBatch: Int?
    public let optimizer: OptimizerSpec
    public let schedule: ScheduleSpec
    public let clip: Float?

    /// Rows of the smallest forward and backward pass of an epoch.
    /// - Parameter all: rows of the training set.
    func smallestPart(of all: Int) -> Int {
        let rows = min(rows ?? all, all)
        return [min(batch, rows), rows % batch].filter { $0 > 0 }.map { step in
            guard let microBatch, microBatch < step else { return step }
            return step % microBatch > 0 ? step % microBatch : microBatch
        }.min() ?? 0
    }

    /// - Parameters:
    ///   - fallback: where absent keys come from.
    ///   - inheritsRows: false for a teacher, who sees all rows unless its own section says otherwise.
    init(_ node: RecipeNode?, fallback: RecipeNode? = nil, inheritsRows: Bool = false) {
        func find(_ key: String) -> RecipeNode { (node?[key] ?? fallback?[key])! }  // the schema requires them in train
        rows = node?["rows"]?.integer ?? (inheritsRows ? fallback?["rows"]?.integer : nil)
        epochs = find("epochs").integer
        batch = find("batch").integer
        microBatch = (node?["micro-batch"] ?? fallback?["micro-batch"])?.integer
        optimizer = OptimizerSpec(find("optimizer"))
        schedule = ScheduleSpec(find("schedule"))
        let clip = find("clip").number
        self.clip = clip > 0 ? Float(clip) : nil
    }

    /// All rows that there are.
    init(
        epochs: Int, batch: Int, microBatch: Int? = nil, optimizer: OptimizerSpec, schedule: ScheduleSpec,
        clip: Float? = nil
    ) {
        rows = nil
        self.epochs = epochs
        self.batch = batch
        self.microBatch = microBatch
        self.optimizer = optimizer
        self.schedule = schedule
        self.clip = clip
    }
}

/// How the learning rate moves over a training.
public struct ScheduleSpec: Sendable {
    private let node: RecipeNode

    init(_ node: RecipeNode) { self.node = node }

    /// As a recipe would say it.
    private init(kind: String) {
        self.init(RecipeNode(.section([("kind", RecipeNode(.text(kind), at: nil))]), at: nil))
    }
    static let constant = ScheduleSpec(kind: "constant")
    static let cosine = ScheduleSpec(kind: "cosine")

    /// The schedule of a training of this length; epochs become steps here.
    func make(epochs: Int, stepsPerEpoch: Int) -> Schedule {
        make(steps: epochs * stepsPerEpoch, stepsPerEpoch: stepsPerEpoch)
    }

    /// The schedule of a training of so many steps.
    func make(steps total: Int, stepsPerEpoch: Int) -> Schedule {
        let warmup = node["warmup"]?.integer ?? 0
        return switch node.required("kind").text {
        case "linear": .linear(warmup: warmup, total: total)
        case "cosine": .cosine(warmup: warmup, total: total)
        case "cosine-annealing": .cosineAnnealing(period: total, minimum: 0, warmup: warmup)
        case "multi-step":
            .multiStep(
                milestones: node.required("milestones").list.map { $0.integer * stepsPerEpoch },
                gamma: node.required("gamma").number)
        default: warmup > 0 ? .constantWithWarmup(warmup: warmup) : .constant
        }
    }
}

/// An optimizer with its numbers.
public struct OptimizerSpec: Sendable {
    public let kind: String
    public let learningRate: Double
    private let node: RecipeNode

    init(_ node: RecipeNode) {
        self.node = node
        kind = node.required("kind").text
        learningRate = node.required("lr").number
    }

    /// Adam with PyTorch's defaults, as a recipe would say it.
    static func adam(rate: Double) -> OptimizerSpec {
        func number(_ value: Double) -> RecipeNode { RecipeNode(.number(value), at: nil) }
        return OptimizerSpec(
            RecipeNode(
                .section([
                    ("kind", RecipeNode(.text("adam"), at: nil)), ("lr", number(rate)),
                    ("betas", RecipeNode(.list([number(0.9), number(0.999)]), at: nil)), ("epsilon", number(1e-8)),
                    ("weight-decay", number(0)),
                    ("decays", RecipeNode(.text(DecayScope.all.rawValue), at: nil)),
                ]), at: nil))
    }

    /// - Parameter decays: false leaves weight decay out.
    func make(_ arena: ParameterArena, clip: Float?, decays: Bool = true) throws -> any Optimizer {
        let decay = decays ? Float(node.required("weight-decay").number) : 0
        guard let scope = DecayScope(rawValue: node.required("decays").text) else {
            preconditionFailure("schema: decays")
        }
        guard kind != "sgd" else {
            return try SGD(
                arena,
                options: .init(
                    momentum: Float(node.required("momentum").number), nesterov: node.required("nesterov").flag,
                    weightDecay: decay), decaying: scope, clipNorm: clip)
        }
        let betas = node.required("betas").list.map(\.number)
        return try Adam(
            arena,
            options: .init(
                beta1: betas[0], beta2: betas[1], epsilon: Float(node.required("epsilon").number), weightDecay: decay,
                decoupled: kind == "adamw"), decaying: scope, clipNorm: clip)
    }
}
