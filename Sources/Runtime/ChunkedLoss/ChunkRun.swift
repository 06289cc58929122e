import RetortKernels

/// One pass over the chunks of a loss: the products around it, and where its gradients go.
struct ChunkRun {
    private let hidden: Tensor
    private let head: OutputHead
    private let teachers: [any LogitSource]
    private let device: ComputeDevice
    private let projection: HeadProjection
    /// `[rows, hidden]`.
    private let x: View
    private let rowsOfChunk: Int
    let gradients: ChunkGradients

    private var rows: Int { x.shape[0] }
    private var classes: Int { head.classes }

    /// - Parameter copies: how often a chunk is held while its loss is computed.
    init(
        _ hidden: Tensor, _ head: OutputHead, teachers: [any LogitSource], _ chunk: ChunkSize, _ mode: HeadGradient,
        copies: Int = 1
    ) throws {
        guard head.classes > 0 else { throw TensorError("a loss over a head without classes") }
        self.hidden = hidden
        self.head = head
        self.teachers = teachers
        device = hidden.device
        projection = try HeadProjection(head)
        x = try head.rows(of: hidden)
        gradients = try ChunkGradients(hidden, head, shape: x.shape, mode)
        let needsUncapped = head.softCap != nil && gradients.areWanted
        let own = head.classes * (needsUncapped ? 2 : 1)
        let taught = teachers.reduce(0) { $0 + ($1.needsSpace ? $1.classes : 0) }
        rowsOfChunk = try chunk.rows(of: x.shape[0], bytesOfRow: 4 * (own + taught), copies: copies)
    }

    /// What a loss does with a chunk: logits of student and teachers, rows, and where loss `[rows]` and gradient go; the gradient is the
    /// student's own memory.
    typealias Kernel = (
        _ student: View, _ teachers: [View], _ range: Range<Int>, _ loss: View, _ gradient: View?
    ) throws -> Void

    /// - Returns: the loss of each row.
    func chunks(_ kernel: Kernel) throws -> View {
        let loss = try device.empty([rows])
        // The same memory for every chunk: the queue is in order.
        let shape: Dimensions = [rowsOfChunk, classes]
        let logits = try device.empty(shape, for: .logits)
        let spaces = try teachers.map {
            $0.needsSpace ? try device.empty([rowsOfChunk, $0.classes], for: .logits) : nil
        }
        let uncapped = head.softCap != nil && gradients.areWanted ? try device.empty(shape, for: .logits) : nil
        for start in stride(from: 0, to: rows, by: rowsOfChunk) {
            let range = start..<min(rows, start + rowsOfChunk)
            let part = 0..<range.count
            let (z, u) = (logits.slice(part), uncapped?.slice(part))
            try projection.multiply(x.slice(range), into: z, uncapped: u)
            let t = try zip(teachers, spaces).map { try $0.logits(range, in: $1?.slice(part)) }
            try kernel(z, t, range, loss.slice(range), gradients.areWanted ? z : nil)
            if gradients.areWanted { try backward(z, u, range) }
        }
        try gradients.weight?.finish(on: device)
        try gradients.bias?.finish(on: device)
        return loss
    }

    /// From the gradient of a chunk's logits to hidden states and head.
    private func backward(_ dz: View, _ uncapped: View?, _ range: Range<Int>) throws {
        if let uncapped {
            // d cap · tanh(z / cap) = tanh′(z / cap) dz
            try run(UnaryBackward(.tanh), .init(x: uncapped, dy: dz, dx: .write(dz)), on: device)
        }
        if let hiddenGradient = gradients.hidden {
            try run(
                Matmul(), .init(a: dz, b: projection.weight, c: .write(hiddenGradient.slice(range))), on: device)
        }
        if let weightGradient = gradients.weight {
            try run(
                Matmul(), .init(a: dz.transposed, b: x.slice(range), c: try weightGradient.next(on: device)), on: device
            )
        }
        if let biasGradient = gradients.bias {
            let sum = try biasGradient.next(on: device)
            try run(Reduce(.sum), .init(x: dz, axis: 0, y: try sum.reshaped([1, classes])), on: device)
        }
    }

    /// The sum of the rows' losses, on the tape. Gradients are there already: backward hands them over.
    /// - Parameter others: what else it depends on, with its gradients.
    func total(of loss: View, also others: [(input: Tensor, gradient: View?)] = []) throws -> Tensor {
        let total = try device.empty([1])
        try run(Reduce(.sum), .init(x: loss, axis: 0, y: .write(total)), on: device)
        let inputs = [hidden, head.weight] + (head.bias.map { [$0] } ?? []) + others.map(\.input)
        return Tensor.recorded(total.reshaped([]), device, from: inputs) { [gradients, device] _, upstream in
            try gradients.deliver(upstream)
            for (input, gradient) in others {
                guard let node = input.node, let gradient else { continue }
                try node.give(.view(try gradient.scaled(by: upstream, on: device)))
            }
        }
    }

    /// Σ weight · scale · part over the rows.
    func weighted(_ part: View, _ weights: View?, _ scale: Float) throws -> Tensor {
        let sum = try device.empty([1, 1])
        guard let weights, rows > 0 else {
            try run(Reduce(.sum), .init(x: part, axis: 0, y: .write(sum.reshaped([1]))), on: device)
            try run(Scale(scale), .init(x: sum, y: .write(sum)), on: device)
            return Tensor(sum.reshaped([]), device)
        }
        try run(
            Matmul(alpha: scale), .init(a: part.reshaped([1, rows]), b: weights.reshaped([rows, 1]), c: .write(sum)),
            on: device)
        return Tensor(sum.reshaped([]), device)
    }
}

/// The gradients of a chunked loss, which are there before backward asks for them.
struct ChunkGradients {
    fileprivate let node: Node?
    /// `[rows, hidden]`.
    fileprivate let hidden: View?
    fileprivate let weight: ChunkGradient?
    fileprivate let bias: ChunkGradient?
    private let device: ComputeDevice

    var areWanted: Bool { hidden != nil || weight != nil || bias != nil }

    /// - Parameter shape: `[rows, hidden]`.
    fileprivate init(_ states: Tensor, _ head: OutputHead, shape: Dimensions, _ mode: HeadGradient) throws {
        let records = Autograd.isRecording
        device = states.device
        node = states.node
        hidden = records && states.node != nil ? try device.empty(shape) : nil
        weight = records ? try ChunkGradient(head.weight, rows: head.classes, mode) : nil
        bias = records ? try head.bias.flatMap { try ChunkGradient($0, rows: head.classes, mode) } : nil
    }

    /// Hands them to the tape.
    func deliver(_ upstream: Gradient) throws {
        if let node, let hidden {
            let scaled = try hidden.scaled(by: upstream, on: device)
            try node.give(.view(scaled.reshapedIfNeeded(node.shape)))
        }
        try weight?.deliver(upstream, on: device)
        try bias?.deliver(upstream, on: device)
    }
}

/// The gradient of a head's weight or bias while chunks add to it: the first writes, the rest add.
private final class ChunkGradient {
    /// The rows of the head that are used.
    let view: View
    private let node: Node
    private let rows: Int
    /// Whether `view` is the parameter's own gradient.
    private let isAdded: Bool
    private var isWritten: Bool

    /// nil where no gradient is wanted.
    init?(_ parameter: Tensor, rows: Int, _ mode: HeadGradient) throws {
        guard let node = parameter.node else { return nil }
        self.node = node
        self.rows = rows
        if mode == .added, let slot = node.slot {
            isAdded = true
            let sink = slot.sink()
            isWritten = sink.mode == .accumulate
            view = sink.view.narrowed(0, 0..<rows)
            if !isWritten, rows < node.shape[0] {
                try run(Fill(0), .init(y: sink.view.narrowed(0, rows..<node.shape[0])), on: node.device)
            }
        } else {
            isAdded = false
            isWritten = false
            view = try node.device.empty([rows] + node.shape.dropFirst(), for: .gradients)
        }
    }

    /// Where the next chunk's share goes.
    func next(on device: ComputeDevice) throws -> Output {
        defer { isWritten = true }
        return Output(view, isWritten ? .accumulate : .write)
    }

    /// Without a chunk the gradient is 0.
    func finish(on device: ComputeDevice) throws {
        if !isWritten { try run(Fill(0), .init(y: view), on: device) }
        isWritten = true
    }

    func deliver(_ upstream: Gradient, on device: ComputeDevice) throws {
        guard !isAdded else {
            if case .constant(1) = upstream { return }
            throw TensorError(
                "a chunked loss has added its head's gradient for a factor of 1, and is now multiplied by another; "
                    + "weigh it by its op's scale, or let it hold the gradient")
        }
        let scaled = try view.scaled(by: upstream, on: device)
        guard rows < node.shape[0] else { return try node.give(.view(scaled)) }
        let sink = try node.sink()
        if sink.mode == .write { try run(Fill(0), .init(y: sink.view), on: device) }
        try run(Copy(), .init(x: scaled, y: .accumulate(sink.view.narrowed(0, 0..<rows))), on: device)
    }
}

extension View {
    /// These numbers times a gradient of one element, in place.
    fileprivate func scaled(by factor: Gradient, on device: ComputeDevice) throws -> View {
        switch factor {
        case .constant(1): break
        case .constant(let number): try run(Scale(number), .init(x: self, y: .write(self)), on: device)
        case .view(let one), .shared(let one):
            try run(Binary(.multiply), .init(a: self, b: one, y: .write(self)), on: device)
        }
        return self
    }
}
