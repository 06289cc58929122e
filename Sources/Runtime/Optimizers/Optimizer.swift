import RetortKernels

/// Turns gradients into a step, over all parameters of a model at once and without a host round trip.
public protocol Optimizer: AnyObject {
    var arena: ParameterArena { get }
    /// Largest global gradient norm; larger ones are scaled down to it. nil: no clipping.
    var clipNorm: Float? { get }
    /// Steps taken.
    var stepCount: Int { get }
    /// Goes on as after so many steps; who calls it has put back parameters and state.
    func resume(at step: Int)
    /// One update with this learning rate; the gradients are used up. A non-finite gradient leaves everything untouched and is
    /// counted in `nonFiniteSteps()`.
    func step(learningRate: Float) throws
    var norm: GradientNormState { get }
    /// What is kept from step to step, by PyTorch's names; flat arrays in the arena's layout.
    var state: [(name: String, values: View)] { get }
}

extension Optimizer {
    /// How many steps met a non-finite gradient and were skipped. Reads from the device: ask at log boundaries.
    public func nonFiniteSteps() throws -> Int { Int(try arena.device.read(norm.nonFinite, as: Int32.self)[0]) }

    /// Global gradient norm of the last step, before clipping. Reads from the device.
    public func lastGradientNorm() throws -> Float { try arena.device.read(norm.norm)[0] }
}

/// What clipping leaves on the device for the update kernel to read.
public final class GradientNormState {
    let norm: View
    let factor: View
    let skip: View
    let nonFinite: View

    init(on device: ComputeDevice) throws {
        norm = try device.view([Float(0)], [1], for: .optimizer)
        factor = try device.view([Float(1)], [1], for: .optimizer)
        skip = try device.view([Int32(0)], [1], .i32, for: .optimizer)
        nonFinite = try device.view([Int32(0)], [1], .i32, for: .optimizer)
    }

    /// Computes norm, clip factor and skip flag from the gradients.
    func update(_ gradients: View, clipNorm: Float?, on device: ComputeDevice) throws {
        try run(
            GradientNorm(maximum: clipNorm ?? 0),
            .init(gradients: gradients, norm: norm, factor: factor, skip: skip, nonFinite: nonFinite), on: device)
    }
}
