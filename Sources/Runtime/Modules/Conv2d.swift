import RetortKernels

/// Two-dimensional convolution: x `[n, inputs, height, width]` → `[n, outputs, height', width']`; weight `[outputs, inputs / groups, kh, kw]`,
/// bias `[outputs]`, named as in PyTorch's `nn.Conv2d`.
public final class Convolution2d: Module {
    public let weight: Parameter
    public let bias: Parameter?
    public let geometry: Conv2dGeometry
    /// `none` or `relu`.
    public let activation: MatmulActivation
    public var isTraining = true

    /// Starts as PyTorch's `nn.Conv2d`, weight and bias uniform in ±1/√fan_in with fan_in = inputs / groups · kh · kw, unless
    /// `initializer` says how the weight starts; the bias is uniform in any case.
    public init(
        _ name: String, inputs: Int, outputs: Int, kernel: Conv2dGeometry.Pair, geometry: Conv2dGeometry,
        bias: Bool = true, activation: MatmulActivation = .none, initializer: Initializer? = nil
    ) {
        precondition(
            geometry.groups > 0 && inputs % geometry.groups == 0 && outputs % geometry.groups == 0,
            "\(name): \(geometry.groups) groups do not divide \(inputs) inputs and \(outputs) outputs")
        let shape: Dimensions = [outputs, inputs / geometry.groups, kernel.vertical, kernel.horizontal]
        let bound = 1 / Float(shape[1] * shape[2] * shape[3]).squareRoot()
        weight = Parameter(name + ".weight", shape, initializer ?? .uniform(bound: bound))
        self.bias = bias ? Parameter(name + ".bias", [outputs], .uniform(bound: bound)) : nil
        self.geometry = geometry
        self.activation = activation
    }

    /// A square kernel with the same stride, padding and dilation in both directions.
    public convenience init(
        _ name: String, inputs: Int, outputs: Int, kernel: Int, stride: Int = 1, padding: Int = 0, dilation: Int = 1,
        groups: Int = 1, bias: Bool = true, activation: MatmulActivation = .none, initializer: Initializer? = nil
    ) {
        self.init(
            name, inputs: inputs, outputs: outputs, kernel: .init(kernel),
            geometry: Conv2dGeometry(stride: stride, padding: padding, dilation: dilation, groups: groups), bias: bias,
            activation: activation, initializer: initializer)
    }

    public var parameters: [Parameter] { [weight] + (bias.map { [$0] } ?? []) }

    public func callAsFunction(_ x: Tensor) throws -> Tensor {
        try x.conv2d(weight.tensor, bias: bias?.tensor, geometry: geometry, activation: activation)
    }
}

extension Initializer {
    /// Normal with variance 2 / fan_out, fan_out = outputs · kernel elements / groups (He et al. 2015), as published ResNets start.
    public static func kaimingNormal(fanOut: Int) -> Initializer {
        .normal(deviation: (2 / Float(max(1, fanOut))).squareRoot())
    }
}
