import RetortKernels

/// Transposed convolution: x `[n, inputs, height, width]` → `[n, outputs, height', width']`, larger by the stride; weight
/// `[inputs, outputs / groups, kh, kw]`, bias `[outputs]`, named as in PyTorch's `nn.ConvTranspose2d`.
public final class TransposedConvolution2d: Module {
    public let weight: Parameter
    public let bias: Parameter?
    public let geometry: Conv2dGeometry
    public let outputPadding: Conv2dGeometry.Pair
    public var isTraining = true

    /// Starts as PyTorch's `nn.ConvTranspose2d`: weight and bias uniform in ±1/√fan_in, where fan_in is counted as if for the convolution that
    /// this transposes, outputs / groups · kh · kw.
    public init(
        _ name: String, inputs: Int, outputs: Int, kernel: Conv2dGeometry.Pair, geometry: Conv2dGeometry,
        outputPadding: Conv2dGeometry.Pair = .init(0), bias: Bool = true
    ) {
        precondition(
            geometry.groups > 0 && inputs % geometry.groups == 0 && outputs % geometry.groups == 0,
            "\(name): \(geometry.groups) groups do not divide \(inputs) inputs and \(outputs) outputs")
        let shape: Dimensions = [inputs, outputs / geometry.groups, kernel.vertical, kernel.horizontal]
        let start = Initializer.uniform(bound: 1 / Float(shape[1] * shape[2] * shape[3]).squareRoot())
        weight = Parameter(name + ".weight", shape, start)
        self.bias = bias ? Parameter(name + ".bias", [outputs], start) : nil
        self.geometry = geometry
        self.outputPadding = outputPadding
    }

    public var parameters: [Parameter] { [weight] + (bias.map { [$0] } ?? []) }

    public func callAsFunction(_ x: Tensor) throws -> Tensor {
        try x.transposedConv2d(
            weight.tensor, bias: bias?.tensor, geometry: geometry, outputPadding: outputPadding)
    }
}
