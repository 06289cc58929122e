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
