import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Trains one language model on the tokens of examples. The mean is taken over all valid tokens of a batch, whatever parts it is gone
/// through in: a token weighs the same in a short and in a long example.
final class LanguageTrainer {
    let model: any LanguageModel
    private let optimizer: any Optimizer
    private let terms: [LanguageArmTerm]
    private let teacher: (any LanguageModel)?
    private let cache: TeacherCache?
    private let data: LanguageBatches
    private let device: Device
    private let spec: LanguageTrainSpec
    private let schedule: Schedule
    private let seed: UInt64
    private let order: EpochOrder
    private var progress: TrainingProgress
    /// The epoch in progress, and its steps that are taken.
    private var epoch: (rows: LanguageEpoch, taken: Int)
    /// Tokens that were predicted.
    private(set) var tokens = 0

    /// Optimizer steps taken.
    var step: Int { progress.step }
    /// Steps of the whole training.
    let steps: Int

    /// - Parameters:
    ///   - arena: the model's parameters, already placed.
    ///   - teacher: frozen; nil where no loss looks at one.
    ///   - cache: of a teacher that is not in memory.
    ///   - data: with the batch of `spec` and the seed of the run.
    ///   - seed: draws examples where they are drawn with replacement.
    init(
        _ model: any LanguageModel, _ arena: ParameterArena, terms: [LanguageArmTerm], teacher: (any LanguageModel)?,
        cache: TeacherCache? = nil, data: LanguageBatches, spec: LanguageTrainSpec, seed: UInt64, on device: Device
    ) throws {
        self.model = model
        self.terms = terms
        self.teacher = teacher
        self.cache = cache
        self.data = data
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
        self.seed = seed
        order = EpochOrder(seed: seed)
        progress = TrainingProgress(epochs: epochs)
    }

    /// Some steps.
    /// - Returns: the loss of each.
    /// - Throws: `RetortError` 86 when a loss or a gradient is not finite; 75 when a signal asked to stop.
    func train(steps count: Int) throws -> [Float] {
        model.setTraining(true)
        let losses = try device.compute.empty([count], for: .data)
        for index in 0..<count {
            try learn(nextBatch(), lossInto: losses.slice(index..<(index + 1)))
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
        }
        let values: [Float] = try device.compute.read(losses)
        try RetortError.checkConvergence(values, skipped: try optimizer.nonFiniteSteps(), step: step)
        return values
    }

    /// Of the step to come: a function of the seed and the step alone.
    private func nextBatch() -> LanguageBatch {
        if epoch.taken == epoch.rows.steps { epoch = (data.epoch(epoch.rows.number + 1), 0) }
        progress.epoch = epoch.rows.number
        defer { epoch.taken += 1 }
        guard spec.drawsWithReplacement else { return epoch.rows.batch(epoch.taken) }
        let drawn = (step * spec.batch)..<((step + 1) * spec.batch)
        return data.batch(of: order.drawn(drawn, count: data.corpus.count))
    }

    private func learn(_ batch: LanguageBatch, lossInto slot: View) throws {
        let size = spec.microBatch ?? batch.rows
        let parts = stride(from: 0, to: batch.rows, by: size).map { batch.rows($0..<min(batch.rows, $0 + size)) }
        try backward(parts, lossInto: slot)
        try takeStep()
    }

    /// Loss and gradient of a batch that comes in parts.
    func backward(_ parts: [LanguageBatch], lossInto slot: View) throws {
        let targets = parts.reduce(0) { $0 + $1.targetCount }
        var firstSample = 0
        for (index, part) in parts.enumerated() {
            model.setDropout(.init(seed: seed, step: step, firstSample: firstSample))
            firstSample += part.rows
            let loss = try loss(of: part, targets: targets)
            try run(
                Copy(), .init(x: loss.view.reshaped([1]), y: Output(slot, index == 0 ? .write : .accumulate)),
                on: device.compute)
            if loss.needsGradient { try loss.backward() }
        }
        tokens += targets
    }

    func takeStep() throws {
        try optimizer.step(learningRate: Float(schedule.rate(step, base: spec.optimizer.learningRate)))
        progress.step += 1
    }

    /// The part's share of the loss of a batch with so many targets.
    private func loss(of batch: LanguageBatch, targets: Int) throws -> Tensor {
        let tokens = try TokenBatch(batch)
        let labels = try device.compute.view(batch.targets, [batch.targets.count], .i32)
        let weight = 1 / Float(max(1, targets))
        let weights = try device.compute.view(
            batch.targets.map { $0 == LanguageBatch.ignored ? 0 : weight }, [batch.targets.count])
        let counting = terms.map { ($0, Float($0.ramp.factor(progress))) }.filter { $0.1 != 0 }
        let hidden = try model.hidden(tokens).last
        let head = try model.head()
        let teaches = counting.contains { $0.0.objective.needsTeacher }
        let taught = try teaches ? predictions(batch, tokens) : nil
        let losses = try counting.map { term, factor in
            // The gradient goes where it belongs at once, unless the loss is still to be multiplied.
            let loss = try term.objective.tokenLoss(progress)(
                hidden, head, teacher: taught, labels: labels, weights: weights,
                gradient: factor == 1 ? .added : .held)
            return factor == 1 ? loss : try loss * factor
        }
        return losses.isEmpty ? try Tensor([0], [], on: device) : try Tensor.total(losses)
    }

    private func predictions(_ batch: LanguageBatch, _ tokens: TokenBatch) throws -> TokenTeacher? {
        if let cache { return .kept(try cache.predictions(batch, on: device)) }
        guard let teacher else { return nil }
        return .live(try Autograd.withoutGradients { try HeadLogits(teacher.hidden(tokens).last, teacher.head()) })
    }
}

extension TokenBatch {
    init(_ batch: LanguageBatch) throws {
        try self.init(batch.tokens, rows: batch.rows, valid: batch.valid, documents: batch.documents)
    }
}
