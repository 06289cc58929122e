/// Root mean square normalisation over the last dimension with a trained weight `[columns]`, which starts at 1.
public final class RMSNormalization: Module {
    public let weight: Parameter
    public let epsilon: Float
    public var isTraining = true

    public init(_ name: String, columns: Int, epsilon: Float = 1e-6) {
        weight = Parameter(name + ".weight", [columns], .constant(1))
        self.epsilon = epsilon
    }

    public var parameters: [Parameter] { [weight] }

    public func callAsFunction(_ x: Tensor) throws -> Tensor {
        try x.rmsNorm(weight: weight.tensor, epsilon: epsilon)
    }
}
