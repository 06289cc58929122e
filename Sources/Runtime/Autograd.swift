import RetortKernels
import Synchronization

/// The tape is eager: running an op on tensors that need gradients leaves a node behind, and `backward` walks the nodes
/// in reverse order of creation, freeing each as it passes.
public enum Autograd {
    @TaskLocal static var isRecording = true

    /// Runs `body` without leaving nodes behind: evaluation, teachers.
    public static func withoutGradients<T>(_ body: () throws -> T) rethrows -> T {
        try $isRecording.withValue(false, operation: body)
    }

    /// Whether what is computed from these gets a node. Ops of a decoder ask before they make the closure that would go backward: it
    /// holds copies of all operands, and without a tape nobody calls it.
    static func records(_ a: Node?, _ b: Node? = nil, _ c: Node? = nil, _ d: Node? = nil) -> Bool {
        (a != nil || b != nil || c != nil || d != nil) && isRecording
    }
}

/// A gradient on its way down: a view, or a number that stands for a view full of it. The number spares the common
/// case, the loss's own gradient of 1, a buffer and a pass.
enum Gradient {
    case constant(Float)
    /// Whoever gets it may add to it.
    case view(View)
    /// Another node holds the same view: read it, never write to it.
    case shared(View)

    /// The same kind of gradient on another view of the same elements.
    func mapView(_ change: (View) throws -> View) rethrows -> Gradient {
        switch self {
        case .constant: self
        case .view(let view): .view(try change(view))
        case .shared(let view): .shared(try change(view))
        }
    }
}

/// One recorded step: how the gradient of its output becomes gradients of its inputs.
final class Node {
    private static let counter = Atomic<Int>(0)

    /// Order of creation; backward runs from high to low.
    let id: Int
    let shape: Dimensions
    let device: ComputeDevice
    let inputs: [Node]
    /// Sends a gradient on to the inputs. nil for leaves and once backward has passed.
    var vjp: ((Gradient) throws -> Void)?
    /// Set for leaves: where the gradient is kept after backward.
    let slot: GradientSlot?
    fileprivate(set) var gradient: Gradient?
    /// Where a tape begins that is made again in backward: what arrives here is handed on to another.
    private(set) var isBeginning = false

    init(
        shape: Dimensions, device: ComputeDevice, inputs: [Node] = [], slot: GradientSlot? = nil,
        vjp: ((Gradient) throws -> Void)? = nil
    ) {
        id = Self.counter.add(1, ordering: .relaxed).newValue
        self.shape = shape
        self.device = device
        self.inputs = inputs
        self.slot = slot
        self.vjp = vjp
    }

    /// The beginning of a tape that is made again in backward.
    convenience init(beginning shape: Dimensions, device: ComputeDevice) {
        self.init(shape: shape, device: device)
        isBeginning = true
    }

    /// The output of a part of a model that is computed again when its gradient comes.
    /// - Parameters:
    ///   - source: what the part is computed from; nil where that needs no gradient.
    ///   - part: makes the part's tape again: its beginning, and its end.
    static func recomputing(
        from source: Node?, shape: Dimensions, device: ComputeDevice,
        part: @escaping () throws -> (beginning: Node?, end: Node?)
    ) -> Node {
        Node(shape: shape, device: device, inputs: source.map { [$0] } ?? []) { gradient in
            let (beginning, end) = try Autograd.$isRecording.withValue(true, operation: part)
            guard let end else { return }
            // What others have sent the source so far comes first in the sum, as it would on one tape.
            if let source, source.slot == nil {
                beginning?.gradient = source.gradient
                source.gradient = nil
            }
            try end.backward(gradient)
            guard let source, let sum = beginning?.gradient else { return }
            beginning?.gradient = nil
            try source.give(sum)
        }
    }

    /// Where the next contribution to this node's gradient goes: the first writes, the rest add.
    func sink() throws -> Output {
        if let slot { return slot.sink() }
        switch gradient {
        case .view(let view): return .accumulate(view)
        case .shared(let view):
            let own = try device.empty(shape, for: .activations)
            try run(Copy(), .init(x: view.reshapedIfNeeded(shape), y: .write(own)), on: device)
            gradient = .view(own)
            return .accumulate(own)
        case .constant(let value):
            let view = try filled(value)
            gradient = .view(view)
            return .accumulate(view)
        case nil:
            let view = try device.empty(shape, for: .activations)
            gradient = .view(view)
            return .write(view)
        }
    }

    /// Hands over a finished gradient. The first one is kept as it is, without a copy.
    func give(_ value: Gradient) throws {
        if slot == nil, gradient == nil {
            gradient = value
            return
        }
        let sink = try sink()
        switch value {
        case .view(let view), .shared(let view):
            try run(Copy(), .init(x: view.reshapedIfNeeded(sink.view.shape), y: sink), on: device)
        case .constant(let number):
            try run(Copy(), .init(x: try filled(number), y: sink), on: device)
        }
    }

    private func filled(_ value: Float) throws -> View {
        let view = try device.empty(shape, for: .activations)
        try run(Fill(value), .init(y: view), on: device)
        return view
    }

    /// The gradient as a contiguous view, made if it is still a number.
    func materialize(_ gradient: Gradient) throws -> View {
        switch gradient {
        case .view(let view), .shared(let view): view
        case .constant(let value): try filled(value)
        }
    }
}

/// Where a leaf's gradient is collected, shared by the parameter and its place on the tape.
final class GradientSlot {
    let view: View
    /// Whether the gradient holds something of this step; the first write of a step replaces, the rest add.
    var isWritten = false

    init(_ view: View) { self.view = view }

    func sink() -> Output {
        defer { isWritten = true }
        return Output(view, isWritten ? .accumulate : .write)
    }
}

extension View {
    func reshapedIfNeeded(_ shape: Dimensions) -> View { self.shape == shape ? self : reshaped(shape) }
}

extension Tensor {
    /// Gradients of this scalar with respect to every parameter it depends on, added to the parameters' gradients
    /// (written, when they were cleared). The tape is used up: parts of it that two losses share need one backward of
    /// their sum.
    /// - Throws: `TensorError` when there is no tape, or an earlier backward has used it up.
    public func backward() throws {
        guard count == 1 else { throw TensorError("backward starts from a scalar; this tensor has shape \(shape)") }
        try onTape().backward(.constant(1))
    }

    /// Gradients of Σ element · upstream element of this tensor; otherwise as `backward()`.
    public func backward(upstream: Tensor) throws { try Tensor.backward([(self, upstream)]) }

    /// Gradients of the sum over all outputs of Σ element · upstream element, in one pass over the tape they share. An
    /// element that is not finite takes no part where its upstream is 0: nothing is multiplied here.
    public static func backward(_ outputs: [(tensor: Tensor, upstream: Tensor)]) throws {
        for (tensor, upstream) in outputs {
            guard tensor.shape == upstream.shape else {
                throw TensorError("upstream gradient \(upstream.shape) of a tensor of shape \(tensor.shape)")
            }
            // A copy: gradients are added to in place, and the caller keeps his.
            let node = try tensor.onTape()
            let gradient = try node.device.empty(tensor.shape)
            try run(Copy(), .init(x: upstream.view, y: .write(gradient)), on: node.device)
            try node.give(.view(gradient))
        }
        try Node.backward(from: outputs.map { try $0.tensor.onTape() })
    }

    private func onTape() throws -> Node {
        guard let node else { throw TensorError("backward on a tensor that depends on no parameter") }
        return node
    }
}

extension Node {
    fileprivate func backward(_ gradient: Gradient) throws {
        try give(gradient)
        try Self.backward(from: [self])
    }

    /// Walks the tape from nodes that have their gradients.
    fileprivate static func backward(from roots: [Node]) throws {
        // A heap would be the textbook choice; a sorted array of the few pending nodes is faster here.
        var pending: [Node] = []
        var known: Set<Int> = []
        func add(_ node: Node) {
            guard known.insert(node.id).inserted else { return }
            let at = pending.firstIndex { $0.id > node.id } ?? pending.count
            pending.insert(node, at: at)
        }
        roots.forEach(add)
        while let node = pending.popLast() {
            guard node.slot == nil, !node.isBeginning else { continue }
            guard let vjp = node.vjp else {
                if node.gradient == nil { continue }
                node.gradient = nil
                throw TensorError(
                    "this part of the tape was used up by an earlier backward; add the losses, then call it once")
            }
            let gradient = node.gradient
            node.vjp = nil
            node.gradient = nil
            if let gradient { try vjp(gradient) }
            node.inputs.forEach(add)
        }
    }
}

/// Tensors that do not fit together: a bug in the calling program, with both shapes.
public struct TensorError: Error, CustomStringConvertible, Sendable {
    public let description: String
    public init(_ description: String) { self.description = description }
}
