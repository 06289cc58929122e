import RetortKernels

/// Linear layers of one input whose weights lie one behind the other in the arena. Without a tape one product makes the outputs of all of
/// them: where rows are few, to launch three takes longer than to multiply.
public struct LinearGroup {
    private let parts: [Linear]

    public init(_ parts: [Linear]) { self.parts = parts }

    /// The outputs of all parts side by side. Where rows are few the norm in front of them takes no launch of its own.
    /// - Parameters:
    ///   - x: `[..., inputs]`.
    ///   - norm: what x goes through first; nil: nothing.
    /// - Returns: `[..., sum of outputs]`; nil where each part is to make its own: on a tape, with adapters, activations or weights that lie
    ///   apart.
    public func joined(_ x: Tensor, after norm: RMSNormalization? = nil) throws -> Tensor? {
        guard let all = stacked else { return nil }
        return try outputs(x, norm, all)
    }

    /// activation(gate) · up of two parts, which are the gate and what it is multiplied with. Where rows are few norm, product and activation
    /// are one launch.
    /// - Parameters:
    ///   - kind: the gate's activation.
    ///   - x: `[..., inputs]`.
    ///   - norm: what x goes through first.
    /// - Returns: `[..., outputs of a part]`; nil as of `joined`.
    public func gated(_ kind: GatedActivation, _ x: Tensor, after norm: RMSNormalization) throws -> Tensor? {
        let width = parts[0].weight.shape[0]
        guard parts.count == 2, parts[1].weight.shape[0] == width, let all = stacked else { return nil }
        if let y = try normed(x, norm, all, gate: kind) { return y }
        let both = try outputs(x, norm, all)
        return try Tensor.gated(
            kind, gate: both.narrowed(axis: -1, 0..<width), up: both.narrowed(axis: -1, width..<(2 * width)))
    }

    /// The parts' weights `[sum of outputs, inputs]` and biases `[sum of outputs]`, as they lie.
    private var stacked: (weight: View, bias: View?)? {
        guard !Autograd.isRecording, parts.allSatisfy({ $0.adapter == nil && $0.activation == .none }),
            let weight = View.stacked(parts.map(\.weight.tensor.view))
        else { return nil }
        let biases = parts.compactMap(\.bias?.value)
        let bias = View.stacked(biases)
        guard biases.isEmpty || biases.count == parts.count && bias != nil else { return nil }
        return (weight, bias)
    }

    private func outputs(_ x: Tensor, _ norm: RMSNormalization?, _ all: (weight: View, bias: View?)) throws -> Tensor {
        if let norm, let y = try normed(x, norm, all, gate: nil) { return y }
        return try (norm.map { try $0(x) } ?? x).linear(
            Tensor(all.weight, x.device), bias: all.bias.map { Tensor($0, x.device) })
    }

    /// Norm and product, and the gate's activation, in one launch; nil where rows are many, x is not fp32, or the norm's weights are stored as
    /// what they are beyond 1.
    private func normed(
        _ x: Tensor, _ norm: RMSNormalization, _ all: (weight: View, bias: View?), gate: GatedActivation?
    ) throws -> Tensor? {
        let inputs = all.weight.shape[1]
        guard norm.weightOffset == 0, x.dtype == .f32, x.shape.last == inputs, inputs > 0,
            x.count <= inputs * x.device.fewRows
        else {
            return nil
        }
        let outputs = all.weight.shape[0] / (gate == nil ? 1 : 2)
        let y = try x.device.empty(x.shape.dropLast() + [outputs])
        try run(
            NormedProduct(epsilon: norm.epsilon, gate: gate),
            .init(x: x.contiguousView(), norm: norm.weight.tensor.view, weight: all.weight, bias: all.bias, y: y),
            on: x.device)
        return Tensor(y, x.device)
    }
}
