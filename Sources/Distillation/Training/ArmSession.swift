import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// One arm and seed while it is trained: what a scheme works with.
public final class ArmSession {
    /// The arm's name, or the teacher's role.
    let role: String
    let seed: UInt64
    /// The recipe's teacher; nil when this arm looks at none.
    public let teacher: (any Teacher)?
    let spec: ModelSpec
    let task: ClassificationTask
    let terms: [ArmTerm]
    private let balance: LossBalance
    /// What the student sees of an example.
    let view: InputView
    let training: TrainSpec
    private let initialSeed: UInt64
    let data: DeviceRows
    let test: DeviceRows
    let device: Device
    private let report: (EpochReport) throws -> Void
    /// Writes a line into the log.
    let note: (String) throws -> Void
    /// nil for a training that nobody stops.
    private let place: CheckpointPlace?
    /// What is trained now.
    private var current: EpochTraining?

    /// Points of the last fit that counts.
    private(set) var curve: [CurvePoint] = []
    /// Device memory at the worst moment of a training step, bytes.
    private(set) var peakBytes = 0
    /// Device memory in the pass that took most.
    private(set) var memory = MemoryReport()
    private(set) var steps = 0
    /// Steps of whole trainings, also where only some of them were taken.
    private(set) var plannedSteps = 0
    /// Microseconds of a training step: the median epoch's.
    private(set) var stepMicroseconds = 0.0
    /// What the losses trained beside the student in the last fit.
    private(set) var projectors: ProjectorSet?
    /// What balancing multiplied each loss by at the end of the last fit; empty without it.
    private(set) var finalBalance: [Double] = []
    /// Of the last fit, where what its losses train beside the student measures it.
    private var trained: Trainer?
    /// Others that a scheme trained beside the student, to be kept too.
    var peers: [any Model] = []
    /// What a scheme measured of its own.
    var metrics: [Metric: Double] = [:]

    /// - Parameters:
    ///   - initialSeed: what the student's weights start from: the seed alone, so that every arm starts from the same student.
    ///   - report: called after each epoch; accuracy only where it was measured.
    ///   - note: writes a line into the log.
    ///   - place: where the training is written down.
    init(
        role: String, seed: UInt64, initialSeed: UInt64, model: ModelSpec, task: ClassificationTask, terms: [ArmTerm],
        balance: LossBalance, view: InputView, training: TrainSpec, teacher: (any Teacher)?, data: DeviceRows,
        test: DeviceRows, device: Device, report: @escaping (EpochReport) throws -> Void,
        note: @escaping (String) throws -> Void, place: CheckpointPlace? = nil
    ) {
        self.role = role
        self.seed = seed
        self.initialSeed = initialSeed
        spec = model
        self.task = task
        self.terms = terms
        self.balance = balance
        self.view = view
        self.training = training
        self.teacher = teacher
        self.data = data
        self.test = test
        self.device = device
        self.report = report
        self.note = note
        self.place = place
    }

    /// A fresh student on the device. Number 0 starts as in every other arm of the seed; the others from weights of their own.
    /// - `spec`: another architecture than the student's.
    public func student(number: Int = 0, _ spec: ModelSpec? = nil) throws -> (model: any Model, arena: ParameterArena) {
        let model = try (spec ?? self.spec).make(for: task, who: Role.isTeacher(role) ? "teacher" : "student")
        let start =
            number == 0
            ? initialSeed : UInt64(Philox(seed: initialSeed, stream: Philox.stream("peer")).word(UInt64(number)))
        return (model, try model.materialize(on: device, seed: start))
    }

    /// A trainer with the arm's losses.
    public func trainer(
        _ model: any Model, _ arena: ParameterArena, teacher: (any Teacher)?, peers: [any Model] = [], hidden: Float = 0
    ) throws -> Trainer {
        try Trainer(
            model, arena,
            goal: .init(
                terms, teacher: teacher, name: role, peers: peers, hidden: hidden, balance: balance, view: view),
            data: data,
            spec: training, seed: seed, on: device)
    }

    /// Trains for the epochs of the recipe and measures now and then.
    /// - `generation`: of several trainings that follow each other, which one this is; nil: the last, or the only one, whose curve is kept.
    /// - `rounds`: how often the trainer is called, when it takes several epochs at once; nil: for each epoch.
    public func fit(
        _ trainer: any EpochTrainer, generation: Int? = nil,
        rounds: (count: Int, epochs: Int)? = nil
    ) throws {
        let (count, length) = rounds ?? (training.epochs, 1)
        // Where the test set is large beside the training, measuring is to cost no more than training.
        let affordable = 3 * Double(data.rows) * Double(count * length) / Double(max(1, test.rows))
        let progress = try EpochTraining(
            trainer as? any EpochResumable, place?.checkpoints(generation.map { "generation-\($0)." } ?? ""),
            on: device)
        current = progress
        if progress.curve.passes < count {
            try place?.forget(generation, progress.curve.points.count)
            if progress.goesOn {
                try note(
                    "goes on " + (generation.map { "with generation \($0) " } ?? "")
                        + "from epoch \(progress.curve.passes * length + 1)"
                )
            }
        }
        try progress.train(
            passes: count, epoch: { $0 * length },
            kind: { pass in
                (pass * length..<(pass + 1) * length).flatMap { self.lossesCounting(in: $0, of: count * length) }
            }, points: affordable, pass: { try trainer.epoch($0) }, step: { trainer.step },
            measure: { try Evaluation(trainer.model, test, seeing: view, on: device).accuracy },
            report: {
                try report(EpochReport(point: $0, generation: generation, epochs: count * length, facts: trainer.facts))
            })
        // A later generation that is stopped does not begin again with the first.
        if generation != nil { try progress.writeDown() }
        let curve = progress.curve
        peakBytes = max(peakBytes, curve.peakBytes)
        if curve.memory.peak > memory.peak { memory = curve.memory }
        steps += trainer.step
        plannedSteps += curve.steps
        stepMicroseconds = curve.stepMicroseconds
        if generation == nil {
            self.curve = curve.points
            projectors = trainer.projectors
            finalBalance = try trainer.balance()
            trained = trainer as? Trainer
        }
    }
}

extension ArmSession {
    /// Share of the test rows whose nearest teacher's embedding is their own, by the student as it is now; nil where no loss has embeddings
    /// of both.
    func retrieval() throws -> Double? { try trained?.retrieval(test) }

    /// Keeps what is finished, of a training that a signal stopped.
    /// - Returns: what to end with.
    /// - Throws: `RetortError` 73 or 74.
    func stopped() throws -> RetortError {
        try current?.stopped(role) ?? RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")")
    }

    /// Which losses count in an epoch, wholly (1), in part (0.5) or not at all (0), and the stage that each is in: what a step needs memory for
    /// goes by that.
    private func lossesCounting(in epoch: Int, of epochs: Int) -> [Double] {
        let progress = TrainingProgress(epoch: epoch, epochs: epochs)
        return terms.map { term in
            let factor = term.ramp.factor(progress)
            return factor == 0 ? 0 : Double(term.objective.stage(progress)) + (factor == 1 ? 1 : 0.5)
        }
    }
}

/// One epoch of a training, or a round of several.
struct EpochReport {
    let point: CurvePoint
    /// Of several trainings that follow each other, the last excepted.
    let generation: Int?
    /// Of the whole training.
    let epochs: Int
    /// Numbers of the trainer's own for metrics.jsonl.
    let facts: [(key: String, value: Double)]
}
