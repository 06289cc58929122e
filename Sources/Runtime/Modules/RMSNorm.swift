/// Root mean square normalisation over the last dimension with a trained weight `[columns]`, by which it multiplies: 1 at first.
public final class RMSNormalization: Module {
    public let weight: Parameter
    public let epsilon: Float
    public let weightOffset: Float
    public var isTraining = true

    /// - `weightOffset`: is added to the weight; 1 where checkpoints store what it is beyond 1.
    public init(_ name: String, columns: Int, epsilon: Float = 1e-6, weightOffset: Float = 0) {
        weight = Parameter(name + ".weight", [columns], .constant(1 - weightOffset))
        self.epsilon = epsilon
        self.weightOffset = weightOffset
    }

    public var parameters: [Parameter] { [weight] }

    public func callAsFunction(_ x: Tensor) throws -> Tensor {
        try x.rmsNorm(weight: weight.tensor, epsilon: epsilon, weightOffset: weightOffset)
    }
}
