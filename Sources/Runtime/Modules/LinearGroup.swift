import RetortKernels

/// Linear layers of one input whose weights lie one behind the other in the arena. Without a tape one product makes the outputs of all of
/// them: where rows are few, to launch three takes longer than to multiply.
public struct LinearGroup {
    private let parts: [Linear]

    public init(_ parts: [Linear]) { self.parts = parts }

    /// The outputs of all parts side by side.
    /// - Parameter x: `[..., inputs]`.
    /// - Returns: `[..., sum of outputs]`; nil where each part is to make its own: on a tape, with adapters, activations or weights that lie
    ///   apart.
    public func joined(_ x: Tensor) throws -> Tensor? {
        guard !Autograd.isRecording,
            parts.allSatisfy({ $0.adapter == nil && $0.activation == .none }),
            let weight = View.stacked(parts.map(\.weight.tensor.view))
        else { return nil }
        let biases = parts.compactMap(\.bias?.value)
        let bias = View.stacked(biases)
        guard biases.isEmpty || biases.count == parts.count && bias != nil else { return nil }
        return try x.linear(Tensor(weight, x.device), bias: bias.map { Tensor($0, x.device) })
    }
}
