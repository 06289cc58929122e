import RetortModels
import RetortRuntime
import RetortSupport

/// `retort train` with language models: for each seed the student of every arm is trained, measured and saved; so are the teachers, unless
/// they come from directories.
final class LanguageRun: RecipeRun {
    let recipe: LanguageRecipe
    let device: Device
    let directory: RunDirectory
    let progress: Progress
    let data: LanguageExamples
    /// The test examples that have an answer; nil: none has.
    private let test: LanguageBatches?
    /// Those with two answers; nil: none has.
    private let testPairs: LanguageBatches?
    /// What was last measured of the student in training, as metrics.jsonl has it.
    private var lastMeasured: [(key: String, value: JSON)] = []
    /// nil where nobody knows how tokens become text.
    let tokenizer: Tokenizer?
    private let answers: WrittenAnswers?
    /// What was found while the data were read, for the log.
    private let findings: [String]
    /// Teachers from directories and caches, the same for all seeds; nil for one that each seed trains.
    private let loaded: [LanguageTeacher?]
    /// Of each teacher how its tokens stand to the data's.
    private let teacherTokens: [TeacherTokens]
    /// What those of directories were measured to be, once they were.
    private var loadedResults: [String: SeedResult] = [:]
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
        let data = try recipe.examples { findings.append($0) }
        self.data = data
        self.findings = findings
        test = try data.test.answered.map(data.measuring)
        testPairs = try data.test.pairs.map(data.measuring)
        let folders = [data.tokenizer?.folder, recipe.student.origin] + recipe.teachers.map { $0.live?.directory }
        let tokenizer = try folders.compactMap { $0 }.first(where: LanguageModelDirectory.hasTokenizer).map(
            Tokenizer.load)
        self.tokenizer = tokenizer
        let pad = data.pad
        answers = recipe.answers.map { WrittenAnswers($0, data.test.asked, tokenizer: tokenizer, pad: pad) }
        let teacherTokens = try recipe.teacherTokens(beside: data)
        self.teacherTokens = teacherTokens
        let loaded = try zip(recipe.teachers, teacherTokens).map {
            try $0.load(for: data, tokens: $1, beside: device)
        }
        self.loaded = loaded
        try Self.rehearse(recipe, data, loaded, on: device)
        let caches = loaded.compactMap { $0?.cache }
        directory = try RunDirectory(
            output: output, name: recipe.name, recipe: recipe.node,
            dataHash: caches.reduce(data.digest) { $1.identity(with: $0) }, device: device)
    }

    var path: String { directory.path }

    func run() throws -> RunResults { try directory.finishing(trainAll) }

    private func trainAll() throws -> RunResults {
        var teacherResults = recipe.teachers.map { _ in [SeedResult]() }
        var armResults = recipe.arms.map { _ in [SeedResult]() }
        try say("device: \(device.summary)")
        try say(
            "data: \(NumberFormat.grouped(data.train.asked.count)) examples to learn from, "
                + "\(NumberFormat.grouped(data.test.asked.count)) to measure on, of up to \(data.longest) tokens")
        for line in findings + data.words(for: recipe.arms) { try say(line) }
        if test == nil {
            try say(
                "no test example has an answer: accuracy, perplexity, and agreement with a teacher on the data's texts are not measured"
            )
        }
        if let limits = answers?.limits { try say(limits) }
        for teacher in loaded.compactMap({ $0 }) {
            guard let cache = teacher.cache else { continue }
            for line in cache.words { try say(line) }
            if let heldOut = data.test.answered, !teacher.knowsHeldOut { try say(cache.lackWords(heldOut.count)) }
        }
        if loaded.count > 1, loaded.allSatisfy({ $0?.cache != nil }) {
            try say("agreement and divergence are not measured: of what was kept of several teachers there is no mean")
        }
        for (teacher, tokens) in zip(recipe.teachers, teacherTokens) {
            guard let bridge = tokens.bridge, !bridge.isIdentity else { continue }
            guard tokens.isForeign else {
                try say("\(teacher.role): \(tokens.finding)")
                continue
            }
            try say(
                "\(teacher.role): has a tokenizer of its own (\(tokens.finding)); "
                    + "\(try ReadingCoverage(bridge, data.train.asked).words); agreement and divergence are not measured"
            )
        }
        for teacher in recipe.teachers {
            if let words = teacher.precision { try say("\(teacher.role): \(words)") }
        }
        for arm in recipe.arms {
            for term in arm.terms { try say("\(arm.name): minimise \(contract(of: term))") }
            if let rollouts = arm.rollouts { try say("\(arm.name): learn from \(rollouts.contract)") }
            if !arm.scheme.contract.isEmpty { try say("\(arm.name): \(arm.scheme.contract)") }
            if let words = arm.train.precision { try say("\(arm.name): \(words)") }
        }
        for seed in recipe.seeds {
            let teachers = try recipe.teachers.indices.map { index in
                let (teacher, result) = try teacher(index, seed)
                if let result { teacherResults[index].append(result) }
                return teacher
            }
            for (index, arm) in recipe.arms.enumerated() {
                if let done = try directory.finished(arm.name, seed) {
                    armResults[index].append(done)
                    continue
                }
                armResults[index].append(try fit(arm, seed: seed, teachers: teachers))
            }
        }
        let taught = zip(recipe.teachers, teacherResults).compactMap { teacher, results in
            (results.isEmpty ? nil : teacher.live).map {
                ArmResult(
                    role: teacher.role,
                    contract: [$0.directory.map { "trained before: \($0)" } ?? recipe.teacherTerms[0].contract],
                    seeds: results)
            }
        }
        var results = RunResults(
            recipe: recipe.name, device: device.description, deviceSummary: device.summary, seeds: recipe.seeds,
            classes: [],
            arms: taught
                + zip(recipe.arms, armResults).map {
                    ArmResult(role: $0.name, contract: $0.contract(by: contract(of:)), seeds: $1)
                },
            timeUnit: .step)
        results.notes = comparisonNotes
        results.quality = quality
        return results
    }

    /// What students are judged by: where each has a loss of two answers, how often the better one has the higher reward.
    private var quality: Metric {
        testPairs != nil && recipe.arms.allSatisfy { $0.preference != nil } ? .preferenceAccuracy : .accuracy
    }

    /// What agreement and divergence of this run are, where they are not over all classes.
    private var comparisonNotes: [String] {
        let teachers = loaded.compactMap { $0 }.filter { !$0.isForeign }
        guard loaded.allSatisfy({ $0 != nil }) else { return [] }
        return teachers.measures.compactMap { teacher in
            if let cache = teacher.cache { return cache.measuringWords }
            return teacher.tokens.renumbering.map {
                "agreement and divergences from \(teacher.name): among the \(NumberFormat.grouped($0.shared.count)) tokens that both "
                    + "vocabularies have, where the next token is one of them"
            }
        }
    }

    /// What a loss minimises, with the tokens that are compared where these are not all of both.
    private func contract(of term: LanguageArmTerm) -> String {
        let renumbered = zip(recipe.teachers, teacherTokens).filter {
            term.teachers.contains($0.0.name) && $0.1.renumbering != nil
        }
        guard term.objective.reading == nil, let first = renumbered.first?.1.renumbering else { return term.contract }
        let count =
            renumbered.count == 1
            ? NumberFormat.grouped(first.shared.count) + " " : ""
        return term.contract + ", p and q softmaxes over the \(count)tokens that both vocabularies have"
            + (renumbered.allSatisfy { $0.1.renumbering?.knowsAll ?? true }
                ? "" : "; hard labels among all of the student's")
    }

    /// - Returns: no result for a teacher of which there are only predictions.
    private func teacher(_ index: Int, _ seed: UInt64) throws -> (LanguageTeacher, SeedResult?) {
        let spec = recipe.teachers[index]
        if let teacher = loaded[index] {
            // What has other tokens than the data cannot be measured on them.
            guard let model = teacher.model, let device = teacher.device, !teacher.isForeign else {
                return (teacher, nil)
            }
            var result =
                try loadedResults[spec.name]
                ?? measure(
                    model, on: data.measuring(readAs: teacher.tokens, longest: model.maxPositions),
                    answering: teacher.readsStudents ? answers : nil, seed: seed, on: device)
            result.seed = seed
            loadedResults[spec.name] = result
            return (teacher, result)
        }
        guard let train = spec.train, let live = spec.live else {
            throw RetortError.internalBug("a teacher that is neither trained nor loaded")
        }
        if let done = try directory.finished(spec.role, seed) {
            let folder = directory.folder(spec.role, seed) + "/final"
            let model = try live.load(folder, on: device, teaches: false)
            return (
                LanguageTeacher(
                    model, spec.name, tokens: teacherTokens[index], on: device), done
            )
        }
        // Each teacher starts from weights of its own.
        let start = seed ^ 0x7eac_4e12 &+ UInt64(index) &* 0x9e37_79b9_7f4a_7c15
        let (model, result) = try fit(
            Fitting(
                role: spec.role, spec: live, terms: recipe.teacherTerms, train: train,
                corpus: try data.train(.ofTeacher),
                seed: seed, start: start))
        model.freeze()
        return (
            LanguageTeacher(
                model, spec.name, tokens: teacherTokens[index], on: device), result
        )
    }

    /// Something to train for a seed.
    private struct Fitting {
        let role: String
        let spec: LanguageModelSpec
        let terms: [LanguageArmTerm]
        let train: LanguageTrainSpec
        /// The data that it goes through.
        let corpus: TokenizedCorpus
        var rollouts: RolloutSpec?
        var decay: Double?
        let seed: UInt64
        /// What its first weights are drawn by.
        var start: UInt64
        /// Those that are asked.
        var teachers: [LanguageTeacher] = []
        /// What rewards its answers to the test's prompts; nil: nothing does.
        var preference: LanguageArmTerm?
        /// Those that it is measured against, and takes sizes from.
        var compared: [LanguageTeacher] = []
        /// Whether it is measured and saved, or only teaches the next.
        var isLast = true
        /// Of several that follow each other, the last excepted.
        var generation: Int?
    }

    /// Trains an arm's student, by all generations that it has.
    private func fit(_ arm: LanguageRecipe.Arm, seed: UInt64, teachers: [LanguageTeacher]) throws -> SeedResult {
        var goal = Fitting(
            role: arm.name, spec: recipe.student, terms: arm.terms, train: arm.train,
            corpus: try data.train(arm), rollouts: arm.rollouts, seed: seed, start: seed,
            teachers: teachers.filter { arm.teachers.contains($0.name) }, preference: arm.preference,
            compared: teachers.filter { !$0.isForeign })
        switch arm.scheme {
        case .offline: break
        case .movingAverage(let decay): goal.decay = decay
        case .bornAgain(let generations):
            for number in 1..<generations {
                (goal.isLast, goal.generation) = (false, number)
                // Each starts from weights of its own: nothing is handed down but what it says.
                goal.start = seed ^ UInt64(number) &* 0x9e37_79b9_7f4a_7c15
                try say("\(arm.name) seed \(seed): generation \(number) of \(generations)")
                let model = try fit(goal).model
                model.freeze()
                goal.teachers = [LanguageTeacher(model, goal.teachers[0].name, on: device)]
            }
            (goal.isLast, goal.generation, goal.start) = (true, nil, seed)
        }
        return try fit(goal).result
    }

    private func fit(_ goal: Fitting) throws -> (model: any LanguageModel, result: SeedResult) {
        let (start, role, seed) = (clock.now, goal.role, goal.seed)
        let known = goal.compared.first(where: \.readsStudents)
        func make(trains: Bool = true) throws -> (model: any LanguageModel, arena: ParameterArena) {
            try goal.spec.make(
                vocabulary: known?.vocabulary ?? data.tokenizer?.tokens, settings: known?.settings, pad: data.pad,
                seed: goal.start, trains: trains, dtype: trains ? goal.train.dtype : .f32, on: device)
        }
        let (model, arena) = try make()
        if let adaptation = goal.spec.adaptation {
            try say(
                "\(role) seed \(seed): adapters of rank \(adaptation.rank) are trained, "
                    + "\(NumberFormat.grouped(arena.count)) numbers beside \(NumberFormat.grouped(model.parameterCount)) "
                    + "that stay")
        }
        var teachers = goal.teachers
        if let decay = goal.decay {
            teachers.append(.averaging(model, arena, into: try make(trains: false), decay: decay, on: device))
        }
        if goal.terms.contains(where: \.looksAtStart) {
            teachers.append(.start(try make(trains: false).model, on: device))
        }
        let texts = try goal.rollouts.map {
            try self.texts(
                $0, to: goal.corpus, role, goal.train, goal.terms, seed: seed, student: model, teachers: teachers)
        }
        let trainer = try LanguageTrainer(
            model, arena, terms: goal.terms, teachers: teachers,
            data: texts?.data ?? data.training(goal.corpus, batch: goal.train.batch, seed: seed),
            rollouts: texts?.source,
            plain: data.plain?.batches(goal.train.batch, pad: data.pad, seed: seed), spec: goal.train, name: role,
            seed: seed, on: device)
        let checkpoints = Checkpoints(
            in: directory.folder(role, seed) + "/checkpoints", name: goal.generation.map { "generation-\($0)." } ?? "",
            recipe.checkpoint)
        let training = try SteppedTraining(trainer, checkpoints, on: device)
        try directory.forget(role, seed, generation: goal.generation, keeping: training.curve.points.count)
        if training.goesOn { try say("\(role) seed \(seed): goes on from step \(trainer.step)") }
        let rewards = testPairs.flatMap {
            PreferenceMeasure(goal.preference, among: teachers, on: $0, chunk: goal.train.chunk, device)
        }
        var isWritten = false
        let result: SeedResult
        do {
            try training.train(points: 20) {
                let accuracy = try test.map { try LanguageEvaluation(model, $0, on: device).accuracy }
                let rewarded = try rewards?(model)
                lastMeasured =
                    (accuracy.map { [("eval/\(Metric.accuracy.rawValue)", .double($0))] } ?? [])
                    + (rewarded.map { $0.metrics.map { ("eval/\($0.0.rawValue)", .double($0.1)) } } ?? [])
                return self.quality == .preferenceAccuracy ? rewarded?.accuracy : accuracy
            } report: {
                try record($0, isMeasured: $1, goal, trainer.steps)
            }
            if let learned = texts?.source?.learned {
                try say(
                    "\(role) seed \(seed): \(learned.new) steps on texts that were new, \(learned.again) on such that were seen before, of "
                        + "\(trainer.steps)")
            }
            if let adaptation = goal.spec.adaptation, let base = goal.spec.directory {
                if goal.isLast {
                    try AdapterDirectory.save(
                        adaptation, of: model, base: base, to: directory.folder(role, seed) + "/adapter")
                }
                // What is measured is what is saved.
                try model.mergeAdapters()
            }
            // A stop while it is measured would write down what was rounded.
            if savedType(of: goal) != .f32 {
                try training.writeDown()
                isWritten = true
            }
            try directory.round([model], to: savedType(of: goal), at: [directory.folder(role, seed) + "/final"]) {
                try write(model, of: goal, to: $1, as: .f32)
            }
            result = try measure(
                model, on: test, rewards: rewards, answering: answers, seed: seed, curve: training.curve,
                tokens: trainer.tokens,
                trained: arena.count,
                against: goal.compared.measures, on: device)
        } catch let error as RetortError where error.exit == .stopped {
            // In a step, between two, or while something is measured: the steps that were taken are kept.
            if !isWritten { try training.writeDown() }
            throw RetortError.stopped(
                "stopped by \(StopSignal.name ?? "a signal") after step \(trainer.step)")
        } catch let error as RetortError where error.exit == .diverged {
            throw error.inTraining(of: role, seed)
        }
        arena.dropWorkingCopy()
        if goal.isLast {
            try save(model, result, goal, trainer.projectors)
            checkpoints.remove()
        } else {
            // A later generation that is stopped does not begin again with the first.
            try training.writeDown()
        }
        let time = NumberFormat.duration(seconds: (clock.now - start).seconds)
        let quality = result.metrics[Metric.perplexity.rawValue].map { "perplexity \(NumberFormat.significant($0)), " }
        try say("\(role) seed \(seed): \(quality ?? "")\(trainer.step) steps in \(time)")
        return (model, result)
    }

    private func save(
        _ model: any LanguageModel, _ result: SeedResult, _ goal: Fitting, _ projectors: ProjectorSet
    ) throws {
        try directory.save(result, role: goal.role, projectors: projectors) {
            try write(model, of: goal, to: $0, as: savedType(of: goal))
        }
    }

    /// Teachers, and generations that only teach the next, are not rounded.
    private func savedType(of goal: Fitting) -> SavedType {
        goal.isLast && !Role.isTeacher(goal.role) ? recipe.savedType : .f32
    }

    private func write(_ model: any LanguageModel, of goal: Fitting, to folder: String, as type: SavedType) throws {
        try LanguageModelDirectory.save(model, to: folder, as: type)
        let folders = [data.tokenizer?.folder, goal.spec.origin] + recipe.teachers.map { $0.live?.directory }
        if let tokenizer = folders.compactMap({ $0 }).first {
            try LanguageModelDirectory.copyTokenizer(from: tokenizer, settingsOf: goal.spec.origin, to: folder)
        }
    }

    /// One part of a training: a line of metrics.jsonl, and the progress line.
    private func record(_ point: CurvePoint, isMeasured: Bool, _ goal: Fitting, _ steps: Int) throws {
        let (role, seed) = (goal.role, goal.seed)
        if isMeasured {
            var members: [(key: String, value: JSON)] = [("arm", .string(role)), ("seed", .int(Int(seed)))]
            if let generation = goal.generation { members.append(("generation", .int(generation))) }
            members += [("step", .int(point.step)), ("train/loss", .double(point.loss))]
            members += lastMeasured
            try directory.record(members)
        }
        if let accuracy = point.accuracy { lastAccuracy = NumberFormat.percent(accuracy) }
        progress.status(
            "\(role) seed \(seed)  step \(point.step)/\(steps)  loss \(NumberFormat.significant(point.loss))"
                + (test == nil ? "" : "  \(quality.name) \(lastAccuracy)"))
    }

    private func measure(
        _ model: any LanguageModel, on test: LanguageBatches?, rewards: PreferenceMeasure? = nil,
        answering answers: WrittenAnswers?, seed: UInt64,
        curve: TrainingCurve? = nil, tokens: Int = 0, trained: Int? = nil, against teachers: [LanguageTeacher] = [],
        on device: Device
    ) throws -> SeedResult {
        var metrics = try test.map { try LanguageEvaluation(model, $0, teachers: teachers, on: device).metrics } ?? [:]
        if let rewarded = try rewards?(model) {
            metrics.merge(rewarded.metrics) { $1 }
        }
        if let answers {
            // A cache has the data's texts alone.
            let readers = teachers.filter { $0.model != nil }
            metrics.merge(try answers.metrics(model, teachers: readers, on: device)) { $1 }
        }
        metrics[.parameters] = Double(model.parameterCount)
        metrics[.bytes] = Double(model.parameterCount * 4)
        metrics[.latency] = try forwardLatency(model, data.measuring(data.test.asked), on: device)
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

    func say(_ line: String) throws {
        progress.end(line)
        try directory.note(line)
    }
}

extension LanguageRecipe: RunnableRecipe {
    var contracts: [(arm: String, lines: [String])] { arms.map { (arm: $0.name, lines: $0.contract) } }

    func start(on device: Device, output: String?, progress: Progress) throws -> any RecipeRun {
        try checkData()
        return try LanguageRun(self, device: device, output: output, progress: progress)
    }
}
