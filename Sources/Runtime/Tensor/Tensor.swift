import RetortKernels

/// A strided array of numbers on a device, fp32 or bf16, with its place on the tape when gradients are wanted.
///
/// Not `Sendable`: a tensor lives in the task that trains. Host copies (`values()`) travel.
public struct Tensor {
    public let view: View
    public let device: ComputeDevice
    let node: Node?

    init(_ view: View, _ device: ComputeDevice, node: Node? = nil) {
        self.view = view
        self.device = device
        self.node = node
    }

    /// A constant from host values, row-major.
    public init(_ values: [Float], _ shape: Dimensions, on device: Device) throws {
        guard values.count == shape.product else {
            throw TensorError("\(values.count) values do not fill shape \(shape)")
        }
        self.init(try device.compute.view(values, shape), device.compute)
    }

    /// A constant on existing memory; no copy.
    public init(view: View, on device: Device) { self.init(view, device.compute) }

    /// A leaf that collects a gradient without belonging to a model; for tests and input gradients.
    public static func variable(_ values: [Float], _ shape: Dimensions, on device: Device) throws -> (Tensor, Parameter)
    {
        try Tensor(values, shape, on: device).leaf()
    }

    /// The same numbers as the beginning of a tape of their own: a leaf that collects the gradient of what is computed from them.
    public func leaf() throws -> (Tensor, Parameter) {
        let parameter = try Parameter(free: device.wide(contiguousView()), on: device)
        return (parameter.tensor, parameter)
    }

    public var shape: Dimensions { view.shape }
    public var rank: Int { view.rank }
    public var count: Int { view.count }
    /// Whether `backward` reaches parameters through this tensor.
    public var needsGradient: Bool { node != nil }

    /// The elements in row-major order, once everything enqueued before has run.
    public func values() throws -> [Float] { try device.read(device.wide(contiguousView())) }

    /// The only element.
    public func item() throws -> Float {
        guard count == 1 else { throw TensorError("item() of a tensor of shape \(shape)") }
        return try values()[0]
    }

    /// The same numbers, off the tape.
    public var detached: Tensor { Tensor(view, device) }

    /// The view itself when its elements are adjacent, else a packed copy.
    func contiguousView() throws -> View { try device.packed(view) }

    /// Records `view` as computed from `inputs`. `vjp` gets the gradient of the output and sends gradients to the inputs' nodes;
    /// it runs at most once, and only when an input needs it.
    static func recorded(
        _ view: View, _ device: ComputeDevice, from inputs: [Tensor], vjp: @escaping (Node, Gradient) throws -> Void
    ) -> Tensor {
        let nodes = inputs.compactMap(\.node)
        guard !nodes.isEmpty, Autograd.isRecording else { return Tensor(view, device) }
        let node = Node(shape: view.shape, device: device, inputs: nodes)
        node.vjp = { [unowned node] gradient in try vjp(node, gradient) }
        return Tensor(view, device, node: node)
    }
}
