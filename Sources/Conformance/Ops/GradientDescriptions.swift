import Foundation
import RetortKernels
import RetortRuntime

extension GradientDescription {
    /// Every tensor function that has a vjp.
    public static let all: [GradientDescription] =
        maps + arithmetic + shapes + products + convolutions + transposedConvolutions + softmaxes + losses + divergences
        + chunkedLosses + sparseLosses + norms + transformer + attentions + reductions + selections + graphs + images

    // MARK: Element by element

    private static let maps: [GradientDescription] =
        UnaryFunction.described.map { f in
            GradientDescription(
                "map", "\(Unary(f).name) 5x7", [[5, 7]],
                values: { [$0.uniform(35, 0.2, 3).enumerated().map { f.takesNegative && $0 % 2 == 0 ? -$1 : $1 }] },
                tensor: { x, _ in try x[0].map(f) }, reference: { $0[0].map(f.reference) })
        } + [
            GradientDescription(
                "scaled", "5x7", [[5, 7]], tensor: { x, _ in try x[0] * -1.7 },
                reference: { $0[0].map { $0 * Double(Float(-1.7)) } }),
            GradientDescription(
                "dropout", "41 p=0.3", [[41]],
                tensor: { x, _ in try x[0].dropout(0.3, seed: 7, stream: 9, firstElement: 5) },
                reference: { inputs in
                    let philox = Philox(seed: 7, stream: 9)
                    let threshold = UInt64((Double(Float(0.3)) * 0x1p32).rounded())
                    return inputs[0].enumerated().map { i, x in
                        UInt64(philox.word(UInt64(i + 5))) >= threshold ? x / (1 - Double(Float(0.3))) : 0
                    }
                }),
        ]
        + GatedActivation.allCases.map { kind in
            GradientDescription(
                "gated", "\(kind) 5x7", [[5, 7], [5, 7]],
                tensor: { x, _ in try Tensor.gated(kind, gate: x[0], up: x[1]) },
                reference: { x in
                    let f: UnaryFunction = kind == .swiglu ? .silu : .geluTanh
                    return zip(x[0], x[1]).map { f.reference($0) * $1 }
                })
        }

    private static let arithmetic: [GradientDescription] =
        BinaryOperation.allCases.flatMap { operation in
            [([5, 7], [5, 7]), ([5, 7], [7]), ([5, 1], [1, 7]), ([2, 3, 4], [3, 1]), ([], [6])].map {
                (a: [Int], b: [Int]) in
                GradientDescription(
                    "combine", "\(operation) \(a.shapeText) with \(b.shapeText)", [a, b],
                    values: { [$0.distinct(a.elements), $0.uniform(b.elements, 0.6, 2)] },
                    tensor: { x, _ in
                        switch operation {
                        case .add: try x[0] + x[1]
                        case .subtract: try x[0] - x[1]
                        case .multiply: try x[0] * x[1]
                        case .divide: try x[0] / x[1]
                        }
                    },
                    reference: { x in
                        broadcastPairs(a, b).map { operation.reference(x[0][$0.0], x[1][$0.1]) }
                    })
            }
        } + [
            // One variable on both sides: its gradient arrives in two parts.
            GradientDescription(
                "combine", "multiply x with x", [[5, 7]], tensor: { x, _ in try x[0] * x[0] },
                reference: { $0[0].map { $0 * $0 } }),
            GradientDescription(
                "combine", "x minus x times x", [[3, 4]], tensor: { x, _ in try x[0] - x[0] * x[0] },
                reference: { $0[0].map { $0 - $0 * $0 } }),
        ]

    // MARK: Shapes and products

    private static let shapes: [GradientDescription] = [
        // Of numbers that bf16 holds; what is rounded has no slope to compare.
        GradientDescription(
            "stored", "5x7 in bf16 and back", [[5, 7]], values: { [$0.normal(35).held(by: .bf16)] },
            tensor: { x, _ in try x[0].stored(as: .bf16).stored(as: .f32) }, reference: { $0[0] }),
        GradientDescription(
            "reshaped", "4x6 to 8x3 behind a transposition", [[4, 6]],
            tensor: { x, _ in try x[0].transposed(0, 1).reshaped([8, 3]) },
            reference: { transposed($0[0], 4, 6) }),
        GradientDescription(
            "transposed", "4x6", [[4, 6]], tensor: { x, _ in try x[0].transposed(0, 1).squared() },
            reference: { transposed($0[0], 4, 6).map { $0 * $0 } }),
        GradientDescription(
            "slice", "rows 1..<3 of 5x3", [[5, 3]], tensor: { x, _ in try x[0].slice(1..<3) },
            reference: { Array($0[0][3..<9]) }),
        GradientDescription(
            "slice", "two overlapping slices", [[5, 3]], tensor: { x, _ in try x[0].slice(0..<3) * x[0].slice(2..<5) },
            reference: { x in (0..<9).map { x[0][$0] * x[0][$0 + 6] } }),
        GradientDescription(
            "gatherRows", "repeated and padding ids of 5x3", [[5, 3]],
            tensor: { x, _ in try x[0].gatherRows([4, 1, 1, 0, 4, 1], shape: [2, 3]) },
            reference: { x in [4, 1, 1, 0, 4, 1].flatMap { Array(x[0][$0 * 3..<$0 * 3 + 3]) } }),
    ]

    private static let graphs: [GradientDescription] = [
        GradientDescription(
            "aggregated", "5x3 over 6 edges to 4 rows, one of them alone", [[5, 3]], tensor: aggregated,
            reference: sums)
    ]

    /// Receiver and sender of each edge.
    private static let edges: (receivers: [Int32], senders: [Int32]) = ([3, 0, 0, 3, 1, 0], [1, 4, 1, 0, 1, 2])

    private static func aggregated(_ x: [Tensor], _ device: Device) throws -> Tensor {
        let graph = try Adjacency(
            receiving: edges.receivers, sending: edges.senders, receivers: 4, senders: 5, on: device)
        return try x[0].aggregated(over: graph)
    }

    private static func sums(_ x: [[Double]]) -> [Double] {
        var y = [Double](repeating: 0, count: 12)
        for (receiver, sender) in zip(edges.receivers, edges.senders) {
            for column in 0..<3 { y[Int(receiver) * 3 + column] += x[0][Int(sender) * 3 + column] }
        }
        return y
    }

    /// On a copy: what it adds to is overwritten.
    private static let lowRank = [
        GradientDescription(
            "adding", "3x4 + 3x2 by 4x2", [[3, 4], [3, 2], [4, 2]],
            tensor: { x, _ in try (x[0] * 1).adding(x[1], times: x[2]) },
            reference: { x in
                (0..<12).map { at in
                    let (row, column) = (at / 4, at % 4)
                    return x[0][at] + (0..<2).reduce(0.0) { $0 + x[1][row * 2 + $1] * x[2][column * 2 + $1] }
                }
            })
    ]

    private static let products: [GradientDescription] =
        lowRank
        + [
            ([3, 5], [5, 4], [3, 4]), ([1, 7], [7, 1], [1, 1]), ([2, 3, 5], [2, 5, 4], [2, 3, 4]),
            ([3, 5], [2, 5, 4], [2, 3, 4]),
            ([2, 1, 3, 4], [3, 4, 2], [2, 3, 3, 2]),
        ].map { (a: [Int], b: [Int], c: [Int]) in
            GradientDescription(
                "matmul", "\(a.shapeText) by \(b.shapeText)", [a, b], tensor: { x, _ in try x[0].matmul(x[1]) },
                reference: { x in
                    let (m, k, n) = (a[a.count - 2], a[a.count - 1], b[b.count - 1])
                    return broadcastPairs(Array(a.dropLast(2)), Array(b.dropLast(2))).flatMap { za, zb in
                        productRows(
                            Array(x[0][za * m * k..<(za + 1) * m * k]), Array(x[1][zb * k * n..<(zb + 1) * k * n]), m,
                            n, k)
                    }
                })
        }
        + MatmulActivation.allCases.flatMap { activation in
            [true, false].map { bias in
                GradientDescription(
                    "linear", "2x3x5 to 4 \(activation)" + (bias ? " bias" : ""),
                    [[2, 3, 5], [4, 5]] + (bias ? [[4]] : []),
                    values: { [$0.normal(30), $0.normal(20)] + (bias ? [$0.normal(4)] : []) },
                    tensor: { x, _ in try x[0].linear(x[1], bias: bias ? x[2] : nil, activation: activation) },
                    reference: { x in
                        productRows(x[0], transposed(x[1], 4, 5), 6, 4, 5).enumerated().map { i, v in
                            activation.gradientReference(v + (bias ? x[2][i % 4] : 0))
                        }
                    })
            }
        }

        + MatmulActivation.allCases.map { activation in
            GradientDescription(
                "linear", "2x3x5 to 4 \(activation) residual", [[2, 3, 5], [4, 5], [2, 3, 4]],
                tensor: { x, _ in try x[0].linear(x[1], activation: activation, plus: x[2]) },
                reference: { x in
                    zip(productRows(x[0], transposed(x[1], 4, 5), 6, 4, 5), x[2]).map {
                        activation.gradientReference($0) + $1
                    }
                })
        }
        + [
            // What is multiplied is what is added to.
            GradientDescription(
                "linear", "3x4 to 4 its own residual", [[3, 4], [4, 4]],
                tensor: { x, _ in try x[0].linear(x[1], plus: x[0]) },
                reference: { x in zip(productRows(x[0], transposed(x[1], 4, 4), 3, 4, 4), x[0]).map { $0 + $1 } })
        ]

    // MARK: Rows

    private static let softmaxes: [GradientDescription] = [Float(1), 0.5, 4].flatMap { temperature in
        [
            GradientDescription(
                "softmax", "5x7 T=\(temperature)", [[5, 7]],
                tensor: { x, _ in try x[0].softmax(temperature: temperature) },
                reference: { x in rowsOf(x[0], 7).flatMap { logProbabilities($0, Double(temperature)).map(exp) } }),
            GradientDescription(
                "logSoftmax", "5x7 T=\(temperature)", [[5, 7]],
                tensor: { x, _ in try x[0].logSoftmax(temperature: temperature) },
                reference: { x in rowsOf(x[0], 7).flatMap { logProbabilities($0, Double(temperature)) } }),
        ]
    }

    private static let losses: [GradientDescription] = [
        GradientDescription(
            "crossEntropy", "5x7", [[5, 7]],
            tensor: { x, device in try x[0].crossEntropy(try labels([0, 6, 3, 2, 2], device), scale: 0.2).total },
            reference: { x in
                [zip(rowsOf(x[0], 7), [0, 6, 3, 2, 2]).reduce(0) { $0 - 0.2 * logProbabilities($1.0, 1)[$1.1] }]
            }),
        GradientDescription(
            "crossEntropy", "5x7 smoothing and ignored labels, scaled behind", [[5, 7]],
            tensor: { x, device in
                try x[0].crossEntropy(try labels([0, -100, 3, -100, 2], device), labelSmoothing: 0.1, scale: 0.5).total
                    * 3
            },
            reference: { x in
                let loss = zip(rowsOf(x[0], 7), [0, -100, 3, -100, 2]).reduce(0.0) { sum, row in
                    let p = logProbabilities(row.0, 1)
                    guard row.1 >= 0 else { return sum }
                    let e = Double(Float(0.1))
                    return sum - 0.5 * ((1 - e) * p[row.1] + e / 7 * p.reduce(0, +))
                }
                return [3 * loss]
            }),
        GradientDescription(
            "crossEntropyPerRow", "5x7 ignored labels", [[5, 7]],
            tensor: { x, device in try x[0].crossEntropyPerRow(try labels([0, -100, 3, 6, 2], device)) },
            reference: { x in
                zip(rowsOf(x[0], 7), [0, -100, 3, 6, 2]).map { $1 < 0 ? 0 : -logProbabilities($0, 1)[$1] }
            }),
        GradientDescription(
            "crossEntropy", "5x7 against probabilities", [[5, 7]],
            tensor: { x, device in
                let targets = try device.compute.view([Float](repeating: 0.125, count: 35), [5, 7])
                return try x[0].crossEntropy(probabilities: targets, scale: 1).total
            },
            reference: { x in [rowsOf(x[0], 7).reduce(0) { $0 - 0.125 * logProbabilities($1, 1).reduce(0, +) }] }),
    ]

    private static let divergences: [GradientDescription] = DivergenceKind.allCases.flatMap { kind in
        [Float(1), 3].map { temperature in
            GradientDescription(
                "divergence", "\(kind.rawValue) 5x7 T=\(temperature) mixed with labels", [[5, 7]],
                tensor: { x, device in
                    var random = RandomNumbers(seed: 1, "teacher")
                    let op = Divergence(
                        kind, mix: 0.25, temperature: temperature, softWeight: 0.5 * temperature * temperature,
                        hardWeight: 0.5,
                        scale: 0.2)
                    return try x[0].divergence(
                        op, teacher: try device.compute.view(random.normal(35), [5, 7]),
                        labels: try labels([0, 6, 3, -100, 2], device)
                    ).total
                },
                reference: { x in
                    var random = RandomNumbers(seed: 1, "teacher")
                    let teacher = rowsOf(random.normal(35).map(Double.init), 7)
                    let t = Double(temperature)
                    var loss = 0.0
                    for (r, row) in rowsOf(x[0], 7).enumerated() {
                        let (p, q) = (logProbabilities(teacher[r], t), logProbabilities(row, t))
                        let soft = zip(p, q).reduce(0) { sum, logs in
                            sum + kind.term(exp(logs.0), exp(logs.1), logP: logs.0, logQ: logs.1, mix: 0.25).value
                        }
                        let label = [0, 6, 3, -100, 2][r]
                        let hard = label < 0 ? 0 : -logProbabilities(row, 1)[label]
                        loss += 0.2 * (0.5 * t * t * soft + 0.5 * hard)
                    }
                    return [loss]
                })
        }
    }

    private static let norms: [GradientDescription] = [
        (true, true, 7), (true, false, 7), (false, false, 7), (true, true, 19),
    ].map { weight, bias, columns in
        GradientDescription(
            "layerNorm", "5x\(columns)" + (weight ? " weight" : "") + (bias ? " bias" : ""),
            [[5, columns]] + (weight ? [[columns]] : []) + (bias ? [[columns]] : []),
            tensor: { x, _ in try x[0].layerNorm(weight: weight ? x[1] : nil, bias: bias ? x[2] : nil) },
            reference: { x in
                rowsOf(x[0], columns).flatMap { row in
                    let mean = row.reduce(0, +) / Double(columns)
                    let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns)
                    return row.enumerated().map { i, v in
                        (v - mean) / (variance + Double(Float(1e-5))).squareRoot() * (weight ? x[1][i] : 1)
                            + (bias ? x[2][i] : 0)
                    }
                }
            })
    }

    private static let transformer: [GradientDescription] =
        [(true, 7, Float(0)), (false, 7, 0), (true, 19, 0), (true, 19, 1)].map { weight, columns, offset in
            GradientDescription(
                "rmsNorm", "5x\(columns)" + (weight ? " weight" : "") + (offset == 0 ? "" : " +\(offset)"),
                [[5, columns]] + (weight ? [[columns]] : []),
                tensor: { x, _ in try x[0].rmsNorm(weight: weight ? x[1] : nil, epsilon: 1e-5, weightOffset: offset) },
                reference: { x in
                    rowsOf(x[0], columns).flatMap { row in
                        let square = row.reduce(0) { $0 + $1 * $1 } / Double(columns)
                        return row.enumerated().map { i, v in
                            let factor = weight ? x[1][i] + Double(offset) : 1
                            return v / (square + Double(Float(1e-5))).squareRoot() * factor
                        }
                    }
                })
        }
        + [RotaryEmbedding.Pairing.halves, .interleaved].map { pairing in
            GradientDescription(
                "rotated", "5 tokens, 3 heads of 6, \(pairing)", [[5, 18]],
                tensor: { x, device in
                    let table = try RotaryTable(width: 6, theta: 100, positions: 9, on: device.compute)
                    return try x[0].rotated(
                        table, positions: device.compute.view([Int32(0), 8, 3, 3, 1], [5], .i32), heads: 3,
                        pairing: pairing)
                },
                reference: { x in
                    let positions = [0.0, 8, 3, 3, 1]
                    return x[0].indices.map { i in
                        let (token, place) = (i / 18, i % 6)
                        let halves = pairing == .halves
                        let pair = halves ? place % 3 : place / 2
                        let isFirst = halves ? place < 3 : place % 2 == 0
                        let other = i + (isFirst ? 1 : -1) * (halves ? 3 : 1)
                        let angle = positions[token] * pow(100, -Double(pair) / 3)
                        return x[0][i] * cos(angle) + (isFirst ? -1 : 1) * x[0][other] * sin(angle)
                    }
                })
        }

    private typealias Reducer = (
        name: String, tensor: @Sendable (Tensor, Int?) throws -> Tensor, reference: @Sendable ([Double]) -> Double
    )

    private static let reducers: [Reducer] = [
        ("sum", { try $0.sum($1) }, { $0.reduce(0, +) }),
        ("mean", { try $0.mean($1) }, { $0.reduce(0, +) / Double($0.count) }),
        (
            "variance", { try $0.variance($1) },
            { x in
                let mean = x.reduce(0, +) / Double(x.count)
                return x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count - 1)
            }
        ),
        ("max", { try $0.max($1 ?? 0) }, { $0.max()! }),
        ("logSumExp", { try $0.logSumExp($1 ?? 0) }, { x in log(x.reduce(0) { $0 + exp($1) }) }),
    ]

    private static let reductions: [GradientDescription] =
        reducers.flatMap { reducer in
            [0, 1, 2].map { axis in
                GradientDescription(
                    "reduced", "\(reducer.name) 3x4x5 axis=\(axis)", [[3, 4, 5]],
                    tensor: { x, _ in try reducer.tensor(x[0], axis) },
                    reference: { x in
                        let walk = AxisWalk([3, 4, 5], axis)
                        return (0..<walk.slices).map { s in
                            reducer.reference((0..<walk.n).map { x[0][walk.index(s, $0)] })
                        }
                    })
            }
        }
        + reducers.prefix(3).map { reducer in
            GradientDescription(
                "reduced", "\(reducer.name) of everything 4x5", [[4, 5]],
                tensor: { x, _ in try reducer.tensor(x[0], nil) },
                reference: { [reducer.reference($0[0])] })
        }
        + [0, 1].map { axis in
            GradientDescription(
                "cumulativeSum", "5x7 axis=\(axis)", [[5, 7]], tensor: { x, _ in try x[0].cumulativeSum(axis) },
                reference: { x in
                    let walk = AxisWalk([5, 7], axis)
                    var y = x[0]
                    for s in 0..<walk.slices { for i in 1..<walk.n { y[walk.index(s, i)] += y[walk.index(s, i - 1)] } }
                    return y
                })
        }

    private static let selections: [GradientDescription] = [1, 3, 7].map { k in
        GradientDescription(
            "topK", "5x7 k=\(k)", [[5, 7]], tensor: { x, _ in try x[0].topK(k).values },
            reference: { x in rowsOf(x[0], 7).flatMap { $0.sorted(by: >).prefix(k) } })
    }
}

extension UnaryFunction {
    fileprivate var takesNegative: Bool {
        switch self {
        case .log, .squareRoot, .reciprocalSquareRoot: false
        default: true
        }
    }
}

extension MatmulActivation {
    fileprivate func gradientReference(_ x: Double) -> Double {
        switch self {
        case .none: x
        case .relu: Swift.max(x, 0)
        case .geluExact: UnaryFunction.geluExact.reference(x)
        case .geluTanh: UnaryFunction.geluTanh.reference(x)
        case .silu: UnaryFunction.silu.reference(x)
        case .tanh: Foundation.tanh(x)
        case .sigmoid: UnaryFunction.sigmoid.reference(x)
        }
    }
}

func labels(_ values: [Int32], _ device: Device) throws -> View {
    try device.compute.view(values, [values.count], .i32)
}

func rowsOf(_ x: [Double], _ columns: Int) -> [[Double]] {
    stride(from: 0, to: x.count, by: columns).map { Array(x[$0..<$0 + columns]) }
}

private func transposed(_ x: [Double], _ rows: Int, _ columns: Int) -> [Double] {
    (0..<columns).flatMap { c in (0..<rows).map { x[$0 * columns + c] } }
}

func logProbabilities(_ x: [Double], _ temperature: Double) -> [Double] {
    let scaled = x.map { $0 / temperature }
    let top = scaled.max()!
    let logSum = top + log(scaled.reduce(0) { $0 + exp($1 - top) })
    return scaled.map { $0 - logSum }
}

/// a [m, k] · b [k, n], row-major.
func productRows(_ a: [Double], _ b: [Double], _ m: Int, _ n: Int, _ k: Int) -> [Double] {
    (0..<m).flatMap { i in (0..<n).map { j in (0..<k).reduce(0) { $0 + a[i * k + $1] * b[$1 * n + j] } } }
}

/// Row-major indices into a and b for each element of what their shapes broadcast to.
private func broadcastPairs(_ a: [Int], _ b: [Int]) -> [(Int, Int)] {
    let rank = max(a.count, b.count)
    let (pa, pb) = ([Int](repeating: 1, count: rank - a.count) + a, [Int](repeating: 1, count: rank - b.count) + b)
    var pairs = [(0, 0)]
    for d in 0..<rank {
        let size = max(pa[d], pb[d])
        pairs = pairs.flatMap { x, y in
            (0..<size).map { (x * pa[d] + (pa[d] == 1 ? 0 : $0), y * pb[d] + (pb[d] == 1 ? 0 : $0)) }
        }
    }
    return pairs
}
