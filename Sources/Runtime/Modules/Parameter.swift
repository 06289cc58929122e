import RetortKernels

/// How a parameter starts.
public enum Initializer: Sendable, Equatable {
    case zeros
    case constant(Float)
    /// Uniform in [−bound, bound).
    case uniform(bound: Float)
}

/// A trainable array of a model: its fp32 value and its fp32 gradient, both windows of the model's flat arenas.
///
/// Until the model is materialised on a device a parameter has a name, a shape and an initializer only.
public final class Parameter {
    /// Path in the model, the key in its safetensors file: "layers.0.weight".
    public let name: String
    public let shape: [Int]
    let initializer: Initializer
    public private(set) var value: View!
    public private(set) var gradient: View!
    private(set) var device: ComputeDevice!
    /// False for a frozen model (a teacher): no tape, no gradient.
    public var isTrainable = true
    /// Whether the gradient holds something of this step; the first write of a step replaces, the rest add.
    private(set) var hasGradient = false

    public init(_ name: String, _ shape: [Int], _ initializer: Initializer) {
        self.name = name
        self.shape = shape
        self.initializer = initializer
    }

    /// A parameter of its own, outside any model.
    init(free values: [Float], _ shape: [Int], on device: ComputeDevice) throws {
        name = "free"
        self.shape = shape
        initializer = .zeros
        self.device = device
        value = try device.view(values, shape, for: .parameters)
        gradient = try device.empty(shape, for: .gradients)
    }

    public var count: Int { shape.reduce(1, *) }

    func place(value: View, gradient: View, on device: ComputeDevice) {
        (self.value, self.gradient, self.device) = (value, gradient, device)
    }

    private lazy var leaf = Node(shape: shape, device: device, parameter: self)

    /// The value on the tape.
    public var tensor: Tensor { Tensor(value, device, node: isTrainable ? leaf : nil) }

    func gradientSink() throws -> Output {
        defer { hasGradient = true }
        return Output(gradient, hasGradient ? .accumulate : .write)
    }

    /// Forgets the gradient; the next backward writes instead of adding.
    public func clearGradient() { hasGradient = false }

    /// The gradient's elements in row-major order; zeros where nothing was written.
    public func gradientValues() throws -> [Float] {
        guard hasGradient else { return [Float](repeating: 0, count: count) }
        return try Tensor(gradient, device).values()
    }

    public func values() throws -> [Float] { try Tensor(value, device).values() }

    /// Replaces the value; `values` in row-major order.
    public func assign(_ values: [Float]) throws {
        guard values.count == count else {
            throw TensorError("\(values.count) values for parameter \(name) of shape \(shape)")
        }
        let host = try device.view(values, shape)
        try run(Copy(), .init(x: host, y: .write(value)), on: device)
    }

    /// What the initializer gives: a function of (seed, name, position), so every device starts from the same bits and two models
    /// whose parameters share names and shapes start alike.
    func initialValues(seed: UInt64) -> [Float] {
        switch initializer {
        case .zeros: return [Float](repeating: 0, count: count)
        case .constant(let c): return [Float](repeating: c, count: count)
        case .uniform(let bound):
            let random = Philox(seed: seed, stream: Philox.stream("init/" + name))
            return (0..<UInt64(count)).map { random.uniform($0, -bound, bound) }
        }
    }
}
