import RetortKernels
import RetortModels
import RetortRuntime

/// Copies of students that learn at the same time, brought up to date now and then: co-distillation's teachers (Anil et al. 2018).
public final class StalePeers: Teacher {
    private let peers: [(copy: any Model, arena: ParameterArena, model: any Model, original: ParameterArena)]
    private let refresh: Int
    private let view: InputView
    private var steps = 0

    /// - Parameters:
    ///   - originals: the others with their arenas, at least one, and their architecture; nil: the student's own.
    ///   - refresh: steps between two looks at their weights.
    init(
        _ originals: [(spec: ModelSpec?, model: any Model, arena: ParameterArena)], of session: ArmSession,
        refresh: Int
    ) throws {
        precondition(!originals.isEmpty, "a peer without others")
        self.refresh = refresh
        view = session.view
        peers = try originals.map { original in
            let (copy, arena) = try session.student(number: 0, original.spec)
            copy.freeze()
            copy.setTraining(false)
            return (copy, arena, original.model, original.arena)
        }
        try catchUp()
    }

    public var catalogs: [SignalCatalog] { peers.map(\.copy.signals) }

    public func answer(_ x: Tensor, capturing paths: [Set<String>]) throws -> [ModelOutput] {
        let x = try view(x)
        return try Autograd.withoutGradients { try zip(peers, paths).map { try $0.copy.forward(x, capturing: $1) } }
    }

    public func afterStep() throws {
        steps += 1
        if steps % refresh == 0 { try catchUp() }
    }

    private func catchUp() throws {
        for peer in peers {
            try run(Copy(), .init(x: peer.original.values, y: .write(peer.arena.values)), on: peer.arena.device)
            for (own, theirs) in zip(peer.copy.buffers, peer.model.buffers) {
                try run(Copy(), .init(x: theirs.view, y: .write(own.view)), on: peer.arena.device)
            }
        }
    }
}

extension StalePeers: LastingPart {
    func describe(_ state: inout TrainingState, as name: String) {
        for (number, peer) in peers.enumerated() {
            state.add("\(name).\(number)", peer.arena.values)
            state.add(buffersOf: peer.copy, as: "\(name).\(number)")
        }
        state.set("\(name).steps", .int(steps))
    }

    func resume(_ stored: StoredState, as name: String, on device: ComputeDevice) throws {
        for (number, peer) in peers.enumerated() {
            try stored.fill(peer.arena.values, with: "\(name).\(number)", on: device)
            try stored.fill(buffersOf: peer.copy, with: "\(name).\(number)", on: device)
        }
        steps = try stored.facts.member("\(name).steps").int(in: 0...1 << 53)
    }
}
