import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// `retort train`: for each seed a teacher and the student of every arm, each trained, measured and saved.
public final class TrainingRun {
    private let recipe: Recipe
    private let device: Device
    private let directory: RunDirectory
    private let progress: Progress
    private let examples: Examples
    private let teacherPreprocessing: Preprocessing?
    private let test: DeviceRows
    private let task: ClassificationTask
    private let clock = ContinuousClock()
    /// As the progress line shows it between two measurements.
    private var lastAccuracy = "–"

    /// Reads the data and opens the run directory.
    /// - Throws: `RetortError` for the data (65, 66), the recipe (78) or the output (73, 74).
    public init(_ recipe: Recipe, device: Device, output: String?, progress: Progress) throws {
        self.recipe = recipe
        self.device = device
        self.progress = progress
        teacherPreprocessing = try recipe.teacher.preprocessing()
        examples = try recipe.data.load(teacher: teacherPreprocessing)
        task = examples.task
        if case .train(let model, _) = recipe.teacher { _ = try model.make(for: task, who: "teacher") }
        _ = try recipe.student.make(for: task, who: "student")
        // Asked now, so that a refused recipe leaves no directory behind.
        for arm in recipe.arms { if let rows = arm.train.rows { _ = try examples.train.first(rows) } }
        if case .train(_, let spec) = recipe.teacher, let rows = spec.rows { _ = try examples.train.first(rows) }
        test = try DeviceRows(examples.test, normalization: examples.normalization, on: device)
        try Self.rehearse(recipe, examples, on: device)
        directory = try RunDirectory(output: output, recipe: recipe, device: device)
    }

    /// Builds the losses of every arm once, on fresh models: what does not fit is refused before anything is trained, not when its
    /// arm's turn comes.
    private static func rehearse(_ recipe: Recipe, _ examples: Examples, on device: Device) throws {
        func fresh(_ spec: ModelSpec, _ who: String) throws -> any Model {
            let model = try spec.make(for: examples.task, who: who)
            _ = try model.materialize(on: device, seed: 0)
            return model
        }
        let teacher: (any Teacher)? =
            switch recipe.teacher {
            case .train(let spec, _): LocalTeacher(try fresh(spec, "teacher"))
            case .directory(let path): LocalTeacher(try Self.load(teacher: path, for: examples.task, on: device))
            }
        let data = try DeviceRows(
            try examples.train.first(min(2, examples.train.count)), normalization: examples.normalization, on: device)
        for arm in recipe.arms {
            let goal = Trainer.Goal(
                arm.terms, teacher: arm.needsTeacher ? teacher : nil, name: arm.name, hasPeers: arm.scheme.bringsTeacher
            )
            _ = try TermBuilder(try fresh(recipe.student, "student"), goal: goal, data: data, seed: 0, on: device)
                .build()
        }
    }

    public var path: String { directory.path }

    /// Trains everything.
    /// - Throws: `RetortError` 75 when a signal asked to stop (what is finished is saved), 86 when training diverges.
    public func run() throws -> RunResults {
        do {
            let results = try trainAll()
            try directory.finish(results)
            return results
        } catch let error as RetortError where error.exit == .stopped {
            try directory.setStatus("stopped")
            throw RetortError.stopped(
                error.what, why: "finished models are in \(directory.path)",
                help: "the same command with --output \(directory.path) goes on from there")
        }
    }

    private func trainAll() throws -> RunResults {
        var teacherResults: [SeedResult] = []
        var armResults = recipe.arms.map { _ in [SeedResult]() }
        try say("device: \(device.summary)")
        if let theirs = teacherPreprocessing, !theirs.treatsInputs(as: examples.preprocessing) {
            let ours = examples.preprocessing?.description ?? "as they are"
            try say("the teacher was trained on other inputs: \(theirs); here: \(ours)")
        }
        if case .files(let files) = examples.train {
            try say("\(files.count) training images are decoded anew in each epoch: they are more than data.memory")
        }
        for arm in recipe.arms {
            for term in arm.terms { try say("\(arm.name): minimise \(term.contract)") }
            if !arm.scheme.contract.isEmpty { try say("\(arm.name): \(arm.scheme.contract)") }
        }

        for seed in recipe.seeds {
            let (teacher, result) = try teacher(seed)
            teacherResults.append(result)
            let reference = try Evaluation(teacher, test, on: device)
            for (index, arm) in recipe.arms.enumerated() {
                armResults[index].append(try student(arm, seed, teacher, reference))
            }
        }
        return RunResults(
            recipe: recipe.name, device: device.description, deviceSummary: device.summary, seeds: recipe.seeds,
            classes: examples.classNames,
            arms: [ArmResult(role: "teacher", contract: [teacherContract], seeds: teacherResults)]
                + zip(recipe.arms, armResults).map {
                    ArmResult(role: $0.name, contract: $0.contract, seeds: $1)
                }, gallery: try gallery())
    }

    /// For images: where the first seed's students differ from their teacher, by the models as they were saved.
    private func gallery() throws -> Gallery? {
        guard examples.test.sample.count == 3 else { return nil }
        let seed = recipe.seeds[0]
        func saved(_ role: String) throws -> any Model {
            if role == Role.teacher, case .directory(let path) = recipe.teacher {
                return try Self.load(teacher: path, for: task, on: device)
            }
            return try ModelDirectory.load(directory.folder(role, seed) + "/final", on: device).model
        }
        let roles = [Role.teacher] + recipe.arms.map(\.name)
        var gallery = try Gallery(
            examples.test,
            evaluations: try roles.map { ($0, try Evaluation(try saved($0), test, on: device)) })
        let pictures = gallery?.pictures.prefix(Gallery.mapped) ?? []
        for role in roles where !pictures.isEmpty {
            let maps = try ModelMaps(
                try saved(role), test, rows: pictures.map(\.row), labels: pictures.map(\.label), on: device)
            gallery?.add(maps, of: role)
        }
        return gallery
    }

    // MARK: Teacher

    private var teacherContract: String {
        switch recipe.teacher {
        case .train: Self.teacherObjective.contract
        case .directory(let path): "trained before: \(path)"
        }
    }

    private static let teacherObjective = CrossEntropyObjective(smoothing: 0)

    /// - Throws: `RetortError` 65 when the teacher is for other data.
    private static func load(teacher path: String, for task: ClassificationTask, on device: Device) throws -> any Model
    {
        let (model, _) = try ModelDirectory.load(path, on: device)
        guard model.accepts(task.sample), model.classes == task.classes else {
            throw RetortError.badData(
                "the teacher maps examples of shape \(model.task.sample) to \(model.classes) classes; the data has "
                    + "\(task.sample) and \(task.classes)", at: .init(file: path + "/config.json"))
        }
        model.freeze()
        return model
    }

    private func teacher(_ seed: UInt64) throws -> (any Model, SeedResult) {
        switch recipe.teacher {
        case .directory(let path):
            let model = try Self.load(teacher: path, for: task, on: device)
            return (model, try measure(model, seed: seed, curve: [], session: nil, reference: nil))
        case .train(let spec, let train):
            if let done = try directory.finished("teacher", seed) {
                let (model, _) = try ModelDirectory.load(directory.folder("teacher", seed) + "/final", on: device)
                model.freeze()
                return (model, done)
            }
            let (model, result) = try fit(
                OfflineScheme.plain, role: "teacher", model: spec, terms: [ArmTerm(Self.teacherObjective)], spec: train,
                seed: seed, initialSeed: seed ^ 0x7eac_4e12, teacher: nil, reference: nil)
            model.freeze()
            return (model, result)
        }
    }

    // MARK: Students

    private func student(
        _ arm: Recipe.Arm, _ seed: UInt64, _ teacher: any Model, _ reference: Evaluation
    ) throws -> SeedResult {
        if let done = try directory.finished(arm.name, seed) { return done }
        // The weights depend on the seed alone: every arm starts from the same student.
        return try fit(
            arm.scheme, role: arm.name, model: recipe.student, terms: arm.terms, spec: arm.train, seed: seed,
            initialSeed: seed, teacher: arm.needsTeacher ? LocalTeacher(teacher) : nil, reference: reference
        ).result
    }

    private func fit(
        _ scheme: any Scheme, role: String, model: ModelSpec, terms: [ArmTerm], spec: TrainSpec, seed: UInt64,
        initialSeed: UInt64, teacher: (any Teacher)?, reference: Evaluation?
    ) throws -> (model: any Model, result: SeedResult) {
        let start = clock.now
        let rows = try spec.rows.map { try examples.train.first($0) } ?? examples.train
        let session = ArmSession(
            role: role, seed: seed, initialSeed: initialSeed, model: model, task: task, terms: terms, training: spec,
            teacher: teacher, data: try deviceRows(rows), test: test, device: device
        ) { point, label, epochs in
            try self.record(point, "\(role) seed \(seed)" + (label.isEmpty ? "" : ", \(label)"), role, seed, epochs)
        }
        let trained = try scheme.train(session)
        let result = try measure(
            trained, seed: seed, curve: session.curve, session: session, reference: reference)
        try directory.save(
            trained, preprocessing: examples.preprocessing, result, role: role, projectors: session.projectors)
        let time = NumberFormat.duration(seconds: (clock.now - start).seconds)
        try say(
            "\(role) seed \(seed): accuracy \(NumberFormat.percent(result.metrics[Metric.accuracy.rawValue] ?? .nan)), "
                + "\(session.steps) steps in \(time)")
        return (trained, result)
    }

    private func deviceRows(_ rows: ExampleSet) throws -> DeviceRows {
        try DeviceRows(
            rows, normalization: examples.normalization, augmentation: recipe.data.augmentation,
            mixing: recipe.data.mixing, on: device)
    }

    /// One epoch: a line of metrics.jsonl where accuracy was measured, and the progress line.
    private func record(_ point: CurvePoint, _ label: String, _ role: String, _ seed: UInt64, _ epochs: Int) throws {
        if let accuracy = point.accuracy {
            try directory.record([
                ("arm", .string(role)), ("seed", .int(Int(seed))), ("epoch", .int(point.epoch)),
                ("step", .int(point.step)), ("train/loss", .double(point.loss)), ("eval/accuracy", .double(accuracy)),
            ])
            lastAccuracy = NumberFormat.percent(accuracy)
        }
        let loss = NumberFormat.significant(point.loss)
        progress.status("\(label)  epoch \(point.epoch)/\(epochs)  loss \(loss)  accuracy \(lastAccuracy)")
    }

    private func measure(
        _ model: any Model, seed: UInt64, curve: [CurvePoint], session: ArmSession?, reference: Evaluation?
    ) throws -> SeedResult {
        let evaluation = try Evaluation(model, test, on: device)
        var metrics: [Metric: Double] = [
            .accuracy: evaluation.accuracy, .macroF1: evaluation.macroF1, .parameters: Double(model.parameterCount),
            .bytes: Double(model.parameterCount * 4), .latency: try forwardLatency(model, test, on: device),
        ]
        if let session {
            metrics[.peakBytes] = Double(session.peakBytes)
            metrics[.stepTime] = session.stepMicroseconds
        }
        if let reference {
            metrics[.agreement] = evaluation.agreement(with: reference)
            metrics[.klToTeacher] = evaluation.divergence(from: reference)
        }
        return SeedResult(
            seed: seed, metrics: Dictionary(uniqueKeysWithValues: metrics.map { ($0.key.rawValue, $0.value) }),
            curve: curve,
            confusion: evaluation.confusion)
    }

    private func say(_ line: String) throws {
        progress.line(line)
        try directory.note(line)
    }
}
