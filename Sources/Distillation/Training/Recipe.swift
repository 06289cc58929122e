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
    public let teacher: TeacherSource
    public let student: ModelSpec
    public let arms: [Arm]
    public let train: TrainSpec
    public let seeds: [UInt64]

    public enum TeacherSource: Sendable {
        case train(ModelSpec, TrainSpec)
        case directory(String)

        /// What becomes of inputs before a teacher that was trained before, where its directory says.
        func preprocessing() throws -> Preprocessing? {
            if case .directory(let path) = self { try ModelDirectory.preprocessing(path) } else { nil }
        }
    }

    public struct Arm: Sendable {
        public let name: String
        public let terms: [ArmTerm]
        public let scheme: any Scheme
        public let train: TrainSpec
        /// Whether it looks at the recipe's teacher.
        public var needsTeacher: Bool {
            !scheme.bringsTeacher && terms.contains { $0.objective.needsTeacher }
        }
        /// - Throws: `RetortError` 78 for keys that cannot work together.
        func check(mixes: Bool, at location: RetortError.Location?) throws {
            if scheme.trainsPeers, let part = train.microBatch, part < train.batch {
                throw RetortError.recipe(
                    "the arm \(name) trains students side by side, which does not go in micro-batches", at: location,
                    help: "give the arm a smaller batch, or train.micro-batch: \(train.batch)")
            }
            if mixes, let term = terms.first(where: { !$0.objective.takesMixedExamples }) {
                throw RetortError.recipe(
                    "the arm \(name) has a loss that wants one label for each image, and data.augment mixes them",
                    at: location,
                    why: term.contract, help: "remove mixup or cutmix, or the loss")
            }
        }
        /// What is minimised and how, a line each.
        public var contract: [String] { terms.map(\.contract) + (scheme.contract.isEmpty ? [] : [scheme.contract]) }
    }

    /// Reads and validates a recipe file.
    /// - Throws: `RetortError` 66 when it is not there, 78 when it is wrong.
    public static func read(_ path: String, overrides: [String] = []) throws -> Recipe {
        let file = try InputFile(path: path)
        guard file.size <= RecipeReader.largestFile else {
            throw RetortError.recipe("the recipe is larger than 1 MiB", at: .init(file: path))
        }
        let bytes = try file.readAll(limit: RecipeReader.largestFile)
        guard UTF8Check.firstInvalidOffset(in: bytes) == nil else {
            throw RetortError.recipe("the recipe is not UTF-8 text", at: .init(file: path))
        }
        let node = try RecipeReader.read(String(decoding: bytes, as: UTF8.self), file: path, overrides: overrides)
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
        func resolve(_ path: String) -> String {
            if path.hasPrefix("/") { return path }
            let beside = folder + "/" + path
            return FileManager.default.fileExists(atPath: beside) ? beside : path
        }
        self.name = name
        let data = node.required("data")
        self.data = try DataSource(data, path: resolve(data.required("path").text))
        // The stored recipe must mean the same from anywhere, so its paths are absolute.
        let absolute = { (path: String) in URL(fileURLWithPath: path).standardizedFileURL.path }
        var resolved = node.replacing(["data", "path"], by: absolute(self.data.path))
        if let path = node["teacher"]?["path"]?.text {
            resolved = resolved.replacing(["teacher", "path"], by: absolute(resolve(path)))
        }
        self.node = resolved
        train = TrainSpec(node.required("train"))
        student = ModelSpec(node.required("student").required("model"))
        seeds = node.required("seeds").list.map { UInt64($0.integer) }
        guard Set(seeds).count == seeds.count else {
            throw RetortError.recipe("a seed stands twice in seeds", at: node.required("seeds").location)
        }
        arms = try node.required("arms").fields.map { name, arm in
            try Arm(
                name: name, terms: arm.required("objective").list.map { try ArmTerm($0) },
                scheme: SchemeRegistry.make(arm.required("scheme")),
                train: TrainSpec(arm["train"], fallback: node.required("train"), inheritsRows: true))
        }
        for arm in arms { try arm.check(mixes: self.data.mixing != nil, at: node.required("arms")[arm.name]?.location) }
        teacher = try Self.teacher(node.required("teacher"), fallback: node.required("train"), resolve)
    }

    private static func teacher(_ node: RecipeNode, fallback: RecipeNode, _ resolve: (String) -> String) throws
        -> TeacherSource
    {
        switch (node["model"], node["path"]) {
        case (let model?, nil):
            return .train(ModelSpec(model), TrainSpec(node["train"], fallback: fallback))
        case (nil, let path?):
            if let train = node["train"] {
                throw RetortError.recipe(
                    "a teacher from a directory is not trained", at: train.location,
                    help: "remove teacher.train, or give teacher.model instead of teacher.path")
            }
            return .directory(resolve(path.text))
        default:
            throw RetortError.recipe("the teacher needs either model or path", at: node.location)
        }
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
}

/// How the learning rate moves over a training.
public struct ScheduleSpec: Sendable {
    private let node: RecipeNode

    init(_ node: RecipeNode) { self.node = node }

    /// The schedule of a training of this length; epochs become steps here.
    func make(epochs: Int, stepsPerEpoch: Int) -> Schedule {
        let warmup = node["warmup"]?.integer ?? 0
        let total = epochs * stepsPerEpoch
        return switch node.required("kind").text {
        case "linear": .linear(warmup: warmup, total: total)
        case "cosine": .cosine(warmup: warmup, total: total)
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

    func make(_ arena: ParameterArena, clip: Float?) throws -> any Optimizer {
        let decay = Float(node.required("weight-decay").number)
        guard kind != "sgd" else {
            return try SGD(
                arena,
                options: .init(
                    momentum: Float(node.required("momentum").number), nesterov: node.required("nesterov").flag,
                    weightDecay: decay), clipNorm: clip)
        }
        let betas = node.required("betas").list.map(\.number)
        return try Adam(
            arena,
            options: .init(
                beta1: betas[0], beta2: betas[1], epsilon: Float(node.required("epsilon").number), weightDecay: decay,
                decoupled: kind == "adamw"), clipNorm: clip)
    }
}
