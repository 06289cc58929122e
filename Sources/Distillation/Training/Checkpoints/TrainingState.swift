import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport

/// What the next step of a training depends on and the recipe does not say: arrays on the device, and a few facts beside them. One safetensors
/// file, the facts in its metadata.
struct TrainingState {
    private struct Stored {
        let name: String
        let shape: [Int]
        var values: Values
    }
    private enum Values {
        /// As they will be when the state is written.
        case device(View)
        /// As they were.
        case host([Float])
        /// Numbers of items, which go beyond what a float counts.
        case integers([Int32])
        var type: ElementType { if case .integers = self { .int32 } else { .float32 } }
    }
    private var arrays: [Stored] = []
    private(set) var facts = JSONObject()

    static let format = "retort-checkpoint-1"

    mutating func add(_ name: String, _ values: View) {
        arrays.append(Stored(name: name, shape: Array(values.shape), values: .device(values)))
    }
    mutating func add(_ name: String, _ values: [Int32], _ shape: [Int]) {
        arrays.append(Stored(name: name, shape: shape, values: .integers(values)))
    }
    mutating func set(_ key: String, _ value: JSON) { facts.set(key, value) }

    /// The parameters that it trains, and what it keeps from step to step.
    mutating func add(_ optimizer: any Optimizer, as name: String) {
        add(name, optimizer.arena.values)
        for (key, values) in optimizer.state { add("\(name).\(key)", values) }
        set("\(name).steps", .int(optimizer.stepCount))
    }

    /// What training changes of a module beside its parameters: running statistics.
    mutating func add(buffersOf module: any Module, as name: String) {
        for (number, buffer) in module.buffers.enumerated() { add("\(name).buffer.\(number)", buffer.view) }
    }

    /// The same with a copy of the arrays, for a training that goes on meanwhile.
    func held(from device: ComputeDevice) throws -> TrainingState {
        var copy = self
        for index in arrays.indices {
            if case .device(let view) = arrays[index].values {
                copy.arrays[index].values = .host(try device.read(view))
            }
        }
        return copy
    }

    /// - Throws: `RetortError` 73 or 74; the file is whole or not there.
    func write(to path: String, from device: ComputeDevice) throws {
        let writer = try SafeTensorsWriter(
            path: path, tensors: arrays.map { .init(name: $0.name, type: $0.values.type, shape: $0.shape) },
            metadata: [("format", Self.format), ("facts", JSON.object(facts).text())])
        for array in arrays {
            switch array.values {
            case .device(let view): try writer.write(try device.read(view))
            case .host(let values): try writer.write(values)
            case .integers(let values): try writer.write(values.withUnsafeBytes(Array.init))
            }
        }
        try writer.commit()
    }
}

extension Sequence {
    /// Those that keep something of their own, by name.
    func lasting<Part>() -> [(name: String, part: any LastingPart)] where Element == (name: String, part: Part) {
        compactMap { name, part in (part as? any LastingPart).map { (name, $0) } }
    }
}

/// A part of a training that keeps more from step to step than weights which an optimizer of the training moves: a memory, an average of
/// weights, copies of others.
protocol LastingPart: AnyObject {
    func describe(_ state: inout TrainingState, as name: String)
    /// - Throws: `RetortError` 65 for the state of another training.
    func resume(_ stored: StoredState, as name: String, on device: ComputeDevice) throws
}

/// A training state as a file has it.
struct StoredState {
    private let file: SafeTensors
    let facts: JSONCursor

    /// - Throws: `RetortError` 65 for a file that is no training state, 66 where it is not there.
    init(_ path: String) throws {
        do {
            file = try SafeTensors(path: path)
        } catch {
            var error = error
            if error.exit == .badData {
                error.help =
                    "Remove it: training goes on from an earlier state if there is one, else from its beginning."
            }
            throw error
        }
        guard file.metadata("format") == TrainingState.format, let text = file.metadata("facts") else {
            throw RetortError.badData("this is no state of a training", at: .init(file: path))
        }
        let limits = JSON.Limits(bytes: SafeTensors.Limits.headerBytes, values: 50_000_000)
        facts = JSONCursor(try JSON.parse(Array(text.utf8), file: path, limits: limits), file: path)
    }

    /// What to throw where the state does not fit the training.
    func isOther(_ what: String) -> RetortError {
        RetortError.badData(what, at: .init(file: file.path), help: "it is another training's state: remove it")
    }

    func has(_ name: String) -> Bool { (try? file.tensor(name)) != nil }

    /// - Throws: `RetortError` 65 for an array that is not there, or of another shape.
    func fill(_ values: View, with name: String, on device: ComputeDevice) throws {
        let stored = try file.tensor(name)
        guard stored.shape == Array(values.shape) else {
            throw isOther("\(name) is \(stored.shape) there and \(values.shape) here")
        }
        try device.write(try file.floats(name), to: values)
    }

    /// - Throws: `RetortError` 65 for an array that is not there, or of another shape.
    func integers(_ name: String, _ shape: [Int]) throws -> [Int32] {
        let stored = try file.tensor(name)
        guard stored.shape == shape else { throw isOther("\(name) is \(stored.shape) there and \(shape) here") }
        return try file.int64s(name).map { Int32(truncatingIfNeeded: $0) }
    }

    func fill(_ optimizer: any Optimizer, with name: String) throws {
        let device = optimizer.arena.device
        try fill(optimizer.arena.values, with: name, on: device)
        for (key, values) in optimizer.state { try fill(values, with: "\(name).\(key)", on: device) }
        optimizer.resume(at: try facts.member("\(name).steps").int(in: 0...1 << 53))
    }

    func fill(buffersOf module: any Module, with name: String, on device: ComputeDevice) throws {
        for (number, buffer) in module.buffers.enumerated() {
            try fill(buffer.view, with: "\(name).buffer.\(number)", on: device)
        }
    }
}
