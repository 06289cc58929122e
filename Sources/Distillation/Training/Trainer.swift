import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Trains one model on rows that live on the device. The host runs the loop and draws the order of the rows; every number is
/// computed on the device, and read back once an epoch.
public final class Trainer {
    /// What a step adds up: losses, and the teacher they look at.
    public struct Goal {
        public let terms: [ArmTerm]
        public let teacher: (any Teacher)?
        /// The arm's name: projectors are named after it.
        public let name: String

        public init(_ terms: [ArmTerm], teacher: (any Teacher)?, name: String = "student") {
            self.terms = terms
            self.teacher = teacher
            self.name = name
        }

        /// Losses without ramps and at most one model that teaches.
        public init(_ objectives: [any Objective], teacher: (any Model)?) {
            self.init(objectives.map { ArmTerm($0) }, teacher: teacher.map { LocalTeacher($0) })
        }
    }

    public let model: any Model
    public let optimizer: any Optimizer
    /// What the losses train beside the student.
    public let projectors: ProjectorSet
    private let goal: Goal
    private let terms: [(ramp: Ramp, term: any ObjectiveTerm)]
    private let request: SignalRequest
    private let data: DeviceRows
    private let device: Device
    private let schedule: Schedule
    private let learningRate: Double
    private let batch: Int
    private let order: Philox
    private var progress: TrainingProgress

    /// Optimizer steps taken.
    public var step: Int { progress.step }

    /// - Parameters:
    ///   - arena: the model's parameters, already placed.
    ///   - seed: draws the order of the rows, by epoch, and starts projectors.
    /// - Throws: `RetortError` 78 when a loss asks for what the models cannot show.
    public init(
        _ model: any Model, _ arena: ParameterArena, goal: Goal, data: DeviceRows, spec: TrainSpec, seed: UInt64,
        on device: Device
    ) throws {
        self.model = model
        self.goal = goal
        self.data = data
        self.device = device
        batch = spec.batch
        schedule = spec.schedule(steps: spec.epochs * ((data.rows + spec.batch - 1) / spec.batch))
        learningRate = spec.optimizer.learningRate
        optimizer = try spec.optimizer.make(arena, clip: spec.clip)
        order = Philox(seed: seed, stream: Philox.stream("order"))
        progress = TrainingProgress(epochs: spec.epochs)
        let prepared = try TermBuilder(model, goal: goal, data: data, seed: seed, on: device)
        request = prepared.request
        terms = try zip(goal.terms, prepared.build()).map { ($0.ramp, $1) }
        projectors = try ProjectorSet(terms.flatMap { $0.term.modules }, spec: spec, seed: seed, on: device)
    }

    public var stepsPerEpoch: Int { (data.rows + batch - 1) / batch }

    /// The order of the rows in an epoch: a function of the seed and the epoch alone.
    func permutation(epoch: Int) -> [Int32] {
        Philox(
            seed: UInt64(order.word(UInt64(epoch))) << 32 | UInt64(order.word(UInt64(epoch) + (1 << 40))),
            stream: Philox.stream("shuffle")
        ).permutation(data.rows)
    }

    /// One pass over the rows.
    /// - Parameter order: the rows' order; nil draws it.
    /// - Returns: the loss of each step.
    /// - Throws: `RetortError` 86 when a loss or a gradient is not finite; 75 when a signal asked to stop.
    @discardableResult
    public func epoch(_ index: Int, order: [Int32]? = nil) throws -> [Float] {
        model.setTraining(true)
        projectors.setTraining(true)
        progress.epoch = index
        let rows = try device.compute.view(order ?? permutation(epoch: index), [data.rows], .i32)
        let losses = try device.compute.empty([stepsPerEpoch], for: .data)
        for s in 0..<stepsPerEpoch {
            let ids = rows.slice((s * batch)..<min(data.rows, (s + 1) * batch))
            try step(ids, lossInto: losses.slice(s..<(s + 1)))
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
        }
        let values: [Float] = try device.compute.read(losses)
        if let bad = values.firstIndex(where: { !$0.isFinite }) {
            throw diverged("the loss is \(values[bad])", step: step - stepsPerEpoch + bad)
        }
        let skipped = try optimizer.nonFiniteSteps() + projectors.nonFiniteSteps()
        if skipped > 0 {
            throw diverged("\(skipped) steps of this epoch had a gradient that is not finite", step: step - 1)
        }
        return values
    }

    private func step(_ ids: View, lossInto slot: View) throws {
        let (x, labels) = try data.batch(ids, on: device)
        let input = ObjectiveInput(
            student: try model.forward(x, capturing: request.student),
            teachers: try goal.teacher?.answer(x, capturing: request.teacher) ?? [], labels: labels, ids: ids,
            progress: progress)
        let total = try totalLoss(input)
        try run(Copy(), .init(x: total.view.reshaped([1]), y: .write(slot)), on: device.compute)
        if total.needsGradient { try total.backward() }
        let rate = Float(schedule.rate(step, base: learningRate))
        try optimizer.step(learningRate: rate)
        try projectors.step(learningRate: rate)
        progress.step += 1
        for (_, term) in terms { try term.afterStep(input) }
        try goal.teacher?.afterStep()
    }

    /// The sum of all terms that count in this epoch.
    private func totalLoss(_ input: ObjectiveInput) throws -> Tensor {
        var total: Tensor?
        for (ramp, term) in terms {
            let factor = Float(ramp.factor(progress))
            guard factor != 0 else { continue }
            var loss = try term.loss(input)
            if factor != 1 { loss = try loss * factor }
            total = try total.map { try $0 + loss } ?? loss
        }
        return try total ?? Tensor([0], [], on: device)
    }

    private func diverged(_ what: String, step: Int) -> RetortError {
        .diverged(
            "training diverged: \(what)", why: "at step \(step + 1)",
            help: "lower the learning rate, clip the gradient (train.clip), or look for bad values in the data")
    }
}
