import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Labelled rows on a device.
public struct DeviceRows {
    /// `[rows, features]`.
    public let features: View
    /// Int32 `[rows]`.
    public let labels: View
    public var rows: Int { features.shape[0] }

    public init(_ data: TabularDataset, on device: Device) throws {
        features = try device.compute.view(data.features, [data.rows, data.columns])
        labels = try device.compute.view(data.labels, [data.rows], .i32)
    }

    /// Some rows by number: features `[ids, columns]` and their labels, int32 `[ids]`.
    public func batch(_ ids: View, on device: Device) throws -> (x: Tensor, labels: View) {
        let compute = device.compute
        let x = try compute.empty([ids.count, features.shape[1]])
        try run(Gather(), .init(table: features, ids: ids, y: x), on: compute)
        let chosen = try compute.empty([ids.count, 1], .i32)
        try run(Gather(), .init(table: labels.reshaped([rows, 1]), ids: ids, y: chosen), on: compute)
        return (Tensor(view: x, on: device), chosen.reshaped([ids.count]))
    }

    /// - Throws: `KernelError` for a row that is not there.
    public func batch(_ ids: [Int32], on device: Device) throws -> (x: Tensor, labels: View) {
        if let wrong = ids.first(where: { $0 < 0 || Int($0) >= rows }) {
            throw KernelError(.operands, "row \(wrong) of \(rows) rows")
        }
        return try batch(try device.compute.view(ids, [ids.count], .i32), on: device)
    }
}

/// Trains one model on rows that live on the device. The host runs the loop and draws the order of the rows; every number is
/// computed on the device, and read back once an epoch.
public final class Trainer {
    /// What a step adds up: losses, and the teacher they look at.
    public struct Goal {
        public let objectives: [any Objective]
        public let teacher: (any Model)?

        public init(_ objectives: [any Objective], teacher: (any Model)?) {
            self.objectives = objectives
            self.teacher = teacher
        }
    }

    public let model: any Model
    public let optimizer: any Optimizer
    private let goal: Goal
    private let data: DeviceRows
    private let device: Device
    private let schedule: Schedule
    private let learningRate: Double
    private let batch: Int
    private let order: Philox
    public private(set) var step = 0

    /// - Parameters:
    ///   - arena: the model's parameters, already placed.
    ///   - seed: draws the order of the rows, by epoch.
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
        model.isTraining = true
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
        let skipped = try optimizer.nonFiniteSteps()
        if skipped > 0 {
            throw diverged("\(skipped) steps of this epoch had a gradient that is not finite", step: step - 1)
        }
        return values
    }

    private func step(_ ids: View, lossInto slot: View) throws {
        let (x, labels) = try data.batch(ids, on: device)
        let teacher = try goal.teacher.map { teacher in try Autograd.withoutGradients { try teacher(x) } }
        let student = try model(x)
        let seen = ObjectiveInput(student: student, teacher: teacher, labels: labels)
        var total = try goal.objectives[0].loss(seen).total
        for objective in goal.objectives.dropFirst() { total = try total + objective.loss(seen).total }
        try run(Copy(), .init(x: total.view.reshaped([1]), y: .write(slot)), on: device.compute)
        try total.backward()
        try optimizer.step(learningRate: Float(schedule.rate(step, base: learningRate)))
        step += 1
    }

    private func diverged(_ what: String, step: Int) -> RetortError {
        .diverged(
            "training diverged: \(what)", why: "at step \(step + 1)",
            help: "lower the learning rate, clip the gradient (train.clip), or look for bad values in the data")
    }
}
