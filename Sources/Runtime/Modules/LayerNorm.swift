/// Layer normalisation over the last dimension, with trained weight (starts at 1) and bias (starts at 0), both `[columns]`.
public final class LayerNormalization: Module {
    public let weight: Parameter
    public let bias: Parameter
    public let epsilon: Float
    public var isTraining = true

    public init(_ name: String, columns: Int, epsilon: Float = 1e-5) {
        weight = Parameter(name + ".weight", [columns], .constant(1))
        bias = Parameter(name + ".bias", [columns], .zeros)
        self.epsilon = epsilon
    }

    public var parameters: [Parameter] { [weight, bias] }

    public func callAsFunction(_ x: Tensor) throws -> Tensor {
        try x.layerNorm(weight: weight.tensor, bias: bias.tensor, epsilon: epsilon)
    }
}
