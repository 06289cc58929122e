import RetortKernels

/// y = activation(x · weightᵀ + bias) + residual. x `[..., inputs]` → `[..., outputs]`; weight `[outputs, inputs]`, bias `[outputs]`.
public final class Linear: Adaptable {
    public let weight: Parameter
    public let bias: Parameter?
    public let activation: MatmulActivation
    public var isTraining = true
    public var adapter: LowRankAdapter?

    /// Starts as PyTorch's `nn.Linear`: weight and bias uniform in ±1/√inputs.
    public init(_ name: String, inputs: Int, outputs: Int, bias: Bool = true, activation: MatmulActivation = .none) {
        let bound = 1 / Float(inputs).squareRoot()
        weight = Parameter(name + ".weight", [outputs, inputs], .uniform(bound: bound))
        self.bias = bias ? Parameter(name + ".bias", [outputs], .uniform(bound: bound)) : nil
        self.activation = activation
    }

    public var isTransposed: Bool { false }
    public var children: [any Module] { adapter.map { [$0] } ?? [] }
    public var parameters: [Parameter] { [weight] + (bias.map { [$0] } ?? []) }

    /// - `residual`: `[..., outputs]`, added in the same pass.
    /// - `dtype`: what the result is stored as; nil: as x is.
    public func callAsFunction(_ x: Tensor, plus residual: Tensor? = nil, storedAs dtype: DType? = nil) throws -> Tensor
    {
        guard let adapter else {
            return try x.linear(
                weight.tensor, bias: bias?.tensor, activation: activation, plus: residual, storedAs: dtype)
        }
        let y = try adapter.product(
            x, weight: weight.tensor, bias: bias?.tensor, activation: activation, plus: residual)
        return try dtype.map { try y.stored(as: $0) } ?? y
    }
}
