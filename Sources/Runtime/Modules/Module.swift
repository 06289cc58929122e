import RetortKernels

/// A part of a model: parameters in a fixed order and a mode.
public protocol Module: AnyObject {
    /// Every parameter, in the order of the published checkpoints of its architecture.
    var parameters: [Parameter] { get }
    /// True while training: dropout drops only then.
    var isTraining: Bool { get set }
}

extension Module {
    /// Number of trained numbers.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

    /// Places every parameter on a device.
    public func materialize(on device: Device, seed: UInt64) throws -> ParameterArena {
        try ParameterArena(parameters, on: device.compute, seed: seed)
    }

    /// Stops gradients: a teacher leaves no tape.
    public func freeze() { parameters.forEach { $0.isTrainable = false } }
}
