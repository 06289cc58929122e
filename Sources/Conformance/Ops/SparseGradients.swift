import Foundation
import RetortKernels
import RetortRuntime

extension GradientDescription {
    /// Divergences from a teacher's likeliest classes: every kind with labels, dense and by chunks of two rows.
    static let sparseLosses: [GradientDescription] =
        DivergenceKind.allCases.flatMap { kind in
            [(Float(1), SparseTail.bucket), (3, .bucket), (2, .renormalizedBoth)].flatMap {
                [
                    dense(SparseSetting(kind: kind, tail: $1, temperature: $0)),
                    chunked(SparseSetting(kind: kind, tail: $1, temperature: $0)),
                ]
            }
        }

    private static func dense(_ setting: SparseSetting) -> GradientDescription {
        GradientDescription(
            "divergence", "sparse \(setting.text) 5x9", [[5, 9]], values: { [$0.normal(45)] },
            tensor: { x, device in
                try x[0].divergence(
                    setting.op, teacher: setting.teacher(on: device), labels: labels(SparseSetting.labels, device),
                    rowWeights: device.compute.view(SparseSetting.weights, [5])
                ).total
            },
            reference: { x in setting.reference(rowsOf(x[0], 9)) })
    }

    private static func chunked(_ setting: SparseSetting) -> GradientDescription {
        GradientDescription(
            "chunkedDivergence", "sparse \(setting.text) 5x3 to 9", [[5, 3], [9, 3]],
            values: { [$0.normal(15), $0.normal(27)] },
            tensor: { x, device in
                try x[0].chunkedDivergence(
                    setting.op, head: OutputHead(weight: x[1]), teacher: setting.teacher(on: device),
                    labels: labels(SparseSetting.labels, device),
                    rowWeights: device.compute.view(SparseSetting.weights, [5]), chunk: .rows(2)
                ).total
            },
            reference: { x in
                setting.reference(
                    rowsOf(x[0], 3).map { row in
                        (0..<9).map { c in (0..<3).reduce(0) { $0 + row[$1] * x[1][c * 3 + $1] } }
                    })
            })
    }
}

/// Five rows of nine classes, of which three are kept, in one row two.
private struct SparseSetting {
    let kind: DivergenceKind
    let tail: SparseTail
    let temperature: Float

    static let labels: [Int32] = [0, 8, 3, -100, 2]
    static let weights: [Float] = [0.2, 0.3, 0, 0.1, 0.4]

    var text: String { "\(kind.rawValue)\(tail == .bucket ? "" : " \(tail)") T=\(temperature)" }

    var op: SparseDivergence {
        SparseDivergence(
            kind, tail: tail, mix: 0.25, temperature: temperature, softWeight: 0.5 * temperature * temperature,
            hardWeight: 0.5)
    }

    private var kept: SampleTeacher {
        var random = RandomNumbers(seed: 2, "kept classes")
        return SampleTeacher(rows: 5, classes: 9, k: 3, fewer: true, &random)
    }

    func teacher(on device: Device) throws -> SparseTeacher {
        let kept = kept
        return try SparseTeacher(
            ids: kept.ids, values: kept.values, rows: 5, classes: 9, on: device, tails: { _ in kept.tails })
    }

    func reference(_ logits: [[Double]]) -> [Double] {
        let (kept, t) = (kept, Double(temperature))
        var loss = 0.0
        for r in logits.indices {
            let (ids, values, rest) = kept.row(r, classes: 9)
            let q = logProbabilities(logits[r], t)
            var logP = values.map { $0 / t }
            var logQ = ids.map { q[$0] }
            if tail == .bucket {
                logP.append(rest)
                logQ.append(log(q.indices.filter { !ids.contains($0) }.reduce(0) { $0 + exp(q[$1]) }))
            }
            let (sumP, sumQ) = (log(logP.reduce(0) { $0 + exp($1) }), log(logQ.reduce(0) { $0 + exp($1) }))
            let soft = zip(logP, logQ).reduce(0) { sum, pair in
                let (p, q) = (pair.0 - sumP, pair.1 - sumQ)
                return sum + kind.term(exp(p), exp(q), logP: p, logQ: q, mix: 0.25).value
            }
            let label = Int(Self.labels[r])
            let hard = label < 0 ? 0 : -logProbabilities(logits[r], 1)[label]
            loss += Double(Self.weights[r]) * (0.5 * t * t * soft + 0.5 * hard)
        }
        return [loss]
    }
}
