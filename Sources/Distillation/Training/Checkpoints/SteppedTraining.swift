import RetortRuntime
import RetortSupport

/// Something that can stop behind any of its steps, and go on from there.
protocol SteppedTrainer: AnyObject {
    /// Optimizer steps taken.
    var step: Int { get }
    /// Steps of the whole training.
    var steps: Int { get }
    /// Some steps, fewer when a signal asked to stop, or something else does.
    /// - Parameter isEnough: asked after each step.
    /// - Returns: the loss of each that was taken.
    func train(steps count: Int, until isEnough: () -> Bool) throws -> [Float]
    /// What the next step depends on.
    var state: TrainingState { get }
    /// - Throws: `RetortError` 65 for the state of another training.
    func resume(_ stored: StoredState) throws
}

/// A training that is written down behind any of its steps, and goes on from where the newest state is. It is measured by steps: an epoch
/// may be a few of them or a million.
final class SteppedTraining {
    private(set) var curve = TrainingCurve()
    /// Whether it went on from a state.
    private(set) var goesOn = false
    private let trainer: any SteppedTrainer
    private let checkpoints: Checkpoints
    private let device: Device
    /// Steps between two that may be measured.
    private let part: Int
    /// What was seen before the pass in progress, and the losses of its steps.
    private var seen = TrainingCurve()
    private var losses: [Float] = []

    /// Goes on from the newest state, where there is one.
    /// - Throws: `RetortError` 65 for a damaged one, or one of another training.
    init(_ trainer: any SteppedTrainer, _ checkpoints: Checkpoints, on device: Device) throws {
        self.trainer = trainer
        self.checkpoints = checkpoints
        self.device = device
        part = max(1, trainer.steps / 20)
        guard let stored = try checkpoints.newest() else { return }
        try trainer.resume(stored)
        curve = try TrainingCurve(state: stored.facts.member("curve"))
        losses = try stored.facts.member("losses").elements().map { Float(try $0.double()) }
        seen = curve
        goesOn = true
    }

    /// Trains what is left.
    ///
    /// - Parameters:
    ///   - points: how many measurements are affordable.
    ///   - measure: the quality on the test, 0 to 1; nil: there is nothing to measure it on.
    ///   - report: called after each part, with whether it was time to measure; the quality only then.
    /// - Throws: `RetortError` 75 when a signal asked to stop: `writeDown` then keeps all steps that were taken.
    func train(
        points: Double, measure: () throws -> Double?, report: (_ point: CurvePoint, _ isMeasured: Bool) throws -> Void
    ) throws {
        try curve.train(
            passes: (trainer.steps + part - 1) / part, epoch: { min(trainer.steps, $0 * part) }, points: points,
            on: device,
            pass: { number in
                let wanted = min(part, trainer.steps - number * part)
                let known = losses.count
                while losses.count < wanted {
                    losses += try trainer.train(steps: wanted - losses.count) {
                        checkpoints.isDue(after: trainer.step)
                    }
                    if StopSignal.isRequested { throw RetortError.stopped("") }
                    if checkpoints.isDue(after: trainer.step) { try writeDown() }
                }
                return .init(losses, taken: wanted - known)
            }, step: { trainer.step }, measure: measure,
            report: { point, soFar in
                try report(point, soFar.points.last?.step == point.step)
                (seen, losses) = (soFar, [])
            })
    }

    /// - Throws: `RetortError` 73 or 74.
    func writeDown() throws {
        var state = trainer.state
        state.set("curve", seen.state)
        state.set("losses", .array(losses.map { .double(Double($0)) }))
        try checkpoints.write(state, step: trainer.step, from: device.compute)
    }
}
