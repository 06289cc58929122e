import RetortKernels

/// A named fp32 array of a model that is saved with it but not trained: running statistics.
///
/// Until the model is materialised on a device a buffer has a name, a shape and a starting value only.
public final class Buffer {
    /// Path in the model, the key in its safetensors file: "bn1.running_mean".
    public let name: String
    public let shape: Dimensions
    private let initial: Float
    private var placed: (view: View, device: ComputeDevice)?

    public init(_ name: String, _ shape: Dimensions, initial: Float) {
        self.name = name
        self.shape = shape
        self.initial = initial
    }

    public var count: Int { shape.product }

    func place(on device: ComputeDevice) throws {
        let view = try device.empty(shape, for: .parameters)
        try run(Fill(initial), .init(y: view), on: device)
        placed = (view, device)
    }

    private var here: (view: View, device: ComputeDevice) {
        guard let placed else {
            preconditionFailure("buffer \(name) is used before its model was materialised on a device")
        }
        return placed
    }

    /// The value, contiguous.
    public var view: View { here.view }
    /// The elements in row-major order.
    public func values() throws -> [Float] { try here.device.read(here.view) }

    /// Replaces the value; `values` in row-major order.
    public func assign(_ values: [Float]) throws {
        guard values.count == count else {
            throw TensorError("\(values.count) values for buffer \(name) of shape \(shape)")
        }
        try here.device.write(values, to: here.view)
    }

    /// Replaces the value by what is read piece by piece; see `Parameter.assign(pieces:)`.
    public func assign(pieces read: ComputeDevice.PieceReader) throws {
        try here.device.write(to: here.view, pieces: read)
    }
}
