import RetortKernels

/// How a parameter starts.
public enum Initializer: Sendable, Equatable {
    case zeros
    case constant(Float)
    /// Uniform in [−bound, bound).
    case uniform(bound: Float)
    /// Normal with mean 0 and this standard deviation.
    case normal(deviation: Float)

    /// Elements from `first` on, a multiple of four.
    fileprivate func fill(_ buffer: UnsafeMutableBufferPointer<Float>, from first: Int, _ random: Philox) {
        switch self {
        case .zeros: buffer.update(repeating: 0)
        case .constant(let c): buffer.update(repeating: c)
        case .uniform(let bound): random.fill(buffer, from: first, -bound, bound)
        case .normal(let deviation): random.fill(buffer, from: first, deviation: deviation)
        }
    }
}

/// A trainable array of a model: its fp32 value and its fp32 gradient, both windows of the model's flat arenas. A frozen one may be bf16
/// alone; a trained one may have a bf16 copy beside it, which is what a step of reduced precision reads.
///
/// Until the model is materialised on a device a parameter has a name, a shape and an initializer only.
public final class Parameter {
    /// Path in the model, the key in its safetensors file: "layers.0.weight".
    public let name: String
    public let shape: Dimensions
    /// What the value is before training; may be changed until the model is on a device.
    public var initializer: Initializer
    /// False for a frozen model (a teacher, or what adapters adapt): no tape, no gradient.
    public var isTrainable = true
    /// Whether a step of reduced precision is in progress: the bf16 copy is read, and activations are stored in bf16.
    var isReduced = false
    private var placed: Placed?

    /// What a parameter has once its model is on a device.
    private struct Placed {
        let device: ComputeDevice
        var value: View
        /// The value in bf16, as of the last `ParameterArena.refreshWorkingCopy`.
        var working: View?
        /// nil where no memory was spent on a gradient.
        var slot: GradientSlot?
        var leaf: Node?
    }

    public init(_ name: String, _ shape: Dimensions, _ initializer: Initializer) {
        self.name = name
        self.shape = shape
        self.initializer = initializer
    }

    /// A parameter of its own, outside any model, on memory that is there.
    init(free value: View, on device: ComputeDevice) throws {
        name = "free"
        shape = value.shape
        initializer = .zeros
        place(value: value, gradient: try device.empty(shape, for: .gradients), on: device)
    }

    public var count: Int { shape.product }

    /// - Parameter gradient: nil freezes it for good.
    func place(value: View, gradient: View?, on device: ComputeDevice) {
        let slot = gradient.map { GradientSlot($0) }
        placed = Placed(
            device: device, value: value, slot: slot,
            leaf: slot.map { Node(shape: shape, device: device, slot: $0) })
        if slot == nil { isTrainable = false }
    }

    func place(working: View?) { placed?.working = working }

    /// Lets go of the gradient for good.
    func freeze() {
        isTrainable = false
        placed?.slot = nil
        placed?.leaf = nil
    }

    private var here: Placed {
        guard let placed else {
            preconditionFailure("parameter \(name) is used before its model was materialised on a device")
        }
        return placed
    }

    /// The value in the model's arena; rows of a matrix may be padded.
    public var value: View { here.value }
    public var gradient: View {
        guard let slot = here.slot else { preconditionFailure("parameter \(name) is frozen and has no gradient") }
        return slot.view
    }
    /// Whether backward reached this parameter since its gradient was cleared.
    public var hasGradient: Bool { here.slot?.isWritten ?? false }

    /// The value on the tape, as it is read now.
    public var tensor: Tensor {
        Tensor(isReduced ? here.working ?? here.value : here.value, here.device, node: isTrainable ? here.leaf : nil)
    }

    /// What activations that begin at this parameter are stored as now.
    public var activations: DType { isReduced ? .bf16 : .f32 }

    /// Forgets the gradient; the next backward writes instead of adding.
    public func clearGradient() { here.slot?.isWritten = false }

    /// The gradient's elements in row-major order; zeros where nothing was written.
    public func gradientValues() throws -> [Float] {
        guard hasGradient else { return [Float](repeating: 0, count: count) }
        return try Tensor(gradient, here.device).values()
    }

    public func values() throws -> [Float] { try Tensor(value, here.device).values() }

    /// Replaces the value; `values` in row-major order.
    public func assign(_ values: [Float]) throws {
        guard values.count == count else {
            throw TensorError("\(values.count) values for parameter \(name) of shape \(shape)")
        }
        let host = try here.device.view(values, shape)
        try run(Copy(), .init(x: try here.device.stored(host, as: value.dtype), y: .write(value)), on: here.device)
    }

    /// Replaces the value by what is read piece by piece, without a copy of the whole in between.
    /// - Parameter read: fills memory with the values from a place on, in row-major order; see `ComputeDevice.write(to:pieces:)`.
    public func assign(pieces read: ComputeDevice.PieceReader) throws {
        guard here.device.plan == nil else { return }
        guard value.isContiguous else {
            var values = [Float](repeating: 0, count: count)
            try values.withUnsafeMutableBufferPointer { try read(0, $0) }
            return try assign(values)
        }
        try here.device.write(to: value, pieces: read)
    }

    /// Makes a frozen value fp32 whatever it is stored as, in memory of its own.
    func widen() throws {
        guard value.dtype != .f32 else { return }
        let wide = try here.device.wide(value)
        placed?.value = wide
    }

    /// What the initializer gives: a function of (seed, name, position), so every device starts from the same bits and two models
    /// whose parameters share names and shapes start alike.
    public func initialValues(seed: UInt64) -> [Float] {
        [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            initializer.fill(UnsafeMutableBufferPointer(rebasing: buffer[..<count]), from: 0, draws(seed))
            initialized = count
        }
    }

    /// Gives it those values, drawn on all cores.
    func initialize(seed: UInt64) throws {
        let (initializer, random) = (initializer, draws(seed))
        try assign(pieces: { initializer.fill($1, from: $0, random) })
    }

    private func draws(_ seed: UInt64) -> Philox { Philox(seed: seed, stream: Philox.stream("init/" + name)) }
}
