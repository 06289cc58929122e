import Foundation
import RetortKernels
import RetortRuntime

extension GradientDescription {
    /// Losses by chunks of two rows: every divergence with labels, a head with a bias, logits bounded or not; a narrowed head; an embedding
    /// that is the head.
    static let chunkedLosses: [GradientDescription] =
        DivergenceKind.allCases.flatMap { kind in
            temperaturesAndCaps.map { chunked(Setting(kind: kind, temperature: $0, cap: $1)) }
        } + [
            chunked(Setting(kind: .forwardKL, temperature: 2, tableRows: 9)),
            GradientDescription(
                "chunkedDivergence", "forward_kl tied 7x3", [[7, 3]], values: { [$0.normal(21)] },
                tensor: { x, device in
                    let setting = Setting(kind: .forwardKL, temperature: 2)
                    let hidden = try x[0].gatherRows(Setting.tokens, shape: [5]).map(.tanh)
                    return try setting.loss(hidden, OutputHead(weight: x[0]), device)
                },
                reference: { x in
                    let setting = Setting(kind: .forwardKL, temperature: 2)
                    let hidden = Setting.tokens.flatMap { id in (0..<3).map { tanh(x[0][Int(id) * 3 + $0]) } }
                    return setting.reference(hidden, x[0], [Double](repeating: 0, count: 7))
                }),
            GradientDescription(
                "chunkedCrossEntropy", "5x3 to 7", [[5, 3], [7, 3], [7]],
                values: { [$0.normal(15), $0.normal(21), $0.normal(7)] },
                tensor: { x, device in
                    try x[0].chunkedCrossEntropy(
                        labels(Setting.labels, device), head: OutputHead(weight: x[1], bias: x[2]),
                        labelSmoothing: 0.1, scale: 0.25, chunk: .rows(2)
                    ).total
                },
                reference: { x in
                    let smooth = Double(Float(0.1))
                    let logits = Setting(kind: .forwardKL, temperature: 1).logits(x[0], x[1], x[2], 3)
                    return [
                        zip(logits, Setting.labels).reduce(0.0) { sum, row in
                            guard row.1 >= 0 else { return sum }
                            let q = logProbabilities(row.0, 1)
                            let mean = q.reduce(0, +) / 7
                            return sum - 0.25 * ((1 - smooth) * q[Int(row.1)] + smooth * mean)
                        }
                    ]
                }),
        ]

    private static let temperaturesAndCaps: [(Float, Float?)] = [(1, nil), (3, nil), (2, 2.5)]

    private static func chunked(_ setting: Setting) -> GradientDescription {
        let rows = setting.tableRows
        return GradientDescription(
            "chunkedDivergence",
            "\(setting.kind.rawValue) 5x3 to \(rows == 7 ? "7" : "7 of \(rows)") T=\(setting.temperature)"
                + (setting.cap.map { " cap=\($0)" } ?? ""),
            [[5, 3], [rows, 3], [rows]],
            values: { [$0.normal(15), $0.normal(rows * 3), $0.normal(rows)] },
            tensor: { x, device in
                try setting.loss(
                    x[0], OutputHead(weight: x[1], bias: x[2], softCap: setting.cap, classes: 7), device)
            },
            reference: { x in setting.reference(x[0], Array(x[1][..<21]), Array(x[2][..<7])) })
    }

    private struct Setting {
        let kind: DivergenceKind
        let temperature: Float
        var cap: Float?
        /// Rows of the head's table; the first 7 are used.
        var tableRows = 7

        static let labels: [Int32] = [0, 6, 3, -100, 2]
        static let weights: [Float] = [0.2, 0.3, 0, 0.1, 0.4]
        static let tokens: [Int32] = [0, 6, 3, 3, 2]

        /// Of the teacher: hidden states `[5, 2]`, a head `[7, 2]`.
        private func teacher() -> (hidden: [Float], weight: [Float]) {
            var random = RandomNumbers(seed: 1, "teacher")
            return (random.normal(10), random.normal(14))
        }

        func loss(_ hidden: Tensor, _ head: OutputHead, _ device: Device) throws -> Tensor {
            let (states, weight) = teacher()
            let theirs = try OutputHead(weight: Tensor(weight, [7, 2], on: device), softCap: cap.map { 2 * $0 })
            return try hidden.chunkedDivergence(
                Divergence(
                    kind, mix: 0.25, temperature: temperature, softWeight: 0.5 * temperature * temperature,
                    hardWeight: 0.5),
                head: head, teacher: HeadLogits(Tensor(states, [5, 2], on: device), theirs),
                labels: RetortConformance.labels(Self.labels, device),
                rowWeights: device.compute.view(Self.weights, [5]), chunk: .rows(2)
            ).total
        }

        func reference(_ hidden: [Double], _ weight: [Double], _ bias: [Double]) -> [Double] {
            let (states, theirs) = teacher()
            let student = logits(hidden, weight, bias, 3, cap: cap)
            let teacher = logits(
                states.map(Double.init), theirs.map(Double.init), [Double](repeating: 0, count: 7), 2,
                cap: cap.map { 2 * $0 })
            let t = Double(temperature)
            var loss = 0.0
            for r in student.indices {
                let (p, q) = (logProbabilities(teacher[r], t), logProbabilities(student[r], t))
                let soft = zip(p, q).reduce(0) { sum, logs in
                    sum + kind.term(exp(logs.0), exp(logs.1), logP: logs.0, logQ: logs.1, mix: 0.25).value
                }
                let label = Int(Self.labels[r])
                let hard = label < 0 ? 0 : -logProbabilities(student[r], 1)[label]
                loss += Double(Self.weights[r]) * (0.5 * t * t * soft + 0.5 * hard)
            }
            return [loss]
        }

        func logits(_ x: [Double], _ weight: [Double], _ bias: [Double], _ k: Int, cap: Float? = nil) -> [[Double]] {
            rowsOf(x, k).map { row in
                bias.indices.map { c in
                    let z = bias[c] + (0..<k).reduce(0) { $0 + row[$1] * weight[c * k + $1] }
                    guard let cap = cap.map(Double.init) else { return z }
                    return cap * tanh(z / cap)
                }
            }
        }
    }
}
