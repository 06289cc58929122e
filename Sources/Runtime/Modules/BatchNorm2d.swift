import RetortKernels

/// Batch normalisation of `[n, channels, height, width]` by channel, with trained weight (starts at 1) and bias (starts at 0) and
/// running statistics for evaluation, all `[channels]`; names and numbers of PyTorch's `nn.BatchNorm2d`.
public final class BatchNorm2d: Module {
    public let weight: Parameter
    public let bias: Parameter
    public let runningMean: Buffer
    public let runningVariance: Buffer
    public let epsilon: Float
    /// Weight of a batch in the running statistics.
    public let momentum: Float
    public var isTraining = true

    public init(_ name: String, channels: Int, epsilon: Float = 1e-5, momentum: Float = 0.1) {
        weight = Parameter(name + ".weight", [channels], .constant(1))
        bias = Parameter(name + ".bias", [channels], .zeros)
        runningMean = Buffer(name + ".running_mean", [channels], initial: 0)
        runningVariance = Buffer(name + ".running_var", [channels], initial: 1)
        self.epsilon = epsilon
        self.momentum = momentum
    }

    public var parameters: [Parameter] { [weight, bias] }
    public var buffers: [Buffer] { [runningMean, runningVariance] }

    /// The normalised x, plus `residual`, through ReLU when asked.
    public func callAsFunction(_ x: Tensor, residual: Tensor? = nil, relu: Bool = false) throws -> Tensor {
        try x.batchNorm(
            weight: weight.tensor, bias: bias.tensor,
            running: RunningStatistics(mean: runningMean.view, variance: runningVariance.view), momentum: momentum,
            epsilon: epsilon, training: isTraining, residual: residual, relu: relu)
    }
}
