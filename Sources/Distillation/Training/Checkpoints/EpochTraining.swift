import RetortRuntime
import RetortSupport

/// Something that can go on from between two of its epochs.
protocol EpochResumable: AnyObject {
    /// Optimizer steps taken.
    var step: Int { get }
    /// What the next epoch depends on.
    var state: TrainingState { get }
    /// - Throws: `RetortError` 65 for the state of another training.
    func resume(_ stored: StoredState) throws
}

/// A training by epochs that goes on from behind the last that was finished. What it was there is kept on the host while the next one
/// runs, for that one is lost when a signal stops it.
final class EpochTraining {
    private(set) var curve = TrainingCurve()
    /// Whether it went on from a state.
    private(set) var goesOn = false
    /// Steps of the epochs that are not lost.
    private(set) var step = 0
    /// Until it has trained: what knows the arm that this belongs to is not to be held by it.
    private var trainer: (any EpochResumable)?
    private let checkpoints: Checkpoints?
    private let device: Device
    /// nil before an epoch is finished here.
    private var kept: (state: TrainingState, curve: TrainingCurve)?

    /// Goes on from the newest state, where there is one.
    /// - Parameters:
    ///   - trainer: nil for one that has to begin again.
    ///   - checkpoints: nil for a training that nobody stops.
    /// - Throws: `RetortError` 65 for a damaged one, or one of another training.
    init(_ trainer: (any EpochResumable)?, _ checkpoints: Checkpoints?, on device: Device) throws {
        self.trainer = trainer
        self.checkpoints = checkpoints
        self.device = device
        guard let trainer, let stored = try checkpoints?.newest() else { return }
        try trainer.resume(stored)
        curve = try TrainingCurve(state: stored.facts.member("curve"))
        step = trainer.step
        goesOn = true
    }

    /// Trains what is left; the parameters are those of `TrainingCurve.train`.
    /// - Throws: `RetortError` 75 when a signal asked to stop: `writeDown` then keeps the epochs that are finished.
    func train(
        passes: Int, epoch: (Int) -> Int = { $0 }, kind: (Int) -> [Double] = { _ in [] }, points affordable: Double,
        pass: (Int) throws -> [Float], step: () -> Int, measure: () throws -> Double,
        report: (CurvePoint) throws -> Void
    ) throws {
        defer { trainer = nil }
        try curve.train(
            passes: passes, epoch: epoch, kind: kind, points: affordable, on: device,
            pass: { .init(try pass($0)) }, step: step, measure: measure,
            report: { point, soFar in
                try report(point)
                try keep(soFar)
            })
    }

    private func keep(_ curve: TrainingCurve) throws {
        guard let trainer, let checkpoints else { return }
        kept = (try trainer.state.held(from: device.compute), curve)
        let before = step
        step = trainer.step
        if checkpoints.isDue(after: step, since: before) { try writeDown() }
    }

    /// Writes what is kept; does nothing where that is what is there.
    /// - Throws: `RetortError` 73 or 74.
    func writeDown() throws {
        guard let kept, let checkpoints else { return }
        var state = kept.state
        state.set("curve", kept.curve.state)
        try checkpoints.write(state, step: step, from: device.compute)
        self.kept = nil
    }

    /// Keeps what is finished when a signal stops the training.
    /// - Returns: what to end with.
    /// - Throws: `RetortError` 73 or 74.
    func stopped(_ role: String) throws -> RetortError {
        try writeDown()
        return RetortError.stopped("stopped by \(StopSignal.name ?? "a signal"); \(role) goes on after step \(step)")
    }
}

/// Where an arm's seed is written down while it is trained, and what of the run's files goes with it.
struct CheckpointPlace {
    /// `<arm>/seed-<n>/checkpoints`.
    let folder: String
    let spec: CheckpointSpec
    /// Takes back the lines of metrics.jsonl about a generation of the arm's seed that come after so many.
    let forget: (_ generation: Int?, _ keeping: Int) throws -> Void

    /// - Parameter name: of one of several trainings there; "" for the only one.
    func checkpoints(_ name: String = "") -> Checkpoints { Checkpoints(in: folder, name: name, spec) }

    /// What is not needed any more.
    func remove() { checkpoints().remove() }
}
