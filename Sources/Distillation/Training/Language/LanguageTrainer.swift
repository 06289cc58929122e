import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Trains one language model on the tokens of examples. The mean is taken over all valid tokens of a batch, whatever parts it is gone
/// through in: a token weighs the same in a short and in a long example, unless a loss says another `reduction`.
final class LanguageTrainer {
    let model: any LanguageModel
    private let arena: ParameterArena
    private let optimizer: any Optimizer
    private let loss: LanguageLoss
    private let teachers: [LanguageTeacher]
    /// What losses train beside the student.
    let projectors: ProjectorSet
    private let data: LanguageBatches
    /// What a model writes for it; nil where it learns from the data alone.
    private let rollouts: RolloutSource?
    /// Rows of plain text for losses that want it.
    private let plain: LanguageBatches?
    private let device: Device
    private let spec: LanguageTrainSpec
    private let schedule: Schedule
    private let seed: UInt64
    private let order: EpochOrder
    private var progress: TrainingProgress
    /// The epoch in progress, and its steps that are taken.
    private var epoch: (rows: LanguageEpoch, taken: Int)
    private var plainEpoch: LanguageEpoch?
    /// Tokens that were predicted.
    private(set) var tokens = 0

    /// Optimizer steps taken.
    var step: Int { progress.step }
    /// Steps of the whole training.
    let steps: Int

    /// - Parameters:
    ///   - arena: the model's parameters, already placed.
    ///   - teachers: those that losses look at by their names, and perhaps others.
    ///   - data: with the batch of `spec` and the seed of the run.
    ///   - rollouts: gives steps texts that a model wrote.
    ///   - plain: with the batch of `spec`; needed by losses of plain text.
    ///   - name: of the arm: projectors are named after it.
    ///   - seed: draws examples where they are drawn with replacement, and starts projectors.
    init(
        _ model: any LanguageModel, _ arena: ParameterArena, terms: [LanguageArmTerm], teachers: [LanguageTeacher],
        data: LanguageBatches, rollouts: RolloutSource? = nil,
        plain: LanguageBatches? = nil, spec: LanguageTrainSpec, name: String = "arm", seed: UInt64, on device: Device
    ) throws {
        self.model = model
        self.arena = arena
        model.checkpointsActivations = spec.checkpointsActivations
        loss = try LanguageLoss(
            model, terms, teachers: teachers, name: name, rows: spec.microBatch.map { 2 * $0 }, chunk: spec.chunk,
            on: device)
        self.teachers = teachers
        projectors = try ProjectorSet(loss.modules, spec.optimizer, clip: spec.clip, seed: seed, on: device)
        self.data = data
        self.rollouts = rollouts
        self.plain = plain
        self.spec = spec
        self.device = device
        epoch = (data.epoch(0), 0)
        let stepsPerEpoch = epoch.rows.steps
        let epochs: Int
        switch spec.length {
        case .epochs(let count):
            // Packed rows may be more in one order than in another.
            steps =
                data.packing == .none
                ? count * stepsPerEpoch : (0..<count).reduce(0) { $0 + data.epoch($1).steps }
            epochs = count
        case .steps(let count):
            steps = count
            epochs = (count + stepsPerEpoch - 1) / stepsPerEpoch
        }
        schedule = spec.schedule.make(steps: steps, stepsPerEpoch: stepsPerEpoch)
        optimizer = try spec.optimizer.make(arena, clip: spec.clip)
        // What adapters adapt is stored in bf16 already; they themselves are small.
        if spec.dtype == .bf16, model.parameters.contains(where: \.isTrainable) { try arena.keepWorkingCopy() }
        self.seed = seed
        order = EpochOrder(seed: seed)
        progress = TrainingProgress(epochs: epochs, steps: steps)
    }

    /// Some steps, fewer when a signal asked to stop, or something else does.
    /// - Parameter isEnough: asked after each step.
    /// - Returns: the loss of each that was taken.
    /// - Throws: `RetortError` 86 when a loss or a gradient is not finite.
    func train(steps count: Int, until isEnough: () -> Bool = { false }) throws -> [Float] {
        let losses = try device.compute.empty([count], for: .data)
        var taken = 0
        while taken < count, let texts = try textsUnlessStopped() {
            try learn(texts, lossInto: losses.slice(taken..<(taken + 1)))
            taken += 1
            if StopSignal.isRequested || isEnough() { break }
        }
        guard taken > 0 else { return [] }
        let values: [Float] = try device.compute.read(losses.slice(0..<taken))
        try RetortError.checkConvergence(
            values, skipped: try optimizer.nonFiniteSteps() + projectors.nonFiniteSteps(), step: step)
        return values
    }

    /// What one step learns from, and the losses that look at it.
    private struct StepTexts {
        let texts: RolloutBatch
        let terms: [LanguageLoss.Term]
    }

    /// Of the step to come: a function of the seed, the step and, where the student writes, its weights.
    private func nextTexts() throws -> [StepTexts] {
        let batch = device.dataTimes.counting(.preparing) { nextBatch() }
        let written = try rollouts?.texts(
            step: step, progress: Double(step) / Double(max(1, steps)), examples: batch.examples)
        // Who writes does so without dropout.
        model.setTraining(true)
        var all: [StepTexts] = []
        func learn(_ texts: RolloutBatch, _ places: Set<TermTexts>) {
            all.append(StepTexts(texts: texts, terms: loss.terms.filter { places.contains($0.spec.texts) }))
        }
        let own = RolloutBatch(batch.rows)
        if let written {
            learn(written, [.step])
            learn(own, [.data])
        } else {
            learn(own, [.step, .data])
        }
        if let rows = plainRows() { learn(RolloutBatch(rows), [.plain]) }
        return all.filter { !$0.terms.isEmpty }
    }

    /// Of the step to come; nil where a signal asked to stop while they were written or looked for: then nothing has happened.
    private func textsUnlessStopped() throws -> [StepTexts]? {
        let (place, memory) = (epoch, rollouts?.memory)
        do {
            return try nextTexts()
        } catch let error as RetortError where error.exit == .stopped {
            epoch = place
            if let memory { rollouts?.memory = memory }
            return nil
        }
    }

    /// Of the data, with the numbers of the examples.
    private func nextBatch() -> (rows: LanguageBatch, examples: [Int32]) {
        if epoch.taken == epoch.rows.steps { epoch = (data.epoch(epoch.rows.number + 1), 0) }
        progress.epoch = epoch.rows.number
        defer { epoch.taken += 1 }
        guard spec.drawsWithReplacement else {
            return (epoch.rows.batch(epoch.taken), epoch.rows.examples(epoch.taken))
        }
        let drawn = data.corpus.members(
            of: order.drawn((step * spec.batch)..<((step + 1) * spec.batch), count: data.corpus.groups))
        return (data.batch(of: drawn, firstSample: step * spec.batch), drawn)
    }

    private func plainRows() -> LanguageBatch? {
        guard let plain, loss.terms.contains(where: { $0.spec.texts == .plain }) else { return nil }
        return device.dataTimes.counting(.preparing) {
            let place = plain.position(afterSteps: step)
            let epoch = plainEpoch.flatMap { $0.number == place.epoch ? $0 : nil } ?? plain.epoch(place.epoch)
            plainEpoch = epoch
            return epoch.batch(place.step)
        }
    }

    private func learn(_ texts: [StepTexts], lossInto slot: View) throws {
        var isFirst = true
        for one in texts {
            // Two answers to a prompt stay together.
            let group = one.terms.contains { $0.spec.objective.needs == .answers } ? 2 : 1
            let (batch, size) = (one.texts, spec.microBatch.map { $0 * group } ?? one.texts.batch.rows)
            var whole = batch
            for term in one.terms {
                if let advantage = try term.loss.advantages(of: batch, progress) {
                    whole.signals?.advantage = advantage
                }
            }
            // Whoever looks at the batch before does so without dropout.
            model.setTraining(true)
            let parts = stride(from: 0, to: batch.batch.rows, by: size).map {
                whole.rows($0..<min(batch.batch.rows, $0 + size))
            }
            try backward(parts, one.terms, adding: !isFirst, lossInto: slot)
            isFirst = false
        }
        try takeStep()
    }

    /// Loss and gradient of a batch of the data that comes in parts.
    func backward(_ parts: [LanguageBatch], lossInto slot: View) throws {
        try backward(parts.map { RolloutBatch($0) }, loss.terms, adding: false, lossInto: slot)
    }

    /// Loss and gradient of a batch that comes in parts.
    /// - Parameter adding: to a loss that is there.
    private func backward(_ parts: [RolloutBatch], _ terms: [LanguageLoss.Term], adding: Bool, lossInto slot: View)
        throws
    {
        guard spec.dtype == .bf16 else { return try accumulate(parts, terms, adding: adding, lossInto: slot) }
        try arena.refreshWorkingCopy()
        try model.withReducedPrecision { try accumulate(parts, terms, adding: adding, lossInto: slot) }
    }

    private func accumulate(_ parts: [RolloutBatch], _ terms: [LanguageLoss.Term], adding: Bool, lossInto slot: View)
        throws
    {
        let targets = parts.reduce(0) { $0 + $1.batch.targetCount }
        let size = parts.reduce(0) { $0 + $1.batch.tokenCount }
        let (pairs, sequences) = (PairedSize(parts.map(\.batch)), SequenceCount(parts.map(\.batch)))
        var firstSample = 0
        for (index, part) in parts.enumerated() {
            model.setDropout(.init(seed: seed, step: step, firstSample: firstSample))
            firstSample += part.batch.rows
            let loss = try self.loss(
                part, terms, targets: targets, of: size, pairs: pairs, sequences: sequences, progress)
            try run(
                Copy(),
                .init(x: loss.view.reshaped([1]), y: Output(slot, index == 0 && !adding ? .write : .accumulate)),
                on: device.compute)
            if loss.needsGradient { try loss.backward() }
        }
        tokens += targets
    }

    func takeStep() throws {
        let rate = Float(schedule.rate(step, base: spec.optimizer.learningRate))
        try optimizer.step(learningRate: rate)
        try projectors.step(learningRate: rate)
        for teacher in teachers { try teacher.afterStep() }
        progress.step += 1
    }
}

extension LanguageTrainer: SteppedTrainer {
    /// What the next step depends on.
    var state: TrainingState {
        var state = TrainingState()
        state.add(optimizer, as: "student")
        projectors.describe(&state)
        for teacher in teachers { if let moving = teacher.moving { state.add("teacher", moving) } }
        state.set("step", .int(progress.step))
        state.set("tokens", .int(tokens))
        state.set("epoch", .int(epoch.rows.number))
        state.set("taken", .int(epoch.taken))
        if let rollouts { state.set("rollouts", rollouts.state) }
        for (number, term) in loss.terms.enumerated() {
            if let own = term.loss.state { state.set("loss.\(number)", own) }
        }
        return state
    }

    /// Goes on from there.
    /// - Throws: `RetortError` 65 for the state of another training.
    func resume(_ stored: StoredState) throws {
        let facts = stored.facts
        try stored.fill(optimizer, with: "student")
        try projectors.resume(stored)
        for teacher in teachers {
            if let moving = teacher.moving { try stored.fill(moving, with: "teacher", on: device.compute) }
        }
        progress.step = try facts.member("step").int(in: 0...steps)
        tokens = try facts.member("tokens").int(in: 0...1 << 53)
        let rows = data.epoch(try facts.member("epoch").int(in: 0...1 << 40))
        epoch = (rows, try facts.member("taken").int(in: 0...rows.steps))
        try rollouts?.resume(facts.member("rollouts"))
        for (number, term) in loss.terms.enumerated() {
            if let own = try facts.optional("loss.\(number)") { try term.loss.resume(own) }
        }
    }
}

extension TokenBatch {
    init(_ batch: LanguageBatch) throws {
        try self.init(batch.tokens, rows: batch.rows, valid: batch.valid, documents: batch.documents)
    }
}
