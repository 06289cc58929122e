import RetortRuntime

/// The modules that losses train beside the student — projectors, regressors, auxiliary heads — with an optimizer of their own of the
/// student's kind. Kept apart, so that the student's directory holds nothing of them.
public final class ProjectorSet: Module {
    public let children: [any Module]
    public var isTraining = true
    private var optimizer: (any Optimizer)?

    init(_ modules: [any Module], _ optimizer: OptimizerSpec, clip: Float?, seed: UInt64, on device: Device) throws {
        children = modules
        if !modules.isEmpty {
            self.optimizer = try optimizer.make(try materialize(on: device, seed: seed), clip: clip)
        }
    }

    public var isEmpty: Bool { children.isEmpty }

    func step(learningRate: Float) throws { try optimizer?.step(learningRate: learningRate) }
    /// - Parameter owner: of several trainings in one state, whose these are: "peer1.".
    func describe(_ state: inout TrainingState, of owner: String = "") {
        guard let optimizer else { return }
        state.add(optimizer, as: owner + "projectors")
        state.add(buffersOf: self, as: owner + "projectors")
    }

    /// - Throws: `RetortError` 65 for the state of another training.
    func resume(_ stored: StoredState, of owner: String = "") throws {
        guard let optimizer else { return }
        try stored.fill(optimizer, with: owner + "projectors")
        try stored.fill(buffersOf: self, with: owner + "projectors", on: optimizer.arena.device)
    }

    func nonFiniteSteps() throws -> Int { try optimizer?.nonFiniteSteps() ?? 0 }
}
