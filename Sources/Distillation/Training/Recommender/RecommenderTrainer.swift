import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Trains one recommender on the pairs of a split. The host draws the order of the pairs, what was not taken and the samples of the losses, all by
/// counters; every number of a step is computed on the device, and losses are read back once an epoch.
public final class RecommenderTrainer {
    public let model: any RecommenderModel
    public let projectors: ProjectorSet
    private let optimizer: any Optimizer
    private let terms: [(ramp: Ramp, term: any RecommenderTerm)]
    private let task: RecommenderTask
    private let device: Device
    private let schedule: Schedule
    private let learningRate: Double
    private let batch: Int
    private let order: EpochOrder
    private let unobserved: UnobservedItems
    private let userOfPair: [Int32]
    private var progress: TrainingProgress

    /// Optimizer steps taken.
    public var step: Int { progress.step }
    public var stepsPerEpoch: Int { (userOfPair.count + batch - 1) / batch }

    /// - `arena`: the model's parameters, already placed.
    /// - `teacher`: off the tape; nil without one.
    /// - `name`: the arm's: projectors are named after it.
    /// - Throws: `RetortError` 78 when a loss wants more items than there are.
    public init(
        _ model: any RecommenderModel, _ arena: ParameterArena, terms: [RecommenderArmTerm], teacher: EmbeddingTables?,
        name: String, spec: TrainSpec, seed: UInt64, on device: Device
    ) throws {
        self.model = model
        self.device = device
        task = model.task
        userOfPair = task.train.userOfPair
        batch = spec.batch
        learningRate = spec.optimizer.learningRate
        schedule = spec.schedule.make(
            epochs: spec.epochs, stepsPerEpoch: (userOfPair.count + spec.batch - 1) / spec.batch)
        optimizer = try spec.optimizer.make(arena, clip: spec.clip)
        order = EpochOrder(seed: seed)
        unobserved = UnobservedItems(task.train, items: task.items, seed: seed, purpose: "negatives")
        progress = TrainingProgress(epochs: spec.epochs)
        let dimension = model.dimension
        self.terms = try terms.enumerated().map { index, term in
            let context = RecommenderContext(
                task: model.task, teacher: teacher, studentDimension: dimension, name: "\(name).\(index)", seed: seed,
                device: device)
            return (term.ramp, try term.objective.term(context))
        }
        projectors = try ProjectorSet(
            self.terms.flatMap { $0.term.modules }, spec.optimizer, clip: spec.clip, seed: seed, on: device)
    }

    /// One pass over the pairs.
    /// - Returns: the loss of each step.
    /// - Throws: `RetortError` 86 when a loss or a gradient is not finite; 75 when a signal asked to stop.
    @discardableResult
    public func epoch(_ index: Int) throws -> [Float] {
        model.setTraining(true)
        projectors.setTraining(true)
        progress.epoch = index
        let current = try Autograd.withoutGradients { try model.tables() }.detached
        for (_, term) in terms { try term.beginEpoch(progress, student: current) }
        let pairs = device.dataTimes.counting(.preparing) {
            order.permutation(epoch: index, count: userOfPair.count)
        }
        let losses = try device.compute.empty([stepsPerEpoch], for: .data)
        try device.compute.forEachStep(stepsPerEpoch) { s in
            let chosen = pairs[(s * batch)..<min(pairs.count, (s + 1) * batch)]
            try learn(chosen, lossInto: losses.slice(s..<(s + 1)))
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
        }
        let values: [Float] = try device.compute.read(losses)
        try RetortError.checkConvergence(
            values, skipped: try optimizer.nonFiniteSteps() + projectors.nonFiniteSteps(), step: step)
        return values
    }

    private func learn(_ pairs: ArraySlice<Int32>, lossInto slot: View) throws {
        let (users, positives, negatives) = device.dataTimes.counting(.preparing) {
            let users = pairs.map { userOfPair[Int($0)] }
            // A pair's draw depends on the epoch and the pair, not on the batch it came in.
            let first = UInt64(progress.epoch) * UInt64(userOfPair.count)
            let negatives = zip(pairs, users).map { unobserved.draw($1, number: first + UInt64($0)) }
            return (users, pairs.map { task.train.items[Int($0)] }, negatives)
        }
        let input = RecommenderInput(
            student: try model.tables(), users: users, positives: positives, negatives: negatives, progress: progress)
        var weighted: [Tensor] = []
        for (ramp, term) in terms {
            let factor = Float(ramp.factor(progress))
            if factor != 0 { weighted.append(try term.loss(input) * factor) }
        }
        let total = try weighted.isEmpty ? Tensor([0], [], on: device) : Tensor.total(weighted)
        try run(Copy(), .init(x: total.view.reshaped([1]), y: .write(slot)), on: device.compute)
        if total.needsGradient { try total.backward() }
        let rate = Float(schedule.rate(step, base: learningRate))
        try optimizer.step(learningRate: rate)
        try projectors.step(learningRate: rate)
        progress.step += 1
    }
}

extension RecommenderTrainer: EpochResumable {
    /// Losses that keep something of their own, by name.
    private var lasting: [(name: String, part: any LastingPart)] {
        terms.enumerated().map { (name: "loss.\($0)", part: $1.term) }.lasting()
    }

    var state: TrainingState {
        var state = TrainingState()
        state.add(optimizer, as: "student")
        state.add(buffersOf: model, as: "student")
        projectors.describe(&state)
        for (name, part) in lasting { part.describe(&state, as: name) }
        state.set("step", .int(step))
        return state
    }

    /// - Throws: `RetortError` 65 for the state of another training.
    func resume(_ stored: StoredState) throws {
        try stored.fill(optimizer, with: "student")
        try stored.fill(buffersOf: model, with: "student", on: device.compute)
        try projectors.resume(stored)
        for (name, part) in lasting { try part.resume(stored, as: name, on: device.compute) }
        progress.step = try stored.facts.member("step").int(in: 0...1 << 53)
    }
}
