import RetortKernels

/// Where a chunked loss has the teacher's logits from, a chunk of rows (tokens) at a time: a head, logits that are there already, or what
/// was stored of them.
public protocol LogitSource {
    var rows: Int { get }
    var classes: Int { get }
    /// Whether `logits` needs memory to write into.
    var needsSpace: Bool { get }

    /// Logits `[range.count, classes]` of some rows, off the tape. Enqueued work may still be filling them.
    /// - `space`: memory of that shape, valid until the next call; nil unless `needsSpace`.
    func logits(_ range: Range<Int>, in space: View?) throws -> View
}

/// Logits that a head makes of hidden states, never more than one chunk of them.
public struct HeadLogits: LogitSource {
    private let x: View
    private let projection: HeadProjection
    public let classes: Int

    /// - `hidden`: `[..., hidden]`, taken as constants.
    public init(_ hidden: Tensor, _ head: OutputHead) throws {
        x = try head.rows(of: hidden)
        projection = try HeadProjection(head)
        classes = head.classes
    }

    public var rows: Int { x.shape[0] }
    public var needsSpace: Bool { true }
    var device: ComputeDevice { projection.device }

    public func logits(_ range: Range<Int>, in space: View?) throws -> View {
        guard let space else { throw TensorError("a head's logits need memory to be written into") }
        try projection.multiply(x.slice(range), into: space, uncapped: nil)
        return space
    }
}

/// Logits that exist already.
public struct DenseLogits: LogitSource {
    private let x: View
    private let softCap: Float?
    private let device: ComputeDevice
    public let classes: Int

    /// - `logits`: `[..., classes]`, taken as constants; of more classes than asked for the first ones are used.
    /// - `softCap`: bounds them, where that has not been done.
    public init(_ logits: Tensor, softCap: Float? = nil, classes: Int? = nil) throws {
        guard logits.rank >= 1, let columns = logits.shape.last, columns > 0 else {
            throw TensorError("logits are [rows, classes]; these are \(logits.shape)")
        }
        guard (1...columns).contains(classes ?? columns) else {
            throw TensorError("\(classes ?? columns) classes of logits of \(columns)")
        }
        guard softCap.map({ $0 > 0 && $0.isFinite }) ?? true else {
            throw TensorError("a soft cap of \(softCap ?? 0): it must be positive")
        }
        self.classes = classes ?? columns
        self.softCap = softCap
        device = logits.device
        x = try logits.contiguousView().reshaped([logits.count / columns, columns]).narrowed(1, 0..<self.classes)
    }

    public var rows: Int { x.shape[0] }
    public var needsSpace: Bool { softCap != nil }

    public func logits(_ range: Range<Int>, in space: View?) throws -> View {
        let z = x.slice(range)
        guard let softCap, let space else { return z }
        try run(Scale(1 / softCap), .init(x: z, y: .write(space)), on: device)
        try run(Unary(.tanh), .init(x: space, y: .write(space)), on: device)
        try run(Scale(softCap), .init(x: space, y: .write(space)), on: device)
        return space
    }
}

/// A head as products of a chunk: z = x · weightᵀ + bias, bounded where it is.
struct HeadProjection {
    /// `[classes, hidden]`.
    let weight: View
    private let bias: View?
    private let softCap: Float?
    let device: ComputeDevice

    init(_ head: OutputHead) throws {
        device = head.weight.device
        softCap = head.softCap
        weight = head.weight.view.narrowed(0, 0..<head.classes)
        let bias = head.bias?.view.narrowed(0, 0..<head.classes)
        guard let bias, let softCap else {
            self.bias = bias
            return
        }
        // The product is divided by the cap before the bias comes to it.
        let scaled = try device.empty(bias.shape)
        try run(Scale(1 / softCap), .init(x: bias, y: .write(scaled)), on: device)
        self.bias = scaled
    }

    /// - Parameters:
    ///   - x: `[rows, hidden]`.
    ///   - logits: `[rows, classes]`.
    ///   - uncapped: gets z / cap, which the gradient of a bounded head needs.
    func multiply(_ x: View, into logits: View, uncapped: View?) throws {
        guard let softCap else {
            return try run(
                Matmul(), .init(a: x, b: weight.transposed, c: .write(logits), bias: bias), on: device)
        }
        try run(
            Matmul(alpha: 1 / softCap, activation: .tanh),
            .init(a: x, b: weight.transposed, c: .write(logits), bias: bias, preactivation: uncapped), on: device)
        try run(Scale(softCap), .init(x: logits, y: .write(logits)), on: device)
    }
}

extension OutputHead {
    /// Hidden states as the matrix that the head multiplies: `[rows, hidden]`.
    func rows(of x: Tensor) throws -> View {
        guard x.rank >= 1, x.shape[x.rank - 1] == hidden, hidden > 0 else {
            throw TensorError("hidden states \(x.shape) before a head \(weight.shape)")
        }
        if x.rank == 2, x.view.rows != nil { return x.view }
        return try x.contiguousView().reshaped([x.count / hidden, hidden])
    }
}
