import RetortKernels
import RetortRuntime

extension GradientDescription {
    /// Convolutions: every parameter, with and without bias and ReLU. Inputs are small and random: sums that lie close to ReLU's kink would show
    /// in the reference's differences, and the seeds here have none.
    static let convolutions: [GradientDescription] = [
        convolution("padding=1", [2, 3, 5, 4], [4, 3, 3, 3], .init(padding: 1)),
        convolution("bias", [2, 2, 4, 4], [3, 2, 3, 3], .init(), bias: true),
        convolution("bias relu padding=1", [2, 2, 4, 5], [3, 2, 3, 3], .init(padding: 1), bias: true, relu: true),
        convolution("stride=2 padding=1", [1, 2, 7, 6], [3, 2, 3, 3], .init(stride: 2, padding: 1)),
        convolution("stride=3x2", [1, 2, 8, 7], [2, 2, 2, 3], .init(stride: .init(3, 2)), bias: true),
        convolution("dilation=2 padding=2", [1, 2, 6, 5], [2, 2, 3, 3], .init(padding: 2, dilation: 2)),
        convolution("groups=2 padding=1", [2, 4, 4, 4], [6, 2, 3, 3], .init(padding: 1, groups: 2), bias: true),
        convolution(
            "groups=3 depthwise stride=2", [1, 3, 5, 5], [6, 1, 3, 3], .init(stride: 2, padding: 1, groups: 3)),
        convolution("1x1", [2, 3, 3, 3], [4, 3, 1, 1], .init(), bias: true),
        GradientDescription(
            "conv2d", "frozen weight, trained bias", [[2, 2, 4, 4], [3]],
            values: { [$0.normal(64), $0.normal(3)] },
            tensor: { x, device in
                try x[0].conv2d(try Tensor(frozen, [3, 2, 3, 3], on: device), bias: x[1])
            },
            reference: { x in
                crossCorrelation(
                    x[0], [2, 2, 4, 4], frozen.map(Double.init), [3, 2, 3, 3], .init(), bias: x[1], relu: false)
            }),
    ]

    /// Transposed convolutions; sizes are those of the input, not of the larger image.
    static let transposedConvolutions: [GradientDescription] = [
        // What the distillation zoo doubles a map with.
        transposed("4x4 stride=2 padding=1", [2, 3, 3, 5], [3, 2, 4, 4], .init(stride: 2, padding: 1), bias: true),
        transposed("stride=1", [2, 3, 3, 4], [3, 4, 3, 2], .init()),
        transposed("1x1", [2, 3, 3, 3], [3, 4, 1, 1], .init(), bias: true),
        transposed("stride above the kernel: gaps", [1, 2, 3, 2], [2, 3, 2, 1], .init(stride: 3), bias: true),
        transposed(
            "stride=3x2 output padding=2x1", [2, 2, 2, 3], [2, 3, 3, 3], .init(stride: .init(3, 2)),
            outputPadding: .init(2, 1), bias: true),
        transposed(
            "stride=2 dilation=3x2 padding=2x1", [1, 2, 3, 4], [2, 3, 2, 3],
            .init(stride: .init(2), padding: .init(2, 1), dilation: .init(3, 2))),
        transposed(
            "groups=2 stride=2 padding=1", [2, 4, 3, 3], [4, 3, 3, 3], .init(stride: 2, padding: 1, groups: 2),
            bias: true),
        transposed("groups=3 depthwise", [1, 3, 4, 3], [3, 1, 3, 3], .init(stride: 2, padding: 1, groups: 3)),
        transposed("41 pixels", [1, 2, 1, 41], [2, 2, 1, 3], .init(stride: .init(1, 2), padding: .init(0, 1))),
    ]

    private static func transposed(
        _ label: String, _ x: [Int], _ weight: [Int], _ geometry: Conv2dGeometry,
        outputPadding: Conv2dGeometry.Pair = .init(0), bias: Bool = false
    ) -> GradientDescription {
        let outputs = weight[1] * geometry.groups
        return GradientDescription(
            "transposedConv2d", "\(x.shapeText) by \(weight.shapeText) \(label)",
            [x, weight] + (bias ? [[outputs]] : []),
            tensor: { t, _ in
                try t[0].transposedConv2d(
                    t[1], bias: bias ? t[2] : nil, geometry: geometry, outputPadding: outputPadding)
            },
            reference: { v in
                transposedConvolution(v[0], x, v[1], weight, geometry, outputPadding, bias: bias ? v[2] : nil)
            })
    }

    private static func convolution(
        _ label: String, _ x: [Int], _ weight: [Int], _ geometry: Conv2dGeometry, bias: Bool = false, relu: Bool = false
    ) -> GradientDescription {
        GradientDescription(
            "conv2d", "\(x.shapeText) by \(weight.shapeText) \(label)", [x, weight] + (bias ? [[weight[0]]] : []),
            values: { random in
                [random.normal(x.elements), random.normal(weight.elements)] + (bias ? [random.normal(weight[0])] : [])
            },
            tensor: { t, _ in
                try t[0].conv2d(
                    t[1], bias: bias ? t[2] : nil, geometry: geometry, activation: relu ? .relu : .none)
            },
            reference: { v in
                crossCorrelation(v[0], x, v[1], weight, geometry, bias: bias ? v[2] : nil, relu: relu)
            })
    }
}

private let frozen: [Float] = (0..<54).map { Float($0 % 7) * 0.25 - 0.6 }

/// torch.nn.functional.conv2d in float64, output by output.
private func crossCorrelation(
    _ x: [Double], _ xs: [Int], _ weight: [Double], _ ws: [Int], _ geometry: Conv2dGeometry, bias: [Double]?, relu: Bool
) -> [Double] {
    let size = geometry.outputSize(input: .init(xs[2], xs[3]), kernel: .init(ws[2], ws[3]))!
    var y: [Double] = []
    for image in 0..<xs[0] {
        for o in 0..<ws[0] {
            let first = o / (ws[0] / geometry.groups) * ws[1]
            for j in 0..<size.vertical {
                for i in 0..<size.horizontal {
                    var sum = bias?[o] ?? 0
                    for c in 0..<ws[1] {
                        for a in 0..<ws[2] {
                            for b in 0..<ws[3] {
                                let row =
                                    j * geometry.stride.vertical - geometry.padding.vertical
                                    + a * geometry.dilation.vertical
                                let column =
                                    i * geometry.stride.horizontal - geometry.padding.horizontal
                                    + b * geometry.dilation.horizontal
                                guard (0..<xs[2]).contains(row), (0..<xs[3]).contains(column) else { continue }
                                sum +=
                                    x[((image * xs[1] + first + c) * xs[2] + row) * xs[3] + column]
                                    * weight[((o * ws[1] + c) * ws[2] + a) * ws[3] + b]
                            }
                        }
                    }
                    y.append(relu ? max(0, sum) : sum)
                }
            }
        }
    }
    return y
}

/// torch.nn.functional.conv_transpose2d in float64: every input element adds its weights to the pixels they fall on.
func transposedConvolution(
    _ x: [Double], _ xs: [Int], _ weight: [Double], _ ws: [Int], _ geometry: Conv2dGeometry,
    _ outputPadding: Conv2dGeometry.Pair, bias: [Double]?
) -> [Double] {
    func size(_ input: Int, _ kernel: Int, _ along: KeyPath<Conv2dGeometry.Pair, Int>) -> Int {
        (input - 1) * geometry.stride[keyPath: along] - 2 * geometry.padding[keyPath: along]
            + geometry.dilation[keyPath: along] * (kernel - 1) + 1 + outputPadding[keyPath: along]
    }
    let (height, width) = (size(xs[2], ws[2], \.vertical), size(xs[3], ws[3], \.horizontal))
    let outputs = ws[1] * geometry.groups
    var y = (0..<xs[0] * outputs * height * width).map { bias?[$0 / (height * width) % outputs] ?? 0 }
    for (at, value) in x.enumerated() {
        let (column, row) = (at % xs[3], at / xs[3] % xs[2])
        let (channel, image) = (at / (xs[2] * xs[3]) % xs[1], at / (xs[1] * xs[2] * xs[3]))
        let firstOutput = channel / (xs[1] / geometry.groups) * ws[1]
        for (element, w) in weight[channel * ws[1] * ws[2] * ws[3]..<(channel + 1) * ws[1] * ws[2] * ws[3]].enumerated()
        {
            let (b, a) = (element % ws[3], element / ws[3] % ws[2])
            let j = row * geometry.stride.vertical + a * geometry.dilation.vertical - geometry.padding.vertical
            let i = column * geometry.stride.horizontal + b * geometry.dilation.horizontal - geometry.padding.horizontal
            guard (0..<height).contains(j), (0..<width).contains(i) else { continue }
            y[((image * outputs + firstOutput + element / (ws[2] * ws[3])) * height + j) * width + i] += value * w
        }
    }
    return y
}
