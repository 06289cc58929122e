import RetortKernels

/// A part of a model: parameters and buffers in a fixed order and a mode.
public protocol Module: AnyObject {
    /// Every parameter, in the order of the published checkpoints of its architecture.
    var parameters: [Parameter] { get }
    /// What is saved beside the parameters but not trained.
    var buffers: [Buffer] { get }
    /// True while training: dropout drops only then, batch normalisation takes its statistics from the batch.
    var isTraining: Bool { get set }
}

extension Module {
    public var buffers: [Buffer] { [] }

    /// Number of trained numbers.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

    /// Places every parameter and buffer on a device.
    public func materialize(on device: Device, seed: UInt64) throws -> ParameterArena {
        for buffer in buffers { try buffer.place(on: device.compute) }
        return try ParameterArena(parameters, on: device.compute, seed: seed)
    }

    /// Stops gradients: a teacher leaves no tape.
    public func freeze() { parameters.forEach { $0.isTrainable = false } }
}
