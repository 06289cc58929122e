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
    /// nil where nobody knows how tokens become text.
    private let tokenizer: Tokenizer?
    private let answers: WrittenAnswers?
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
        let folders = [data.tokenizer?.folder, recipe.student.directory, recipe.teacher?.live?.directory]
        let tokenizer = try folders.compactMap { $0 }.first(where: LanguageModelDirectory.hasTokenizer).map(
            Tokenizer.load)
        self.tokenizer = tokenizer
        let pad = data.pad
        answers = recipe.answers.map { WrittenAnswers($0, data.test, tokenizer: tokenizer, pad: pad) }
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
    static func rehearse(
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
            _ = try data.plain?.batches(train.batch, pad: data.pad, seed: 0)
            guard !train.drawsWithReplacement || data.packing == .none else {
                throw RetortError.recipe(
                    "train.replacement draws examples, and data.packing packs them", help: "remove one of the two")
            }
        }
        if let arm = recipe.arms.first(where: { $0.rollouts != nil }), data.packing != .none {
            throw RetortError.recipe(
                "the arm \(arm.name) lets a model answer prompts, and data.packing packs them",
                at: arm.rollouts?.location,
                help: "remove one of the two")
        }
        if let known = taught?.vocabulary ?? cache?.vocabulary, recipe.arms.contains(where: \.needsTeacher),
            known != student.vocabulary
        {
            throw RetortError.recipe(
                "the teacher has a vocabulary of \(known), the student one of \(student.vocabulary)",
                at: recipe.student.location, why: "their predictions cannot be compared token by token")
        }
        student.setDropout(.init(seed: 0, step: 0))
        let few = try LanguageBatches(TokenizedCorpus([data.test.example(0).beginning(8)]), batch: 1, seed: nil)
        for arm in recipe.arms where arm.needsTeacher {
            try LanguageLoss(student, arm.terms, teacher: taught, name: arm.name, on: device).rehearse(
                few.batch(of: [0]))
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
        for arm in recipe.arms {
            for term in arm.terms { try say("\(arm.name): minimise \(term.contract)") }
            if let rollouts = arm.rollouts { try say("\(arm.name): learn from \(rollouts.contract)") }
        }
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
                        arm.name, recipe.student, arm.terms, arm.train, rollouts: arm.rollouts, seed: seed,
                        initialSeed: seed, teacher: teacher?.model, teaches: arm.needsTeacher
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

    static let teacherTerms = [LanguageArmTerm(CrossEntropyObjective(smoothing: 0))]

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
        rollouts: RolloutSpec? = nil, seed: UInt64, initialSeed: UInt64, teacher: (any LanguageModel)?, teaches: Bool
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
        let texts = try rollouts.map {
            try self.texts($0, role, training, terms, seed: seed, student: model, teacher: teacher)
        }
        let trainer = try LanguageTrainer(
            model, arena, terms: terms, teacher: teaches ? teacher : nil,
            cache: teaches ? cache : nil, data: texts?.data ?? data.training(batch: training.batch, seed: seed),
            rollouts: texts?.source, plain: data.plain?.batches(training.batch, pad: data.pad, seed: seed),
            spec: training, name: role, seed: seed, on: device)
        // An epoch may be a few steps or a million: what is measured goes by steps.
        let part = max(1, trainer.steps / 20)
        let curve = try TrainingCurve(
            passes: (trainer.steps + part - 1) / part, epoch: { min(trainer.steps, $0 * part) }, points: 20, on: device,
            pass: { try trainer.train(steps: min(part, trainer.steps - $0 * part)) }, step: { trainer.step },
            measure: { try evaluate(model, against: nil).accuracy },
            report: { try record($0, role, seed, trainer.steps) })
        if let learned = texts?.source?.learned {
            try say(
                "\(role) seed \(seed): \(learned.new) steps on texts that were new, \(learned.again) on such that were seen before, of "
                    + "\(trainer.steps)")
        }
        if let adaptation = spec.adaptation, let base = spec.directory {
            try AdapterDirectory.save(adaptation, of: model, base: base, to: directory.folder(role, seed) + "/adapter")
            // What is measured is what is saved.
            try model.mergeAdapters()
        }
        let result = try measure(
            model, seed: seed, curve: curve, tokens: trainer.tokens, trained: arena.count, against: teacher)
        try directory.save(result, role: role, projectors: trainer.projectors) { folder in
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

    /// The texts of an arm that learns from what models write: the examples it goes through, and what gives its steps others.
    private func texts(
        _ rollouts: RolloutSpec, _ role: String, _ training: LanguageTrainSpec, _ terms: [LanguageArmTerm],
        seed: UInt64, student: any LanguageModel, teacher: (any LanguageModel)?
    ) throws -> (data: LanguageBatches, source: RolloutSource?) {
        let models = [student] + (teacher.map { [$0] } ?? [])
        let ends = try models.reduce(into: Set([tokenizer?.special("eos")?.id].compactMap { $0 })) {
            $0.formUnion(try EndTokens.named(in: $1.config))
        }
        func writer(seed: UInt64) -> RolloutWriter {
            var sampling = rollouts.sampling
            sampling.seed = seed
            return RolloutWriter(
                count: rollouts.count, sampling: sampling, ends: ends, models: models,
                rows: training.microBatch ?? training.batch)
        }
        func batches(_ corpus: TokenizedCorpus) throws -> LanguageBatches {
            try data.training(corpus, batch: training.batch, seed: seed)
        }
        switch rollouts.kind {
        case .teacher(let spec):
            guard let teacher else { throw RetortError.internalBug("texts of a teacher that is not there") }
            return (try batches(teacherTexts(rollouts, spec, role, writer, seed: seed, teacher: teacher)), nil)
        case .replay(let spec):
            let (learned, heldOut) = try data.train.parted(every: spec.heldOut)
            let all = try batches(learned)
            return (
                all,
                RolloutSource(
                    rollouts, writer(seed: seed), student: student, teacher: teacher, data: all,
                    heldOut: try LanguageBatches(measuring: heldOut, pad: data.pad), batch: training.batch,
                    wantsSignals: false, on: device)
            )
        case .student, .mixed:
            let all = try batches(data.train)
            return (
                all,
                RolloutSource(
                    rollouts, writer(seed: seed), student: student, teacher: teacher, data: all, heldOut: nil,
                    batch: training.batch, wantsSignals: terms.contains { $0.objective.needsRollouts }, on: device)
            )
        }
    }

    /// What the teacher wrote, or writes now. A teacher that is the same for all seeds writes once.
    private func teacherTexts(
        _ rollouts: RolloutSpec, _ spec: TeacherTextSpec, _ role: String, _ writer: (UInt64) -> RolloutWriter,
        seed: UInt64, teacher: any LanguageModel
    ) throws -> TokenizedCorpus {
        let (folder, writerSeed) =
            loaded == nil ? (directory.folder(role, seed), seed) : ("\(directory.path)/\(role)", 0)
        try Folder.createWithParents(folder)
        let texts = TeacherTexts(writer(writerSeed), rollouts, spec, teacher: teacher, tokenizer: tokenizer)
        let total = data.train.count * spec.samples
        let result = try texts.write(data.train, to: folder + "/texts.jsonl") {
            progress.status("\(role) seed \(seed)  the teacher writes  \($0)/\(total)")
        }
        let grouped = NumberFormat.grouped
        try say(
            "\(role) seed \(seed): the teacher wrote \(grouped(result.written)) texts, \(grouped(result.ended)) of them to "
                + "their end; \(grouped(result.kept)) are kept: \(result.corpus.summary.words)")
        return result.corpus
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
        if let answers { metrics.merge(try answers.metrics(model, teacher: teacher, on: device)) { $1 } }
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
