import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// One arm and seed while it is trained: what a scheme works with.
public final class ArmSession {
    /// The arm's name, or "teacher".
    let role: String
    let seed: UInt64
    /// The recipe's teacher; nil when this arm looks at none.
    public let teacher: (any Teacher)?
    private let spec: ModelSpec
    private let task: ClassificationTask
    private let terms: [ArmTerm]
    private let training: TrainSpec
    private let initialSeed: UInt64
    private let data: DeviceRows
    private let test: DeviceRows
    private let device: Device
    private let report: (CurvePoint, String, Int) throws -> Void

    /// Points of the last fit that counts.
    private(set) var curve: [CurvePoint] = []
    /// Device memory at the worst moment of training, bytes.
    private(set) var peakBytes = 0
    private(set) var steps = 0
    /// Microseconds of a training step: the median epoch's.
    private(set) var stepMicroseconds = 0.0
    /// What the losses trained beside the student in the last fit.
    private(set) var projectors: ProjectorSet?

    /// - Parameters:
    ///   - initialSeed: what the student's weights start from: the seed alone, so that every arm starts from the same student.
    ///   - report: called after each epoch with the point (accuracy only where it was measured), the label and the number of epochs.
    init(
        role: String, seed: UInt64, initialSeed: UInt64, model: ModelSpec, task: ClassificationTask, terms: [ArmTerm],
        training: TrainSpec, teacher: (any Teacher)?, data: DeviceRows, test: DeviceRows, device: Device,
        report: @escaping (CurvePoint, String, Int) throws -> Void
    ) {
        self.role = role
        self.seed = seed
        self.initialSeed = initialSeed
        spec = model
        self.task = task
        self.terms = terms
        self.training = training
        self.teacher = teacher
        self.data = data
        self.test = test
        self.device = device
        self.report = report
    }

    /// A fresh student on the device. Number 0 starts as in every other arm of the seed; the others from weights of their own.
    public func student(number: Int = 0) throws -> (model: any Model, arena: ParameterArena) {
        let model = try spec.make(for: task, who: role == "teacher" ? "teacher" : "student")
        let start =
            number == 0
            ? initialSeed : UInt64(Philox(seed: initialSeed, stream: Philox.stream("peer")).word(UInt64(number)))
        return (model, try model.materialize(on: device, seed: start))
    }

    /// A trainer with the arm's losses.
    public func trainer(
        _ model: any Model, _ arena: ParameterArena, teacher: (any Teacher)?, hasPeers: Bool = false, hidden: Float = 0
    ) throws -> Trainer {
        try Trainer(
            model, arena,
            goal: .init(terms, teacher: teacher, name: role, hasPeers: hasPeers, hidden: hidden), data: data,
            spec: training, seed: seed, on: device)
    }

    /// Trains for the epochs of the recipe and measures now and then.
    /// - `label`: tells the parts of a longer training apart in the log.
    /// - `isLast`: whether this is the training whose curve is kept.
    public func fit(_ trainer: any EpochTrainer, label: String = "", isLast: Bool = true) throws {
        // Where the test set is large beside the training, measuring is to cost no more than training.
        let affordable = 3 * Double(data.rows) * Double(training.epochs) / Double(max(1, test.rows))
        let progress = try TrainingCurve(
            epochs: training.epochs, points: affordable, on: device, epoch: { try trainer.epoch($0) },
            step: { trainer.step }, measure: { try Evaluation(trainer.model, test, on: device).accuracy },
            report: { try report($0, label, training.epochs) })
        peakBytes = max(peakBytes, progress.peakBytes)
        steps += trainer.step
        stepMicroseconds = progress.stepMicroseconds
        if isLast {
            curve = progress.points
            projectors = trainer.projectors
        }
    }
}
