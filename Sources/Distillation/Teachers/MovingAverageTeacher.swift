import RetortKernels
import RetortModels
import RetortRuntime

/// A model whose weights follow another's: average ← decay · average + (1 − decay) · weights after each step. Buffers (running
/// statistics) are copied. Answers in evaluation mode.
public final class MovingAverageTeacher: Teacher {
    private let model: any Model
    private let arena: ParameterArena
    private let leader: any Model
    private let leaderArena: ParameterArena
    private let decay: Double
    private let view: InputView

    /// - `model`: starts equal to the leader; of the same architecture, on the same device.
    public init(
        _ model: any Model, _ arena: ParameterArena, follows leader: any Model, _ leaderArena: ParameterArena,
        decay: Double, seeing view: InputView = .whole
    ) {
        self.model = model
        self.arena = arena
        self.leader = leader
        self.leaderArena = leaderArena
        self.decay = decay
        self.view = view
        model.freeze()
        model.setTraining(false)
    }

    public var catalogs: [SignalCatalog] { [model.signals] }

    public func answer(_ x: Tensor, capturing paths: [Set<String>]) throws -> [ModelOutput] {
        try Autograd.withoutGradients { [try model.forward(view(x), capturing: paths.first ?? [])] }
    }

    public func afterStep() throws {
        try arena.follow(leaderArena, decay: decay)
        for (own, leaders) in zip(model.buffers, leader.buffers) {
            try run(Copy(), .init(x: leaders.view, y: .write(own.view)), on: arena.device)
        }
    }
}

extension MovingAverageTeacher: LastingPart {
    func describe(_ state: inout TrainingState, as name: String) {
        state.add(name, arena.values)
        state.add(buffersOf: model, as: name)
    }

    func resume(_ stored: StoredState, as name: String, on device: ComputeDevice) throws {
        try stored.fill(arena.values, with: name, on: device)
        try stored.fill(buffersOf: model, with: name, on: device)
    }
}
