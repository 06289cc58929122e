import RetortKernels
import RetortRuntime

extension GradientDescription {
    /// Tensor functions of images `[n, channels, height, width]`.
    static let images: [GradientDescription] = batchNorms + pools

    // MARK: Batch normalisation

    private static let batchNorms: [GradientDescription] =
        [[3, 2, 3, 3], [2, 3, 5, 7], [7, 3]].flatMap { shape in
            [(true, false, false), (true, true, true), (true, true, false), (false, false, true), (false, true, true)]
                .map {
                    (training: Bool, residual: Bool, relu: Bool) in
                    let (channels, inner) = (shape[1], shape.dropFirst(2).reduce(1, *))
                    return GradientDescription(
                        "batchNorm",
                        shape.shapeText + (training ? "" : " running") + (residual ? " residual" : "")
                            + (relu ? " relu" : ""),
                        [shape, [channels], [channels]] + (residual ? [shape] : []),
                        values: { random in
                            [
                                random.normal(shape.elements, scale: 1.5, mean: 0.5), random.normal(channels, mean: 1),
                                random.normal(channels),
                            ] + (residual ? [random.normal(shape.elements)] : [])
                        },
                        tensor: { x, device in
                            let running = RunningStatistics(
                                mean: try device.compute.view([Float](repeating: 0.25, count: channels), [channels]),
                                variance: try device.compute.view([Float](repeating: 1.5, count: channels), [channels]))
                            return try x[0].batchNorm(
                                weight: x[1], bias: x[2], running: running, training: training,
                                residual: residual ? x[3] : nil, relu: relu)
                        },
                        reference: { x in
                            var values = [[Double]](repeating: [], count: channels)
                            for (i, v) in x[0].enumerated() { values[i / inner % channels].append(v) }
                            return x[0].enumerated().map { i, v in
                                let k = i / inner % channels
                                let count = Double(values[k].count)
                                let mean = training ? values[k].reduce(0, +) / count : 0.25
                                let variance =
                                    training ? values[k].reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count : 1.5
                                let y =
                                    (v - mean) / (variance + Double(Float(1e-5))).squareRoot() * x[1][k] + x[2][k]
                                    + (residual ? x[3][i] : 0)
                                return relu ? Swift.max(y, 0) : y
                            }
                        })
                }
        } + [
            // One tensor on both sides: its gradient arrives in two parts.
            GradientDescription(
                "batchNorm", "2x2x3x3 with itself as residual, relu", [[2, 2, 3, 3]],
                tensor: { x, _ in try x[0].batchNorm(training: true, residual: x[0], relu: true) },
                reference: { x in
                    var values: [[Double]] = [[], []]
                    for (i, v) in x[0].enumerated() { values[i / 9 % 2].append(v) }
                    return x[0].enumerated().map { i, v in
                        let channel = values[i / 9 % 2]
                        let mean = channel.reduce(0, +) / 18
                        let variance = channel.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 18
                        return Swift.max(0, (v - mean) / (variance + Double(Float(1e-5))).squareRoot() + v)
                    }
                })
        ]

    // MARK: Pooling

    private static let pools: [GradientDescription] = [
        GradientDescription(
            "maxPool2d", "2x1x4x6 kernel 2", [[2, 1, 4, 6]], tensor: { x, _ in try x[0].maxPool2d(kernel: (2, 2)) },
            reference: { pooled($0[0], 2, 4, 6, sides(4, 2, 2, 0), sides(6, 2, 2, 0)) { $0.max()! } }),
        GradientDescription(
            "maxPool2d", "1x2x5x7 kernel 3 stride 2 padding 1", [[1, 2, 5, 7]],
            tensor: { x, _ in try x[0].maxPool2d(kernel: (3, 3), stride: (2, 2), padding: (1, 1)) },
            reference: { pooled($0[0], 2, 5, 7, sides(5, 3, 2, 1), sides(7, 3, 2, 1)) { $0.max()! } }),
        GradientDescription(
            "averagePool2d", "1x2x5x6 kernel 3x2 stride 1x2", [[1, 2, 5, 6]],
            tensor: { x, _ in try x[0].averagePool2d(kernel: (3, 2), stride: (1, 2)) },
            reference: { pooled($0[0], 2, 5, 6, sides(5, 3, 1, 0), sides(6, 2, 2, 0)) { $0.reduce(0, +) / 6 } }),
        GradientDescription(
            "averagePool2d", "1x2x5x7 kernel 3 stride 2 padding 1", [[1, 2, 5, 7]],
            tensor: { x, _ in try x[0].averagePool2d(kernel: (3, 3), stride: (2, 2), padding: (1, 1)) },
            reference: { pooled($0[0], 2, 5, 7, sides(5, 3, 2, 1), sides(7, 3, 2, 1)) { $0.reduce(0, +) / 9 } }),
        GradientDescription(
            "averagePool2d", "1x2x5x7 kernel 3 stride 2 padding 1 without it", [[1, 2, 5, 7]],
            tensor: { x, _ in
                try x[0].averagePool2d(kernel: (3, 3), stride: (2, 2), padding: (1, 1), countIncludesPadding: false)
            },
            reference: { pooled($0[0], 2, 5, 7, sides(5, 3, 2, 1), sides(7, 3, 2, 1), mean) }),
        GradientDescription(
            "adaptiveAveragePool2d", "1x2x7x5 to 3x2", [[1, 2, 7, 5]],
            tensor: { x, _ in try x[0].adaptiveAveragePool2d(height: 3, width: 2) },
            reference: { pooled($0[0], 2, 7, 5, [0..<3, 2..<5, 4..<7], [0..<3, 2..<5], mean) }),
        GradientDescription(
            "adaptiveAveragePool2d", "2x3x5x4 to 1x1", [[2, 3, 5, 4]],
            tensor: { x, _ in try x[0].adaptiveAveragePool2d(height: 1, width: 1) },
            reference: { pooled($0[0], 6, 5, 4, [0..<5], [0..<4], mean) }),
    ]

    @Sendable private static func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

    /// The windows of one dimension, cut at the image's edge.
    private static func sides(_ length: Int, _ kernel: Int, _ stride: Int, _ padding: Int) -> [Range<Int>] {
        Swift.stride(from: -padding, through: length + padding - kernel, by: stride).map {
            Swift.max(0, $0)..<Swift.min(length, $0 + kernel)
        }
    }

    private static func pooled(
        _ x: [Double], _ planes: Int, _ height: Int, _ width: Int, _ rows: [Range<Int>], _ columns: [Range<Int>],
        _ body: ([Double]) -> Double
    ) -> [Double] {
        (0..<planes).flatMap { p in
            rows.flatMap { r in
                columns.map { c in body(r.flatMap { i in c.map { x[(p * height + i) * width + $0] } }) }
            }
        }
    }
}
