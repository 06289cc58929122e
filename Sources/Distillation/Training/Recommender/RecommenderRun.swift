import RetortData
import RetortModels
import RetortRuntime
import RetortSupport

/// `retort train` with interactions: for each seed a teacher and the student of every arm, each trained, measured and saved.
public final class RecommenderRun: RecipeRun {
    private let recipe: RecommenderRecipe
    private let device: Device
    private let directory: RunDirectory
    private let progress: Progress
    private let split: InteractionSplit
    private let task: RecommenderTask
    private let clock = ContinuousClock()
    /// As the progress line shows it between two measurements.
    private var lastQuality = "–"

    static let quality = Metric.ndcg10

    /// Reads the data and opens the run directory.
    /// - Throws: `RetortError` for the data (65, 66), the recipe (78) or the output (73, 74).
    public init(_ recipe: RecommenderRecipe, device: Device, output: String?, progress: Progress) throws {
        self.recipe = recipe
        self.device = device
        self.progress = progress
        split = try recipe.data.load()
        task = RecommenderTask(split)
        try Self.rehearse(recipe, task, on: device)
        directory = try RunDirectory(
            output: output, name: recipe.name, recipe: recipe.node,
            dataHash: try ContentHash.hexadecimal(ofFile: recipe.data.path), device: device)
    }

    /// Builds the losses of every arm once, on fresh models: what does not fit is refused before anything is trained, and leaves no
    /// directory behind.
    static func rehearse(_ recipe: RecommenderRecipe, _ task: RecommenderTask, on device: Device) throws {
        let teacher =
            switch recipe.teacher {
            case .train(let spec, _): try fresh(spec, "teacher", task, seed: 0, on: device).model
            case .directory(let path): try RecommenderDirectory.load(path, for: task, on: device)
            }
        let tables = try constant(teacher)
        for arm in recipe.arms {
            let (student, arena) = try fresh(recipe.student, "student", task, seed: 0, on: device)
            _ = try RecommenderTrainer(
                student, arena, terms: arm.terms, teacher: arm.needsTeacher ? tables : nil, name: arm.name,
                spec: arm.train, seed: 0, on: device)
        }
    }

    static func fresh(
        _ spec: RecommenderSpec, _ who: String, _ task: RecommenderTask, seed: UInt64, on device: Device
    ) throws -> (model: any RecommenderModel, arena: ParameterArena) {
        let model = try spec.make(for: task, who: who)
        let arena = try model.materialize(on: device, seed: seed)
        try model.prepare(on: device)
        return (model, arena)
    }

    /// The embeddings of a model that is not trained any more.
    static func constant(_ model: any RecommenderModel) throws -> EmbeddingTables {
        try Autograd.withoutGradients { try model.tables() }.detached
    }

    public var path: String { directory.path }

    public func run() throws -> RunResults { try directory.finishing(trainAll) }

    private func trainAll() throws -> RunResults {
        var teacherResults: [SeedResult] = []
        var armResults = recipe.arms.map { _ in [SeedResult]() }
        try say("device: \(device.summary)")
        try say(
            "data: \(NumberFormat.grouped(split.users.count)) users, \(NumberFormat.grouped(split.items.count)) items, "
                + "\(NumberFormat.grouped(split.train.count)) interactions to learn from, "
                + "\(NumberFormat.grouped(split.test.count)) to predict for \(NumberFormat.grouped(split.testUsers.count)) users"
        )
        for arm in recipe.arms { for line in arm.contract { try say("\(arm.name): minimise \(line)") } }
        for seed in recipe.seeds {
            let (tables, result) = try teacher(seed)
            teacherResults.append(result)
            for (index, arm) in recipe.arms.enumerated() {
                if let done = try directory.finished(arm.name, seed) {
                    armResults[index].append(done)
                    continue
                }
                // The start depends on the seed alone: every arm begins with the same student.
                armResults[index].append(
                    try fit(
                        arm.name, recipe.student, arm.terms, arm.train, seed: seed, initialSeed: seed,
                        teacher: arm.needsTeacher ? tables : nil
                    ).result)
            }
        }
        return RunResults(
            recipe: recipe.name, device: device.description, deviceSummary: device.summary, seeds: recipe.seeds,
            classes: [],
            arms: [ArmResult(role: "teacher", contract: [teacherContract], seeds: teacherResults)]
                + zip(recipe.arms, armResults).map { ArmResult(role: $0.name, contract: $0.contract, seeds: $1) },
            quality: Self.quality)
    }

    static let teacherTerms = [RecommenderArmTerm(BPRObjective())]

    private var teacherContract: String {
        switch recipe.teacher {
        case .train: Self.teacherTerms[0].contract
        case .directory(let path): "trained before: \(path)"
        }
    }

    private func teacher(_ seed: UInt64) throws -> (EmbeddingTables, SeedResult) {
        switch recipe.teacher {
        case .directory(let path):
            let model = try RecommenderDirectory.load(path, for: task, on: device)
            return (try Self.constant(model), try measure(model, seed: seed, curve: nil))
        case .train(let spec, let train):
            if let done = try directory.finished("teacher", seed) {
                let path = directory.folder("teacher", seed) + "/final"
                return (try Self.constant(try RecommenderDirectory.load(path, for: task, on: device)), done)
            }
            let (model, result) = try fit(
                "teacher", spec, Self.teacherTerms, train, seed: seed, initialSeed: seed ^ 0x7eac_4e12, teacher: nil)
            return (try Self.constant(model), result)
        }
    }

    private func fit(
        _ role: String, _ spec: RecommenderSpec, _ terms: [RecommenderArmTerm], _ training: TrainSpec, seed: UInt64,
        initialSeed: UInt64, teacher: EmbeddingTables?
    ) throws -> (model: any RecommenderModel, result: SeedResult) {
        let start = clock.now
        let (model, arena) = try Self.fresh(
            spec, role == "teacher" ? "teacher" : "student", task, seed: initialSeed, on: device)
        let trainer = try RecommenderTrainer(
            model, arena, terms: terms, teacher: teacher, name: role, spec: training, seed: seed, on: device)
        let place = CheckpointPlace(
            folder: directory.folder(role, seed) + "/checkpoints", spec: recipe.checkpoint,
            forget: { try self.directory.forget(role, seed, generation: $0, keeping: $1) })
        let epochs = try EpochTraining(trainer, place.checkpoints(), on: device)
        try place.forget(nil, epochs.curve.points.count)
        if epochs.goesOn { try say("\(role) seed \(seed): goes on from epoch \(epochs.curve.passes + 1)") }
        let result: SeedResult
        do {
            try epochs.train(
                passes: training.epochs, points: 20, pass: { try trainer.epoch($0) }, step: { trainer.step },
                measure: { try evaluate(model)[Self.quality] },
                report: { try record($0, role, seed, training.epochs) })
            result = try measure(model, seed: seed, curve: epochs.curve)
        } catch let error as RetortError where error.exit == .stopped {
            throw try epochs.stopped(role)
        } catch let error as RetortError where error.exit == .diverged {
            throw error.inTraining(of: role, seed)
        }
        try directory.save(model, result, role: role, projectors: trainer.projectors)
        place.remove()
        let time = NumberFormat.duration(seconds: (clock.now - start).seconds)
        try say(
            "\(role) seed \(seed): \(Self.quality.name) "
                + "\(NumberFormat.percent(result.metrics[Self.quality.rawValue] ?? .nan)), \(trainer.step) steps in \(time)"
        )
        return (model, result)
    }

    private func evaluate(_ model: any RecommenderModel) throws -> RankingEvaluation {
        model.setTraining(false)
        return try RankingEvaluation(Self.constant(model), split, on: device)
    }

    /// One epoch: a line of metrics.jsonl where the quality was measured, and the progress line.
    private func record(_ point: CurvePoint, _ role: String, _ seed: UInt64, _ epochs: Int) throws {
        if let quality = point.accuracy {
            try directory.record([
                ("arm", .string(role)), ("seed", .int(Int(seed))), ("epoch", .int(point.epoch)),
                ("step", .int(point.step)), ("train/loss", .double(point.loss)),
                ("eval/\(Self.quality.rawValue)", .double(quality)),
            ])
            lastQuality = NumberFormat.percent(quality)
        }
        progress.status(
            "\(role) seed \(seed)  epoch \(point.epoch)/\(epochs)  loss \(NumberFormat.significant(point.loss))  "
                + "\(Self.quality.name) \(lastQuality)")
    }

    private func measure(_ model: any RecommenderModel, seed: UInt64, curve: TrainingCurve?) throws -> SeedResult {
        var metrics = try rankingMetrics(model, split, on: device)
        if let curve {
            metrics[.peakBytes] = Double(curve.peakBytes)
            metrics[.stepTime] = curve.stepMicroseconds
        }
        return SeedResult(
            seed: seed, metrics: Dictionary(uniqueKeysWithValues: metrics.map { ($0.key.rawValue, $0.value) }),
            curve: curve?.points ?? [], confusion: [])
    }

    private func say(_ line: String) throws {
        progress.end(line)
        try directory.note(line)
    }
}

extension RecommenderRecipe: RunnableRecipe {
    public var contracts: [(arm: String, lines: [String])] { arms.map { (arm: $0.name, lines: $0.contract) } }

    public func start(on device: Device, output: String?, progress: Progress) throws -> any RecipeRun {
        try checkData()
        return try RecommenderRun(self, device: device, output: output, progress: progress)
    }
}
