import RetortKernels
import RetortModels
import RetortRuntime

/// The weights and running statistics of an architecture apart from any model: what clients and server send each other.
final class ModelState {
    /// In the arena's layout.
    let values: View
    private let buffers: [View]
    private let device: ComputeDevice

    /// A place for what the model holds, filled with it.
    init(_ model: any Model, _ arena: ParameterArena) throws {
        let device = arena.device
        self.device = device
        values = try device.empty(arena.values.shape, for: .parameters)
        buffers = try model.buffers.map { try device.empty($0.shape, for: .parameters) }
        try store(model, arena)
    }

    /// How many numbers are sent: the padding of the arena is not.
    static func count(_ model: any Model) -> Int {
        model.parameterCount + model.buffers.reduce(0) { $0 + $1.count }
    }

    func store(_ model: any Model, _ arena: ParameterArena) throws {
        try copy(arena.values, to: values)
        for (own, theirs) in zip(buffers, model.buffers) { try copy(theirs.view, to: own) }
    }

    func load(into model: any Model, _ arena: ParameterArena) throws {
        try copy(values, to: arena.values)
        for (own, theirs) in zip(buffers, model.buffers) { try copy(own, to: theirs.view) }
    }

    /// Adds a client's share: after all shares, which sum to 1, this is their weighted mean.
    func add(_ model: any Model, _ arena: ParameterArena, share: Float, isFirst: Bool) throws {
        try FedAvg.add(arena.values, share: share, into: values, isFirst: isFirst, on: device)
        for (own, theirs) in zip(buffers, model.buffers) {
            try FedAvg.add(theirs.view, share: share, into: own, isFirst: isFirst, on: device)
        }
    }

    private func copy(_ from: View, to: View) throws { try run(Copy(), .init(x: from, y: .write(to)), on: device) }
}

extension ModelState: LastingPart {
    func describe(_ state: inout TrainingState, as name: String) {
        state.add(name, values)
        for (number, buffer) in buffers.enumerated() { state.add("\(name).buffer.\(number)", buffer) }
    }

    func resume(_ stored: StoredState, as name: String, on device: ComputeDevice) throws {
        try stored.fill(values, with: name, on: device)
        for (number, buffer) in buffers.enumerated() {
            try stored.fill(buffer, with: "\(name).buffer.\(number)", on: device)
        }
    }
}
