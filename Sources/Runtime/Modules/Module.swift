import RetortKernels

/// A part of a model: parameters and buffers in a fixed order and a mode.
public protocol Module: AnyObject {
    /// The parts it is made of; empty for a leaf.
    var children: [any Module] { get }
    /// Every parameter, in the order of the published checkpoints of its architecture.
    var parameters: [Parameter] { get }
    /// What is saved beside the parameters but not trained.
    var buffers: [Buffer] { get }
    /// True while training: dropout drops only then, batch normalisation takes its statistics from the batch. Of this part alone;
    /// `setTraining` reaches all.
    var isTraining: Bool { get set }
}

extension Module {
    public var children: [any Module] { [] }
    public var parameters: [Parameter] { children.flatMap { $0.parameters } }
    public var buffers: [Buffer] { children.flatMap { $0.buffers } }

    /// Number of trained numbers.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

    /// Switches this part and all its parts to training or to evaluation.
    public func setTraining(_ on: Bool) {
        isTraining = on
        for child in children { child.setTraining(on) }
    }

    /// Places every parameter and buffer on a device.
    /// - `seed`: draws the parameters' initial values; nil leaves them 0, for those that come from a file.
    /// - `trains`: false freezes the parameters and spares the memory of their gradients.
    /// - `dtype`: what a frozen module's matrices are stored as, f32 or bf16.
    public func materialize(on device: Device, seed: UInt64?, trains: Bool = true, dtype: DType = .f32) throws
        -> ParameterArena
    {
        for buffer in buffers { try buffer.place(on: device.compute) }
        return try ParameterArena(parameters, on: device.compute, seed: seed, trains: trains, dtype: dtype)
    }

    /// Runs a step, forward and backward, that stores activations in bf16 and reads matrices in bf16 where their arena has them so. Sums,
    /// gradients and what the optimizer keeps are fp32.
    public func withReducedPrecision<T>(_ body: () throws -> T) rethrows -> T {
        let all = parameters
        for parameter in all { parameter.isReduced = true }
        defer { for parameter in all { parameter.isReduced = false } }
        return try body()
    }

    /// Stops gradients for good, and gives back their memory: a teacher leaves no tape.
    public func freeze() { parameters.forEach { $0.freeze() } }
}
