import RetortKernels
import RetortRuntime

extension GradientDescription {
    /// Tensor functions of images `[n, channels, height, width]`.
    static let images: [GradientDescription] =
        batchNorms + pools + resizes + paddings + narrowings + permutations + concatenations

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
            "averagePooled", "1x2x5x6 kernel 3x2 stride 1x2", [[1, 2, 5, 6]],
            tensor: { x, _ in try x[0].averagePool2d(kernel: (3, 2), stride: (1, 2)) },
            reference: { pooled($0[0], 2, 5, 6, sides(5, 3, 1, 0), sides(6, 2, 2, 0)) { $0.reduce(0, +) / 6 } }),
        GradientDescription(
            "averagePooled", "1x2x5x7 kernel 3 stride 2 padding 1", [[1, 2, 5, 7]],
            tensor: { x, _ in try x[0].averagePool2d(kernel: (3, 3), stride: (2, 2), padding: (1, 1)) },
            reference: { pooled($0[0], 2, 5, 7, sides(5, 3, 2, 1), sides(7, 3, 2, 1)) { $0.reduce(0, +) / 9 } }),
        GradientDescription(
            "averagePooled", "1x2x5x7 kernel 3 stride 2 padding 1 without it", [[1, 2, 5, 7]],
            tensor: { x, _ in
                try x[0].averagePool2d(kernel: (3, 3), stride: (2, 2), padding: (1, 1), countIncludesPadding: false)
            },
            reference: { pooled($0[0], 2, 5, 7, sides(5, 3, 2, 1), sides(7, 3, 2, 1), mean) }),
        GradientDescription(
            "averagePooled", "1x2x7x5 to 3x2 windows", [[1, 2, 7, 5]],
            tensor: { x, _ in try x[0].adaptiveAveragePool2d(height: 3, width: 2) },
            reference: { pooled($0[0], 2, 7, 5, [0..<3, 2..<5, 4..<7], [0..<3, 2..<5], mean) }),
        GradientDescription(
            "averagePooled", "2x3x5x4 to one window", [[2, 3, 5, 4]],
            tensor: { x, _ in try x[0].adaptiveAveragePool2d(height: 1, width: 1) },
            reference: { pooled($0[0], 6, 5, 4, [0..<5], [0..<4], mean) }),
    ]

    // MARK: Sizes and parts

    private static let resizes: [GradientDescription] = [(5, 3, 3, 7), (4, 4, 8, 8), (7, 5, 2, 2), (1, 1, 3, 2)].flatMap
    {
        (height: Int, width: Int, newHeight: Int, newWidth: Int) in
        let sizes = "2x1x\(height)x\(width) to \(newHeight)x\(newWidth)"
        return [
            GradientDescription(
                "resized", "bilinear " + sizes, [[2, 1, height, width]],
                tensor: { x, _ in try x[0].resizedBilinear(height: newHeight, width: newWidth) },
                reference: { x in
                    resized(x[0], 2, height, width, newHeight, newWidth) { bilinearWeights($0, $1, $2) }
                }),
            GradientDescription(
                "resized", "nearest " + sizes, [[2, 1, height, width]],
                tensor: { x, _ in try x[0].resizedNearest(height: newHeight, width: newWidth) },
                reference: { x in
                    resized(x[0], 2, height, width, newHeight, newWidth) { [(nearestPosition($0, $1, $2), 1)] }
                }),
        ]
    }

    private static func resized(
        _ x: [Double], _ planes: Int, _ height: Int, _ width: Int, _ newHeight: Int, _ newWidth: Int,
        _ weights: (Int, Int, Int) -> [(Int, Double)]
    ) -> [Double] {
        var y: [Double] = []
        for plane in 0..<planes {
            for r in 0..<newHeight {
                let rows = weights(r, height, newHeight)
                for c in 0..<newWidth {
                    var sum = 0.0
                    for (row, weight) in rows {
                        for (column, part) in weights(c, width, newWidth) {
                            sum += weight * part * x[(plane * height + row) * width + column]
                        }
                    }
                    y.append(sum)
                }
            }
        }
        return y
    }

    private static let paddings: [GradientDescription] = [(1, 2, 0, 3), (-1, 0, -2, -1), (2, -1, -1, 1), (0, 0, 0, 0)]
        .map {
            (top: Int, bottom: Int, left: Int, right: Int) in
            GradientDescription(
                "padded", "2x3x5 by \(top) \(bottom) \(left) \(right)", [[2, 3, 5]],
                tensor: { x, _ in
                    // Squared as well, so that the gradient arrives in two parts.
                    let y = try x[0].padded(top: top, bottom: bottom, left: left, right: right, value: 0.5)
                    return try y + x[0].squared().padded(top: top, bottom: bottom, left: left, right: right)
                },
                reference: { x in
                    places([2, 3 + top + bottom, 5 + left + right]).map { at -> Double in
                        let (r, c) = (at[1] - top, at[2] - left)
                        guard (0..<3).contains(r), (0..<5).contains(c) else { return 0.5 }
                        let v = x[0][index([at[0], r, c], [2, 3, 5])]
                        return v + v * v
                    }
                })
        }

    private static let narrowings: [GradientDescription] = [0, 1, 2].map { (axis: Int) in
        GradientDescription(
            "narrowed", "1..<3 of 3x4x5 axis=\(axis)", [[3, 4, 5]],
            tensor: { x, _ in try x[0].narrowed(axis: axis, 1..<3) * x[0].narrowed(axis: axis, 0..<2) },
            reference: { x in
                var shape = [3, 4, 5]
                shape[axis] = 2
                return places(shape).map { at -> Double in
                    var moved = at
                    moved[axis] += 1
                    return x[0][index(moved, [3, 4, 5])] * x[0][index(at, [3, 4, 5])]
                }
            })
    }

    private static let permutations: [GradientDescription] = [[2, 0, 1], [0, 2, 1], [1, 0, 2]].map { (axes: [Int]) in
        GradientDescription(
            "permuted", "3x4x5 to \(axes.shapeText)", [[3, 4, 5]],
            tensor: { x, _ in try x[0].permuted(axes) },
            reference: { x in
                let old = [3, 4, 5]
                return places(axes.map { old[$0] }).map { at -> Double in
                    var from = at
                    for (i, axis) in axes.enumerated() { from[axis] = at[i] }
                    return x[0][index(from, old)]
                }
            })
    }

    private static let concatenations: [GradientDescription] = [0, 1, -1].map { (axis: Int) in
        let place = axis < 0 ? 2 : axis
        let shapes = [2, 3, 1].map { (size: Int) -> [Int] in
            var shape = [2, 3, 4]
            shape[place] = size
            return shape
        }
        return GradientDescription(
            "concatenated", "three parts of 2x3x4 and the first again, axis=\(axis)", shapes,
            tensor: { x, _ in try Tensor.concatenated(x + [x[0]], axis: axis) },
            reference: { x in
                var whole = [2, 3, 4]
                whole[place] = 8
                return places(whole).map { at -> Double in
                    var (part, inside) = (0, at)
                    while inside[place] >= shapes[part % 3][place] {
                        inside[place] -= shapes[part % 3][place]
                        part += 1
                    }
                    return x[part % 3][index(inside, shapes[part % 3])]
                }
            })
    }

    /// Every place in an array of a shape, row-major.
    private static func places(_ shape: [Int]) -> [[Int]] {
        var all: [[Int]] = [[]]
        for size in shape { all = all.flatMap { place in (0..<size).map { place + [$0] } } }
        return all
    }

    private static func index(_ place: [Int], _ shape: [Int]) -> Int {
        zip(place, shape).reduce(0) { $0 * $1.1 + $1.0 }
    }

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
