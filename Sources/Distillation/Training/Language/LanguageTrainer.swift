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
    private let data: any TokenExamples
    private let device: Device
    private let spec: LanguageTrainSpec
    private let schedule: Schedule
    private let seed: UInt64
    private let order: EpochOrder
    private var progress: TrainingProgress
    /// The order of the epoch in progress.
    private var current: (epoch: Int, examples: [Int32])?
    /// Tokens that were predicted.
    private(set) var tokens = 0

    /// Optimizer steps taken.
    var step: Int { progress.step }
    let stepsPerEpoch: Int
    /// Steps of the whole training.
    let steps: Int

    /// - Parameters:
    ///   - arena: the model's parameters, already placed.
    ///   - teacher: frozen; nil where no loss looks at one.
    ///   - seed: draws the order of the examples.
    init(
        _ model: any LanguageModel, _ arena: ParameterArena, terms: [LanguageArmTerm], teacher: (any LanguageModel)?,
        data: any TokenExamples, spec: LanguageTrainSpec, seed: UInt64, on device: Device
    ) throws {
        self.model = model
        self.terms = terms
        self.teacher = teacher
        self.data = data
        self.spec = spec
        self.device = device
        stepsPerEpoch = (data.count + spec.batch - 1) / spec.batch
        steps = spec.length.steps(perEpoch: stepsPerEpoch)
        schedule = spec.schedule.make(steps: steps, stepsPerEpoch: stepsPerEpoch)
        optimizer = try spec.optimizer.make(arena, clip: spec.clip)
        self.seed = seed
        order = EpochOrder(seed: seed)
        progress = TrainingProgress(epochs: (steps + stepsPerEpoch - 1) / stepsPerEpoch)
    }

    /// Some steps.
    /// - Returns: the loss of each.
    /// - Throws: `RetortError` 86 when a loss or a gradient is not finite; 75 when a signal asked to stop.
    func train(steps count: Int) throws -> [Float] {
        model.setTraining(true)
        let losses = try device.compute.empty([count], for: .data)
        for index in 0..<count {
            progress.epoch = step / stepsPerEpoch
            try learn(nextExamples().map(Int.init), lossInto: losses.slice(index..<(index + 1)))
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
        }
        let values: [Float] = try device.compute.read(losses)
        try RetortError.checkConvergence(values, skipped: try optimizer.nonFiniteSteps(), step: step)
        return values
    }

    /// Of the step to come: a function of the seed and the step alone.
    private func nextExamples() -> ArraySlice<Int32> {
        guard !spec.drawsWithReplacement else {
            return order.drawn((step * spec.batch)..<((step + 1) * spec.batch), count: data.count)[...]
        }
        let start = step % stepsPerEpoch * spec.batch
        return examples(of: progress.epoch)[start..<min(data.count, start + spec.batch)]
    }

    private func examples(of epoch: Int) -> [Int32] {
        if let current, current.epoch == epoch { return current.examples }
        let examples = order.permutation(epoch: epoch, count: data.count)
        current = (epoch, examples)
        return examples
    }

    private func learn(_ numbers: [Int], lossInto slot: View) throws {
        let size = spec.microBatch ?? spec.batch
        let parts = try stride(from: 0, to: numbers.count, by: size).map {
            try data.batch(numbers[$0..<min(numbers.count, $0 + size)])
        }
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
        let answer = try model.forward(tokens).logits
        let logits = try answer.reshaped([batch.targets.count, model.vocabulary])
        let taught = try teacher.flatMap { teacher in
            try counting.contains { $0.0.objective.needsTeacher }
                ? Autograd.withoutGradients {
                    try teacher.forward(tokens).logits.view.reshaped([batch.targets.count, model.vocabulary])
                } : nil
        }
        let losses = try counting.map { term, factor in
            let loss = try term.objective.tokenLoss(progress)(logits, teacher: taught, labels: labels, weights: weights)
            return factor == 1 ? loss : try loss * factor
        }
        return losses.isEmpty ? try Tensor([0], [], on: device) : try Tensor.total(losses)
    }
}

extension TokenBatch {
    init(_ batch: LanguageBatch) throws { try self.init(batch.tokens, rows: batch.rows, valid: batch.valid) }
}
