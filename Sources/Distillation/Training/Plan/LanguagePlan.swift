import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Goes through the trainings of a language model's recipe on a device without bytes: on the largest batch that will come, for memory,
/// and on a usual one, for time. Of models in directories config.json alone is read.
struct LanguagePlan {
    private let recipe: LanguageRecipe
    private let device: Device
    private let rates: DeviceRates
    private let data: LanguageExamples
    private let teacherTokens: [TeacherTokens]
    /// What was found while the data were read.
    let findings: [String]

    private var seed: UInt64 { recipe.seeds[0] }

    /// Reads the data, and refuses what a run would refuse.
    /// - Throws: `RetortError` 65, 66 for data and models, 78 for the recipe.
    init(_ recipe: LanguageRecipe, on device: Device, _ rates: DeviceRates) throws {
        self.recipe = recipe
        self.device = device
        self.rates = rates
        var findings: [String] = []
        let data = try recipe.examples { findings.append($0) }
        self.data = data
        self.findings = findings + data.words(for: recipe.arms)
        teacherTokens = try recipe.teacherTokens(beside: data)
        let planned = Rehearsal(of: device, rates).device
        let loaded = try zip(recipe.teachers, teacherTokens).map {
            try $0.load(for: data, tokens: $1, beside: planned)
        }
        try LanguageRun.rehearse(recipe, data, loaded, on: planned)
    }

    func roles() throws -> [PlannedRole] {
        var roles: [PlannedRole] = []
        for (index, teacher) in recipe.teachers.enumerated() {
            guard let live = teacher.live, let train = teacher.train else { continue }
            // Those that are trained later are not there yet.
            let present = recipe.teachers.enumerated().filter { $0.element.train == nil || $0.offset < index }
            roles.append(
                try role(
                    Training(
                        name: teacher.role, model: live, terms: recipe.teacherTerms, spec: train,
                        corpus: try data.train(.ofTeacher),
                        present: present.map(\.offset), isTeacher: true)))
        }
        for arm in recipe.arms {
            roles.append(
                try role(
                    Training(
                        name: arm.name, model: recipe.student, terms: arm.terms, spec: arm.train,
                        corpus: try data.train(arm), rollouts: arm.rollouts, scheme: arm.scheme,
                        preference: arm.preference, asked: arm.teachers,
                        present: Array(recipe.teachers.indices), isTeacher: false)))
        }
        return roles
    }

    /// A training of the recipe.
    private struct Training {
        let name: String
        let model: LanguageModelSpec
        let terms: [LanguageArmTerm]
        let spec: LanguageTrainSpec
        /// Of the data, what it goes through.
        let corpus: TokenizedCorpus
        var rollouts: RolloutSpec?
        var scheme = LanguageScheme.offline
        /// What rewards answers, where a loss compares two.
        var preference: LanguageArmTerm?
        /// Names of the teachers that are asked.
        var asked: [String] = []
        /// The recipe's teachers that are in memory then.
        let present: [Int]
        let isTeacher: Bool
    }

    /// Steps of a training that are alike.
    private struct Kind {
        /// Of all steps.
        let share: Double
        /// What gives them texts; nil: the data, or what was written before.
        let rollouts: RolloutSpec?
        /// Whether a batch is as large as its prompts are long.
        let goesByPrompts: Bool
        let terms: [LanguageArmTerm]
    }

    private func role(_ training: Training) throws -> PlannedRole {
        var corpus = training.corpus
        var notes: [String] = []
        if data.masking != nil {
            notes.append("how many tokens are masked is drawn: what losses take differs a little from step to step")
        }
        for index in training.present {
            guard let place = recipe.teachers[index].device else { continue }
            notes.append("the teacher \(recipe.teachers[index].name) is counted here, though it computes on \(place)")
        }
        if let rollouts = training.rollouts {
            notes.append(
                "texts that a model writes are taken to be \(rollouts.count) tokens long, the most they can be")
            if case .teacher(let spec) = rollouts.kind {
                corpus = try written(to: corpus, rollouts, spec)
                if spec.keep != .all { notes.append("all of the teacher's texts are taken to be kept") }
            }
            if case .replay = rollouts.kind {
                notes.append("half of the steps are taken to learn from the student's texts")
            }
        }
        let batches = try data.training(corpus, batch: training.spec.batch, seed: seed)
        let ofData = try BatchForecast(batches, training.spec, seeds: recipe.seeds) { corpus.length(of: $0) }
        let kinds = kinds(training, epochs: ofData.epochs)
        let least = training.rollouts?.promptTokens ?? 1
        let prompts = kinds.contains(where: \.goesByPrompts) ? corpus.promptLengths(least: least) : []
        let ofPrompts =
            prompts.isEmpty
            ? nil : try BatchForecast(batches, training.spec, seeds: recipe.seeds) { prompts[$0] }

        var outcome: Outcome?
        var work = Rehearsal.Work()
        for kind in kinds {
            let forecast = kind.goesByPrompts ? ofPrompts ?? ofData : ofData
            let largest = try rehearse(training, kind, forecast.largest, of: corpus)
            let usual =
                forecast.tokens.largest == forecast.tokens.usual
                ? largest : try rehearse(training, kind, forecast.usual, of: corpus)
            work = work + usual.step * (kind.share * Double(ofData.steps))
            outcome = outcome.map { $0.joined(with: largest) } ?? largest
        }
        guard let outcome else { throw RetortError.internalBug("a training without steps") }
        if case .teacher(let spec)? = training.rollouts?.kind {
            let passes =
                Double(training.corpus.count * spec.samples) / Double(training.spec.microBatch ?? training.spec.batch)
            work = work + outcome.writing * passes
        }
        let (rows, part) = (training.spec.batch, training.spec.microBatch ?? training.spec.batch)
        return PlannedRole(
            name: training.name, parameters: outcome.parameters, trained: outcome.trained,
            batch: .init(rows: rows, part: min(part, rows), tokens: tokens(ofData, ofPrompts, training)),
            steps: ofData.steps, memory: outcome.memory, teacher: outcome.teacher, taken: outcome.taken,
            largestPiece: outcome.largestPiece, work: work, notes: notes)
    }

    private func tokens(
        _ data: BatchForecast, _ prompts: BatchForecast?, _ training: Training
    ) -> (largest: Int, usual: Int) {
        guard let prompts, let rollouts = training.rollouts else { return data.tokens }
        func whole(_ prompt: Int, _ examples: [Int32]) -> Int { prompt + rollouts.count * examples.count }
        return (
            max(data.tokens.largest, whole(prompts.tokens.largest, prompts.largest)),
            whole(prompts.tokens.usual, prompts.usual)
        )
    }

    /// The teacher's texts, as long as they can be: what they say does not matter.
    private func written(to asked: TokenizedCorpus, _ rollouts: RolloutSpec, _ spec: TeacherTextSpec) throws
        -> TokenizedCorpus
    {
        let texts = (0..<asked.count).flatMap { number -> [TokenizedExample] in
            let prompt = RolloutText.prompt(of: asked.example(number), least: rollouts.promptTokens)
            let answer = [Int32](repeating: 0, count: rollouts.count)
            return Array(repeating: RolloutText(prompt: prompt, answer: answer).example, count: spec.samples)
        }
        return try TokenizedCorpus(texts)
    }

    private func kinds(_ training: Training, epochs: Int) -> [Kind] {
        let texts: [(share: Double, rollouts: RolloutSpec?, goesByPrompts: Bool)]
        func changed(_ kind: RolloutSpec.Kind) -> RolloutSpec? {
            var rollouts = training.rollouts
            rollouts?.kind = kind
            return rollouts
        }
        switch training.rollouts?.kind {
        case nil, .teacher: texts = [(1, nil, false)]
        case .student(let share, let otherwise):
            let own = (share, changed(.student(share: 1, otherwise: otherwise)), true)
            let others: (Double, RolloutSpec?, Bool) =
                otherwise == .teacher
                ? (1 - share, changed(.student(share: 0, otherwise: .teacher)), true) : (1 - share, nil, false)
            texts = [own, others].filter { $0.0 > 0 }
        case .replay:
            // How many learn from the student's texts is seen on the way; the loss on held-out examples is looked at throughout.
            texts = [
                (0.5, changed(.student(share: 1, otherwise: .data)), true), (0.5, training.rollouts, false),
            ]
        case .mixed(let spec):
            let collected = min(spec.collect, 2 * training.spec.batch)
            texts = [(1, changed(.mixed(.init(share: spec.share, collect: collected, epochs: spec.epochs))), true)]
        case .pairs(let spec):
            let collected = min(spec.collect, 2 * training.spec.batch)
            texts = [(1, changed(.pairs(.init(chosen: spec.chosen, collect: collected, epochs: spec.epochs))), true)]
        }
        return texts.flatMap { text in
            stages(training.terms, epochs: epochs).map { stage in
                Kind(
                    share: text.share * stage.share, rollouts: text.rollouts, goesByPrompts: text.goesByPrompts,
                    terms: stage.terms)
            }
        }
    }

    /// The losses as they stand in the epochs of a training: which of them count, and the share of the epochs where it is these.
    private func stages(_ terms: [LanguageArmTerm], epochs: Int) -> [(share: Double, terms: [LanguageArmTerm])] {
        guard terms.contains(where: { $0.ramp != .constant }) else { return [(1, terms)] }
        var counts: [[Double]: Int] = [:]
        for epoch in 0..<epochs {
            let factors = terms.map { term -> Double in
                let factor = term.ramp.factor(TrainingProgress(epoch: epoch, epochs: epochs))
                return factor == 0 || factor == 1 ? factor : 0.5
            }
            counts[factors, default: 0] += 1
        }
        return counts.sorted { $0.value > $1.value }.map { factors, count in
            let fixed = zip(terms, factors).map {
                LanguageArmTerm(
                    $0.objective, on: $0.texts, at: $0.places, reduction: $0.reduction,
                    ramp: .linear(from: $1, to: $1), teachers: $0.teachers)
            }
            return (Double(count) / Double(epochs), fixed)
        }
    }

    // MARK: Going through it

    private struct Outcome {
        var memory: MemoryReport
        let teacher: [Purpose: Int]
        var taken: Int
        var largestPiece: Int
        let parameters: Int
        let trained: Int
        let step: Rehearsal.Work
        /// Of a batch of the teacher's texts.
        let writing: Rehearsal.Work

        func joined(with other: Outcome) -> Outcome {
            var both = self
            if other.memory.peak > memory.peak { both.memory = other.memory }
            both.taken = max(taken, other.taken)
            both.largestPiece = max(largestPiece, other.largestPiece)
            return both
        }
    }

    /// Steps on a batch of these examples, and what is done between steps.
    private func rehearse(_ training: Training, _ kind: Kind, _ examples: [Int32], of corpus: TokenizedCorpus) throws
        -> Outcome
    {
        let rehearsal = Rehearsal(of: device, rates)
        let here = rehearsal.device
        let compute = here.compute
        let present = try training.present.map { try teacher($0, on: here) }
        let teaching = rehearsal.memory.byPurpose
        let test = try data.test.answered.map { try longest(of: $0) }
        let testPairs = try data.test.pairs.map { try longest(of: $0) }
        let compared = present.filter { !$0.isForeign }.measures
        for (index, teacher) in zip(training.present, present) where recipe.teachers[index].train == nil {
            guard let model = teacher.model, let texts = data.test.answered, !teacher.isForeign else { continue }
            _ = try LanguageEvaluation(model, try longest(of: texts, readBy: teacher), on: here)
        }
        let known = present.first(where: \.readsStudents)
        func make(trains: Bool = true) throws -> (model: any LanguageModel, arena: ParameterArena) {
            try training.model.make(
                vocabulary: known?.vocabulary ?? data.tokenizer?.tokens, settings: known?.settings, pad: data.pad,
                seed: seed, trains: trains, dtype: trains ? training.spec.dtype : .f32, on: here)
        }
        // A generation that teaches the next. It was measured, and keeps its tables of positions too.
        var former: (any LanguageModel)?
        if case .bornAgain = training.scheme {
            let model = try make().model
            if let test { _ = try LanguageEvaluation(model, test, on: here) }
            model.freeze()
            former = model
        }
        let (model, arena) = try make()
        var asked = present.filter { training.asked.contains($0.name) }
        if case .movingAverage(let decay) = training.scheme {
            asked.append(.averaging(model, arena, into: try make(trains: false), decay: decay, on: here))
        }
        if kind.terms.contains(where: \.looksAtStart) {
            asked.append(.start(try make(trains: false).model, on: here))
        }
        let rows =
            data.packing == .none
            ? try TokenizedCorpus(examples.map { corpus.example(Int($0)) }, keepingPrompts: true, group: corpus.group)
            : corpus
        let batches = try data.training(rows, batch: training.spec.batch, seed: seed)
        var writing = Rehearsal.Work()
        if let rollouts = training.rollouts, case .teacher = rollouts.kind,
            let writer = asked.first(where: { $0.name == rollouts.teacher })?.model
        {
            writing = try rehearsal.work { try write(rollouts, training, batches, by: writer) }
        }
        var spec = training.spec
        let steps = stepsOfTurn(kind)
        (spec.length, spec.drawsWithReplacement) = (.steps(2 * steps), false)
        let trainer = try LanguageTrainer(
            model, arena, terms: kind.terms, teachers: asked, data: batches,
            rollouts: try source(kind.rollouts, training, batches, student: model, teachers: asked, on: here),
            plain: data.plain?.batches(spec.batch, pad: data.pad, seed: seed), spec: spec, name: training.name,
            seed: seed, on: here)
        var memory = MemoryReport()
        var turn = Rehearsal.Work()
        // What the first steps and the measuring between leave behind is there in all later ones.
        for _ in 0..<2 {
            compute.resetPeakMemory()
            turn = try rehearsal.work { _ = try trainer.train(steps: steps) }
            if rehearsal.memory.peak > memory.peak { memory = rehearsal.memory }
            if let test { _ = try LanguageEvaluation(model, test, teachers: compared, on: here) }
            if let testPairs {
                _ = try PreferenceMeasure(
                    training.preference, among: asked, on: testPairs, chunk: training.spec.chunk, here)?(model)
            }
            if let answers = recipe.answers { try answer(answers, model) }
        }
        withExtendedLifetime((present, former)) {}
        return Outcome(
            memory: memory, teacher: teaching, taken: rehearsal.memory.reserved, largestPiece: rehearsal.largestPiece,
            parameters: model.parameterCount, trained: arena.count, step: turn * (1 / Double(steps)), writing: writing)
    }

    /// Steps after which the same begins again.
    private func stepsOfTurn(_ kind: Kind) -> Int {
        switch kind.rollouts?.kind {
        case .mixed(let spec): 2 * spec.epochs
        case .pairs(let spec): 2 * spec.epochs
        default: 2
        }
    }

    /// One of the recipe's teachers as it is there while students are trained.
    private func teacher(_ index: Int, on device: Device) throws -> LanguageTeacher {
        let spec = recipe.teachers[index]
        if let loaded = try spec.load(for: data, tokens: teacherTokens[index], beside: device) { return loaded }
        guard let live = spec.live else { throw RetortError.internalBug("a teacher that nothing stands for") }
        let model = try live.make(
            vocabulary: data.tokenizer?.tokens, settings: nil, pad: data.pad, seed: seed, on: device
        ).model
        model.freeze()
        return LanguageTeacher(
            model, spec.name, tokens: teacherTokens[index], on: device)
    }

    /// The examples that measuring takes most memory for.
    /// - Parameter teacher: whose tokens they are read in; nil: the student's.
    private func longest(of corpus: TokenizedCorpus, readBy teacher: LanguageTeacher? = nil) throws -> LanguageBatches {
        let rows = max(1, 1024 / max(1, corpus.summary.longest) / corpus.group)
        func size(_ group: Int) -> Int {
            corpus.members(of: [Int32(group)]).map { corpus.length(of: Int($0)) }.max() ?? 0
        }
        let sizes = (0..<corpus.groups).map(size)
        let order = sizes.indices.sorted { (sizes[$1], $0) < (sizes[$0], $1) }
        let chosen = try TokenizedCorpus(
            corpus.members(of: order.prefix(rows).map(Int32.init)).map { corpus.example(Int($0)) }, group: corpus.group)
        guard let model = teacher?.model, let renumbering = teacher?.tokens.renumbering else {
            return try data.measuring(chosen)
        }
        return try LanguageBatches(measuring: chosen.read(by: renumbering, longest: model.maxPositions), pad: 0)
    }

    private func writer(_ rollouts: RolloutSpec, _ training: Training, for models: [any LanguageModel]) -> RolloutWriter
    {
        var sampling = rollouts.sampling
        sampling.seed = seed
        // No token ends a text: each is as long as it can be.
        return RolloutWriter(
            count: rollouts.count, sampling: sampling, ends: [], models: models, speakers: models, tokens: nil,
            rows: training.spec.microBatch ?? training.spec.batch)
    }

    private func source(
        _ rollouts: RolloutSpec?, _ training: Training, _ batches: LanguageBatches, student: any LanguageModel,
        teachers: [LanguageTeacher], on device: Device
    ) throws -> RolloutSource? {
        guard let rollouts else { return nil }
        let name = rollouts.teacher ?? training.terms.first { $0.objective.needs.wantsSignals }?.teachers.first
        let models = [student] + teachers.filter { !$0.isForeign }.compactMap(\.model)
        var heldOut: LanguageBatches?
        if case .replay = rollouts.kind { heldOut = try longest(of: training.corpus) }
        return RolloutSource(
            rollouts, writer(rollouts, training, for: models), student: student,
            teacher: teachers.first { $0.name == name }, data: batches, heldOut: heldOut, batch: training.spec.batch,
            chunk: training.spec.chunk, wantsSignals: training.terms.contains { $0.objective.needs.wantsSignals },
            on: device)
    }

    /// A batch of the teacher's texts, written before training.
    private func write(
        _ rollouts: RolloutSpec, _ training: Training, _ batches: LanguageBatches, by teacher: any LanguageModel
    ) throws {
        let writer = writer(rollouts, training, for: [teacher])
        let prompts = (0..<min(writer.rows, batches.corpus.count)).map {
            RolloutText.prompt(of: batches.corpus.example($0), least: rollouts.promptTokens)
        }
        _ = try writer.answers(to: prompts, by: teacher, numbers: Array(prompts.indices))
    }

    /// The answers to the longest prompts, as they are measured after training.
    private func answer(_ answers: AnswerSpec, _ model: any LanguageModel) throws {
        let lengths = data.test.asked.promptLengths(least: answers.promptTokens)
        let order = lengths.indices.sorted { (lengths[$1], $0) < (lengths[$0], $1) }
        let prompts = order.prefix(WrittenAnswers.rows).map {
            RolloutText.prompt(of: data.test.asked.example($0), least: answers.promptTokens)
        }
        _ = try model.generate(Array(prompts), WritingOptions(count: answers.count))
    }
}

extension TokenizedCorpus {
    /// Tokens of each example's prompt.
    fileprivate func promptLengths(least: Int) -> [Int] {
        (0..<count).map { RolloutText.prompt(of: example($0), least: least).count }
    }
}

extension LanguageRecipe {
    func plan(on device: Device) throws -> RunPlan {
        try checkData()
        let rates = try DeviceRates(measuring: device.compute)
        let plan = try LanguagePlan(self, on: device, rates)
        return RunPlan(
            try plan.roles(), seeds: seeds.count, on: device, rates, findings: plan.findings,
            remedy: """
                Go through a batch in parts (train.micro-batch), make it smaller (train.batch), cut texts (data.max-length),
                compute blocks again in backward (train.activation-checkpointing), train adapters alone (student.lora), or keep the
                teacher's predictions (retort cache).
                """)
    }
}
