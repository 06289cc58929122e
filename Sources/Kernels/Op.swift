/// What an op must do at least: the numbers that benchmarks, profiles and plans compare against the machine's roof.
public struct Cost: Sendable, Equatable {
    /// Floating point operations; a fused multiply-add counts two.
    public var flops: Double
    /// Those among them that multiply bf16 by bf16, which matrix units take where there are any.
    public var matrixFlops: Double
    /// Bytes: every input once, every output once (twice when it accumulates).
    public var bytes: Double

    public init(flops: Double = 0, matrixFlops: Double = 0, bytes: Double = 0) {
        self.flops = flops
        self.matrixFlops = matrixFlops
        self.bytes = bytes
    }
    public static func + (a: Cost, b: Cost) -> Cost {
        Cost(flops: a.flops + b.flops, matrixFlops: a.matrixFlops + b.matrixFlops, bytes: a.bytes + b.bytes)
    }
}

/// One operation with both of its implementations. Leaving out a backend does not compile.
///
/// An op is a small value holding the parameters (a temperature, a flag); its operands are named views. It allocates nothing
/// but workspace, knows nothing of gradients and never moves data between devices.
public protocol Op: Sendable {
    associatedtype Operands

    /// The field's name for it; what profiles, benchmarks and `test-ops` print.
    var name: String { get }
    /// Refuses operands whose shapes or types do not fit.
    func validate(_ operands: Operands) throws
    func cost(_ operands: Operands) -> Cost
    func cpu(_ operands: Operands, on device: CPUDevice) throws
    func openCL(_ operands: Operands, on device: OpenCLDevice) throws
}

/// Runs one op on one device: the only switch over backends.
public func run<O: Op>(_ op: O, _ operands: O.Operands, on device: ComputeDevice) throws {
    try op.validate(operands)
    switch device {
    case .cpu(let cpu):
        guard let profiler = cpu.profiler else { return try op.cpu(operands, on: cpu) }
        let start = ContinuousClock.now
        try op.cpu(operands, on: cpu)
        profiler.record(op.name, family: "cpu", cost: op.cost(operands), device: ContinuousClock.now - start)
    case .openCL(let openCL):
        guard let profiler = openCL.profiler else { return try op.openCL(operands, on: openCL) }
        let launched = profiler.launches
        try op.openCL(operands, on: openCL)
        profiler.attribute(op.name, since: launched, cost: op.cost(operands))
    case .planned(let plan):
        plan.record(op.name, op.cost(operands))
        try plan.rehearse(op, operands)
    }
}

/// `[op] message`: what every operand check throws.
func operandError(_ op: String, _ message: String) -> KernelError { KernelError(.operands, "[\(op)] \(message)") }

extension Op {
    func require(_ condition: Bool, _ message: @autoclosure () -> String) throws {
        if !condition { throw operandError(name, message()) }
    }

    // One to three views without an array of copies: an op of a decoder takes microseconds, and every op is checked.
    @inline(__always) func requireF32(_ a: (String, View)) throws { try requireF32(a.0, a.1) }
    @inline(__always) func requireF32(_ a: (String, View), _ b: (String, View)) throws {
        try requireF32(a.0, a.1)
        try requireF32(b.0, b.1)
    }
    @inline(__always) func requireF32(_ a: (String, View), _ b: (String, View), _ c: (String, View)) throws {
        try requireF32(a.0, a.1)
        try requireF32(b.0, b.1)
        try requireF32(c.0, c.1)
    }
    func requireF32(_ views: (String, View)...) throws {
        for (label, view) in views { try requireF32(label, view) }
    }
    @inline(__always) func requireF32(_ label: String, _ view: View) throws {
        guard view.dtype == .f32 else { throw operandError(name, "\(label) is \(view.dtype); this op takes f32") }
    }

    /// Refuses activations that are not all f32 or all bf16.
    @inline(__always) func requireActivations(_ a: (String, View)) throws { try requireActivation(a.0, a.1, a) }
    @inline(__always) func requireActivations(_ a: (String, View), _ b: (String, View)) throws {
        try requireActivation(a.0, a.1, a)
        try requireActivation(b.0, b.1, a)
    }
    @inline(__always) func requireActivations(
        _ a: (String, View), _ b: (String, View), _ c: (String, View)
    ) throws {
        try requireActivation(a.0, a.1, a)
        try requireActivation(b.0, b.1, a)
        try requireActivation(c.0, c.1, a)
    }
    func requireActivations(_ views: (String, View)...) throws {
        for (label, view) in views { try requireActivation(label, view, views[0]) }
    }
    @inline(__always) private func requireActivation(_ label: String, _ view: View, _ first: (String, View)) throws {
        try require(view.dtype == .f32 || view.dtype == .bf16, "\(label) is \(view.dtype); this op takes f32 or bf16")
        try require(
            view.dtype == first.1.dtype,
            "\(label) is \(view.dtype) and \(first.0) \(first.1.dtype); activations are stored alike")
    }

    /// The view as rows of its last dimension, or an error that names it.
    func rows(_ view: View, _ label: String) throws -> Rows {
        guard let rows = view.rows else {
            throw operandError(
                name, "\(label) of shape \(view.shape), strides \(view.strides) is not rows with one pitch")
        }
        return rows
    }
}

extension View {
    /// What a kernel is built with whose activations are stored as this view is (kernels/prelude.clh).
    var activationOption: String { dtype == .bf16 ? "-DX_BF16" : "" }
}
