import RetortKernels

/// Several teachers as one: logits whose softmax is the mean of theirs.
public struct MeanProbabilities: LogitSource {
    private let sources: [any LogitSource]
    private let device: Device

    /// - `sources`: at least one, of the same rows and classes.
    /// - Throws: `TensorError` where they differ.
    public init(_ sources: [any LogitSource], on device: Device) throws {
        guard let first = sources.first, sources.allSatisfy({ $0.rows == first.rows && $0.classes == first.classes })
        else {
            throw TensorError("the mean of \(sources.count) teachers of different rows or classes")
        }
        self.sources = sources
        self.device = device
    }

    public var rows: Int { sources[0].rows }
    public var classes: Int { sources[0].classes }
    public var needsSpace: Bool { true }

    public func logits(_ range: Range<Int>, in space: View?) throws -> View {
        guard let space else { throw TensorError("a mean of teachers needs memory to be written into") }
        let mean = try device.compute.empty(space.shape)
        for (index, source) in sources.enumerated() {
            let logits = try source.logits(range, in: source.needsSpace ? space : nil)
            let share = try Tensor(view: logits, on: device).softmax() * (1 / Float(sources.count))
            try run(
                Copy(), .init(x: share.view, y: Output(mean, index == 0 ? .write : .accumulate)), on: device.compute)
        }
        try run(Unary(.log), .init(x: mean, y: .write(space)), on: device.compute)
        return space
    }
}

/// Logits that are made on another device, handed over by the host a chunk at a time.
public struct TransferredLogits: LogitSource {
    private let source: any LogitSource
    private let origin: Device
    private let device: Device
    public var rows: Int { source.rows }
    public var classes: Int { source.classes }
    public var needsSpace: Bool { true }

    /// - `source`: computes on `origin`.
    /// - `device`: where the logits are wanted.
    public init(_ source: any LogitSource, from origin: Device, to device: Device) {
        self.source = source
        self.origin = origin
        self.device = device
    }

    public func logits(_ range: Range<Int>, in space: View?) throws -> View {
        guard let space else { throw TensorError("logits of another device need memory to be written into") }
        let own = source.needsSpace ? try origin.compute.empty([range.count, classes]) : nil
        let values = try origin.compute.read(try source.logits(range, in: own))
        try device.compute.write(values, to: space)
        return space
    }
}
