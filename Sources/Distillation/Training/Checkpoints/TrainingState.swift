import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport

/// What the next step of a training depends on and the recipe does not say: arrays on the device, and a few facts beside them. One safetensors
/// file, the facts in its metadata.
struct TrainingState {
    private(set) var arrays: [(name: String, values: View)] = []
    private(set) var facts = JSONObject()

    static let format = "retort-checkpoint-1"

    mutating func add(_ name: String, _ values: View) { arrays.append((name, values)) }
    mutating func set(_ key: String, _ value: JSON) { facts.set(key, value) }

    /// The parameters that it trains, and what it keeps from step to step.
    mutating func add(_ optimizer: any Optimizer, as name: String) {
        add(name, optimizer.arena.values)
        for (key, values) in optimizer.state { add("\(name).\(key)", values) }
        set("\(name).steps", .int(optimizer.stepCount))
    }

    /// - Throws: `RetortError` 73 or 74; the file is whole or not there.
    func write(to path: String, from device: ComputeDevice) throws {
        let writer = try SafeTensorsWriter(
            path: path, tensors: arrays.map { .init(name: $0.name, type: .float32, shape: $0.values.shape) },
            metadata: [("format", Self.format), ("facts", JSON.object(facts).text())])
        for array in arrays { try writer.write(try device.read(array.values)) }
        try writer.commit()
    }
}

/// A training state as a file has it.
struct StoredState {
    private let file: SafeTensors
    let facts: JSONCursor

    /// - Throws: `RetortError` 65 for a file that is no training state, 66 where it is not there.
    init(_ path: String) throws {
        file = try SafeTensors(path: path)
        guard file.metadata("format") == TrainingState.format, let text = file.metadata("facts") else {
            throw RetortError.badData("this is no state of a training", at: .init(file: path))
        }
        let limits = JSON.Limits(bytes: SafeTensors.Limits.headerBytes, values: 50_000_000)
        facts = JSONCursor(try JSON.parse(Array(text.utf8), file: path, limits: limits), file: path)
    }

    /// - Throws: `RetortError` 65 for an array that is not there, or of another shape.
    func fill(_ values: View, with name: String, on device: ComputeDevice) throws {
        let stored = try file.tensor(name)
        guard stored.shape == values.shape else {
            throw RetortError.badData(
                "\(name) is \(stored.shape) there and \(values.shape) here", at: .init(file: file.path),
                help: "it is another training's state: remove it")
        }
        try device.write(try file.floats(name), to: values)
    }

    func fill(_ optimizer: any Optimizer, with name: String) throws {
        let device = optimizer.arena.device
        try fill(optimizer.arena.values, with: name, on: device)
        for (key, values) in optimizer.state { try fill(values, with: "\(name).\(key)", on: device) }
        optimizer.resume(at: try facts.member("\(name).steps").int(in: 0...1 << 53))
    }
}
