import RetortModels
import RetortRuntime
import RetortSupport

/// `retort train` with language models: for each seed the student of every arm is trained, measured and saved; so is the teacher, unless
/// it comes from a directory.
final class LanguageRun: RecipeRun {
    private let recipe: LanguageRecipe
    private let device: Device
    private let directory: RunDirectory
    private let progress: Progress
    private let data: LanguageExamples
    private let test: LanguageBatches
    /// What was found while the data were read, for the log.
    private let findings: [String]
    /// A teacher from a directory, the same for all seeds, and what it was measured to be, once it was.
    private let loaded: (any LanguageModel)?
    /// What teaches instead of a model.
    private let cache: TeacherCache?
    private var loadedResult: SeedResult?
    private let clock = ContinuousClock()
    /// As the progress line shows it between two measurements.
    private var lastAccuracy = "–"

    /// Reads the data and opens the run directory.
    /// - Throws: `RetortError` for the data or a model (65, 66), the recipe (78) or the output (73, 74).
    init(_ recipe: LanguageRecipe, device: Device, output: String?, progress: Progress) throws {
        self.recipe = recipe
        self.device = device
        self.progress = progress
        var findings: [String] = []
        let data = try recipe.data.load(
            tokenizers: recipe.tokenizers
        ) { findings.append($0) }
        self.data = data
        self.findings = findings
        test = try data.measuring()
        cache = try recipe.teacher?.openCache(for: data)
        let loaded = try recipe.teacher?.live?.directory.map {
            try LanguageModelDirectory.load($0, on: device, trains: false).model
        }
        self.loaded = loaded
        try Self.rehearse(recipe, data, teacher: loaded, cache: cache, on: device)
        directory = try RunDirectory(
            output: output, name: recipe.name, recipe: recipe.node,
            dataHash: cache.map { $0.identity(with: data) } ?? data.digest, device: device)
    }

    var path: String { directory.path }

    func run() throws -> RunResults { try directory.finishing(trainAll) }

    /// Builds every model once: what does not fit is refused before anything is trained, and leaves no directory behind.
    private static func rehearse(
        _ recipe: LanguageRecipe, _ data: LanguageExamples, teacher: (any LanguageModel)?, cache: TeacherCache?,
        on device: Device
    ) throws {
        let taught =
            try teacher
            ?? recipe.teacher?.live.map {
                try $0.make(vocabulary: data.tokenizer?.tokens, settings: nil, seed: 0, on: device).model
            }
        let student = try recipe.student.make(
            vocabulary: taught?.vocabulary ?? cache?.vocabulary ?? data.tokenizer?.tokens,
            settings: taught?.json ?? cache?.identity.config, seed: 0, on: device
        ).model
        let (longest, largest) = (data.longest, data.largestToken)
        for (who, model) in [("teacher", taught), ("student", student)] {
            guard let model else { continue }
            let place = who == "student" ? recipe.student.location : recipe.teacher?.spec?.location
            guard longest <= model.maxPositions else {
                throw RetortError.recipe(
                    "the longest example has \(longest) tokens, the \(who) \(model.maxPositions) positions", at: place)
            }
            guard Int(largest) < model.vocabulary else {
                throw RetortError.recipe(
                    "the data has the token \(largest), the \(who) a vocabulary of \(model.vocabulary)", at: place)
            }
        }
        for train in recipe.arms.map(\.train) + [recipe.teacher?.train].compactMap({ $0 }) {
            _ = try data.training(batch: train.batch, seed: 0)
            guard !train.drawsWithReplacement || data.packing == .none else {
                throw RetortError.recipe(
                    "train.replacement draws examples, and data.packing packs them", help: "remove one of the two")
            }
        }
        if let known = taught?.vocabulary ?? cache?.vocabulary, recipe.arms.contains(where: \.needsTeacher),
            known != student.vocabulary
        {
            throw RetortError.recipe(
                "the teacher has a vocabulary of \(known), the student one of \(student.vocabulary)",
                at: recipe.student.location, why: "their predictions cannot be compared token by token")
        }
    }

    private func trainAll() throws -> RunResults {
        var teacherResults: [SeedResult] = []
        var armResults = recipe.arms.map { _ in [SeedResult]() }
        try say("device: \(device.summary)")
        try say(
            "data: \(NumberFormat.grouped(data.train.count)) examples to learn from, "
                + "\(NumberFormat.grouped(data.test.count)) to measure on, of up to \(data.longest) tokens")
        for line in findings { try say(line) }
        if let cache { for line in cache.words { try say(line) } }
        for arm in recipe.arms { for line in arm.contract { try say("\(arm.name): minimise \(line)") } }
        for seed in recipe.seeds {
            let teacher = try teacher(seed)
            if let result = teacher?.result { teacherResults.append(result) }
            for (index, arm) in recipe.arms.enumerated() {
                if let done = try directory.finished(arm.name, seed) {
                    armResults[index].append(done)
                    continue
                }
                armResults[index].append(
                    try fit(
                        arm.name, recipe.student, arm.terms, arm.train, seed: seed, initialSeed: seed,
                        teacher: teacher?.model, teaches: arm.needsTeacher
                    ).result)
            }
        }
        let taught = recipe.teacher?.live.map { teacher in
            ArmResult(
                role: Role.teacher,
                contract: [teacher.directory.map { "trained before: \($0)" } ?? Self.teacherTerms[0].contract],
                seeds: teacherResults)
        }
        return RunResults(
            recipe: recipe.name, device: device.description, deviceSummary: device.summary, seeds: recipe.seeds,
            classes: [],
            arms: (taught.map { [$0] } ?? [])
                + zip(recipe.arms, armResults).map { ArmResult(role: $0.name, contract: $0.contract, seeds: $1) },
            timeUnit: .step)
    }

    private static let teacherTerms = [LanguageArmTerm(CrossEntropyObjective(smoothing: 0))]

    private func teacher(_ seed: UInt64) throws -> (model: any LanguageModel, result: SeedResult)? {
        guard let spec = recipe.teacher, let live = spec.live else { return nil }
        if let loaded {
            var result = try loadedResult ?? measure(loaded, seed: seed, curve: nil, tokens: 0)
            result.seed = seed
            loadedResult = result
            return (loaded, result)
        }
        guard let train = spec.train else {
            throw RetortError.internalBug("a teacher that is neither trained nor loaded")
        }
        if let done = try directory.finished(Role.teacher, seed) {
            let folder = directory.folder(Role.teacher, seed) + "/final"
            return (try LanguageModelDirectory.load(folder, on: device, trains: false).model, done)
        }
        let (model, result) = try fit(
            Role.teacher, live, Self.teacherTerms, train, seed: seed, initialSeed: seed ^ 0x7eac_4e12,
            teacher: nil,
            teaches: false)
        model.freeze()
        return (model, result)
    }

    private func fit(
        _ role: String, _ spec: LanguageModelSpec, _ terms: [LanguageArmTerm], _ training: LanguageTrainSpec,
        seed: UInt64, initialSeed: UInt64, teacher: (any LanguageModel)?, teaches: Bool
    ) throws -> (model: any LanguageModel, result: SeedResult) {
        let start = clock.now
        let (model, arena) = try spec.make(
            vocabulary: teacher?.vocabulary ?? cache?.vocabulary ?? data.tokenizer?.tokens,
            settings: teacher?.json ?? cache?.identity.config, seed: initialSeed, on: device)
        if let adaptation = spec.adaptation {
            try say(
                "\(role) seed \(seed): adapters of rank \(adaptation.rank) are trained, "
                    + "\(NumberFormat.grouped(arena.count)) numbers beside \(NumberFormat.grouped(model.parameterCount)) "
                    + "that stay")
        }
        let trainer = try LanguageTrainer(
            model, arena, terms: terms, teacher: teaches ? teacher : nil,
            cache: teaches ? cache : nil, data: data.training(batch: training.batch, seed: seed), spec: training,
            seed: seed, on: device)
        // An epoch may be a few steps or a million: what is measured goes by steps.
        let part = max(1, trainer.steps / 20)
        let curve = try TrainingCurve(
            passes: (trainer.steps + part - 1) / part, epoch: { min(trainer.steps, $0 * part) }, points: 20, on: device,
            pass: { try trainer.train(steps: min(part, trainer.steps - $0 * part)) }, step: { trainer.step },
            measure: { try evaluate(model, against: nil).accuracy },
            report: { try record($0, role, seed, trainer.steps) })
        if let adaptation = spec.adaptation, let base = spec.directory {
            try AdapterDirectory.save(adaptation, of: model, base: base, to: directory.folder(role, seed) + "/adapter")
            // What is measured is what is saved.
            try model.mergeAdapters()
        }
        let result = try measure(
            model, seed: seed, curve: curve, tokens: trainer.tokens, trained: arena.count, against: teacher)
        try directory.save(result, role: role) { folder in
            try LanguageModelDirectory.save(model, to: folder)
            if let tokenizer = data.tokenizer?.folder ?? spec.directory ?? recipe.teacher?.live?.directory {
                try LanguageModelDirectory.copyTokenizer(from: tokenizer, to: folder)
            }
        }
        let time = NumberFormat.duration(seconds: (clock.now - start).seconds)
        try say(
            "\(role) seed \(seed): perplexity \(NumberFormat.significant(result.metrics[Metric.perplexity.rawValue] ?? .nan)), "
                + "\(trainer.step) steps in \(time)")
        return (model, result)
    }

    private func evaluate(_ model: any LanguageModel, against teacher: (any LanguageModel)?) throws
        -> LanguageEvaluation
    {
        try LanguageEvaluation(model, test, teacher: teacher, on: device)
    }

    /// One part of a training: a line of metrics.jsonl, and the progress line.
    private func record(_ point: CurvePoint, _ role: String, _ seed: UInt64, _ steps: Int) throws {
        if let accuracy = point.accuracy {
            try directory.record([
                ("arm", .string(role)), ("seed", .int(Int(seed))), ("step", .int(point.step)),
                ("train/loss", .double(point.loss)), ("eval/accuracy", .double(accuracy)),
            ])
            lastAccuracy = NumberFormat.percent(accuracy)
        }
        progress.status(
            "\(role) seed \(seed)  step \(point.step)/\(steps)  loss \(NumberFormat.significant(point.loss))  "
                + "accuracy \(lastAccuracy)")
    }

    private func measure(
        _ model: any LanguageModel, seed: UInt64, curve: TrainingCurve?, tokens: Int, trained: Int? = nil,
        against teacher: (any LanguageModel)? = nil
    ) throws -> SeedResult {
        let evaluation = try evaluate(model, against: teacher)
        var metrics = evaluation.metrics
        metrics[.parameters] = Double(model.parameterCount)
        metrics[.bytes] = Double(model.parameterCount * 4)
        metrics[.latency] = try forwardLatency(model, test, on: device)
        if let trained, trained != model.parameterCount { metrics[.trainableParameters] = Double(trained) }
        if let curve, let last = curve.points.last {
            metrics[.peakBytes] = Double(curve.peakBytes)
            metrics[.stepTime] = curve.stepMicroseconds
            metrics[.tokenRate] = Double(tokens) / Double(last.step) / curve.stepMicroseconds * 1e6
        }
        return SeedResult(
            seed: seed, metrics: Dictionary(uniqueKeysWithValues: metrics.map { ($0.key.rawValue, $0.value) }),
            curve: curve?.points ?? [], confusion: [])
    }

    private func say(_ line: String) throws {
        progress.line(line)
        try directory.note(line)
    }
}

extension LanguageRecipe: RunnableRecipe {
    func start(on device: Device, output: String?, progress: Progress) throws -> any RecipeRun {
        try LanguageRun(self, device: device, output: output, progress: progress)
    }
}
