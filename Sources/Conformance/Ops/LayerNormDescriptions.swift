import Foundation
import RetortKernels

private struct LayerNormSample {
    let rows: Int
    let columns: Int
    var weight = true
    var bias = true
    /// Added to every x: cancellation.
    var mean: Float = 0
    /// x is the same number everywhere: variance 0.
    var constant = false
    var padding = 0
    var accumulate = false
    /// What x and y are stored as.
    var dtype = DType.f32
    /// Backward: leave dx, or the parameters' gradients, out.
    var dx = true
    var parameters = true
    var size = SampleSize.tiny

    var text: String {
        "\(rows)x\(columns)" + (weight ? "" : " no-weight") + (bias ? "" : " no-bias")
            + (mean == 0 ? "" : " mean=\(mean)")
            + (constant ? " constant" : "") + (padding > 0 ? " pitched" : "") + (accumulate ? " accumulate" : "")
            + (dx ? "" : " no-dx") + (parameters ? "" : " dx-only") + dtype.sampleText
    }

    static let shapes: [LayerNormSample] = [
        LayerNormSample(rows: 1, columns: 1), LayerNormSample(rows: 1, columns: 7),
        LayerNormSample(rows: 7, columns: 1),
        LayerNormSample(rows: 0, columns: 5), LayerNormSample(rows: 5, columns: 10),
        LayerNormSample(rows: 3, columns: 16, bias: false),
        LayerNormSample(rows: 3, columns: 17, weight: false, bias: false),
        LayerNormSample(rows: 5, columns: 33, padding: 3),
        LayerNormSample(rows: 67, columns: 13), LayerNormSample(rows: 3, columns: 37, mean: 1000),
        LayerNormSample(rows: 41, columns: 1271, size: .small),
        LayerNormSample(rows: 131, columns: 257, padding: 1, size: .small),
        LayerNormSample(rows: 2048, columns: 768, size: .perf),
        LayerNormSample(rows: 1, columns: 1, dtype: .bf16), LayerNormSample(rows: 0, columns: 5, dtype: .bf16),
        LayerNormSample(rows: 3, columns: 16, bias: false, dtype: .bf16),
        LayerNormSample(rows: 3, columns: 17, weight: false, bias: false, dtype: .bf16),
        LayerNormSample(rows: 5, columns: 33, padding: 3, dtype: .bf16),
        LayerNormSample(rows: 3, columns: 37, mean: 1000, dtype: .bf16),
        LayerNormSample(rows: 41, columns: 1271, dtype: .bf16, size: .small),
        LayerNormSample(rows: 2048, columns: 768, dtype: .bf16, size: .perf),
    ]
    static let forward: [LayerNormSample] =
        shapes + [
            LayerNormSample(rows: 3, columns: 21, constant: true),
            LayerNormSample(rows: 3, columns: 21, constant: true, dtype: .bf16),
            LayerNormSample(rows: 5, columns: 1271, mean: 1e4, size: .small),
        ]
    static let backward: [LayerNormSample] =
        shapes + [
            LayerNormSample(rows: 5, columns: 10, accumulate: true), LayerNormSample(rows: 5, columns: 10, dx: false),
            LayerNormSample(rows: 5, columns: 10, parameters: false),
            LayerNormSample(rows: 131, columns: 67, padding: 2, accumulate: true, size: .small),
            LayerNormSample(rows: 5, columns: 10, accumulate: true, dtype: .bf16),
            LayerNormSample(rows: 131, columns: 67, padding: 2, accumulate: true, dtype: .bf16, size: .small),
        ]

    func x(_ random: inout RandomNumbers) -> [Float] {
        (constant
            ? [Float](repeating: 3.3, count: rows * columns) : random.normal(rows * columns, scale: 1.5, mean: mean))
            .held(by: dtype)
    }
}

private let epsilon = 1e-5

/// Mean, 1 / √(variance + ε), and the normalised row.
private func normalise(_ x: ArraySlice<Float>) -> (mean: Double, rstd: Double, n: [Double]) {
    let values = x.map(Double.init)
    let mean = values.reduce(0, +) / Double(values.count)
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
    let rstd = 1 / (variance + epsilon).squareRoot()
    return (mean, rstd, values.map { ($0 - mean) * rstd })
}

/// The mean of differences to a first mean repairs that one's rounding, so errors are relative to the deviation, plus what the stored
/// mean loses: eps · |mean|. Squares add log₂ n roundings at most to the variance.
private func forwardSample(_ s: LayerNormSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let shape = [s.rows, s.columns]
        let x = s.x(&random)
        let weight: [Float]? = s.weight ? random.normal(s.columns, mean: 1) : nil
        let bias: [Float]? = s.bias ? random.normal(s.columns) : nil
        var c = OpCase()
        c.input("x", x, shape, .padded(s.padding), as: s.dtype)
        if let weight { c.input("weight", weight, [s.columns]) }
        if let bias { c.input("bias", bias, [s.columns]) }
        c.output("y", shape, .padded(s.padding * 2), dtype: s.dtype)
        c.output("mean", [s.rows])
        c.output("rstd", [s.rows])
        c.run(LayerNorm(epsilon: Float(epsilon))) {
            .init(
                x: $0["x"], weight: $0.optional("weight"), bias: $0.optional("bias"), y: $0["y"], mean: $0["mean"],
                rstd: $0["rstd"])
        }
        c.reference = {
            var y: [Estimate] = []
            var means: [Estimate] = []
            var rstds: [Estimate] = []
            let constant = 6 + log2(Double(s.columns + 1))
            for row in rowSlices(x, s.columns) {
                let r = normalise(row)
                means.append(Estimate(r.mean, eps * (abs(r.mean) + constant / r.rstd)))
                rstds.append(Estimate(r.rstd, eps * constant * r.rstd))
                for (i, n) in r.n.enumerated() {
                    let w = weight.map { Double($0[i]) } ?? 1
                    let b = bias.map { Double($0[i]) } ?? 0
                    y.append(Estimate(n * w + b, eps * (constant * (abs(n) + 1) * abs(w) + abs(b) + abs(n * w + b))))
                }
            }
            return ["y": .near(y).rounded(to: s.dtype), "mean": .near(means), "rstd": .near(rstds)]
        }
        return c
    }
}

private func backwardSample(_ s: LayerNormSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let shape = [s.rows, s.columns]
        let count = s.rows * s.columns
        let x = s.x(&random)
        let dy = random.normal(count)
        let weight: [Float]? = s.weight ? random.normal(s.columns, mean: 1) : nil
        let rows = rowSlices(x, s.columns).map(normalise)
        let (means, rstds) = (rows.map { Float($0.mean) }, rows.map { Float($0.rstd) })
        let old: [Float]? = s.accumulate ? random.normal(count) : nil
        let oldSums: [Float]? = s.accumulate ? random.normal(s.columns) : nil
        let wantsWeight = s.parameters && s.weight
        let wantsBias = s.parameters && s.bias
        var c = OpCase()
        c.input("x", x, shape, .padded(s.padding), as: s.dtype)
        if let weight { c.input("weight", weight, [s.columns]) }
        c.input("dy", dy, shape, .padded(s.padding * 2))
        c.input("mean", means, [s.rows])
        c.input("rstd", rstds, [s.rows])
        if s.dx { c.result("dx", shape, .padded(s.padding), old: old) }
        if wantsWeight { c.result("dWeight", [s.columns], old: oldSums) }
        if wantsBias { c.result("dBias", [s.columns], old: oldSums) }
        c.run(LayerNormBackward()) { v in
            LayerNormBackward.Operands(
                x: v["x"], weight: v.optional("weight"), dy: v["dy"], mean: v["mean"], rstd: v["rstd"],
                dx: v.optional("dx").map { .result($0, old: old) },
                dWeight: v.optional("dWeight").map { .result($0, old: oldSums) },
                dBias: v.optional("dBias").map { .result($0, old: oldSums) })
        }
        c.reference = {
            var dx: [Estimate] = []
            var dWeight = [Estimate](repeating: Estimate(0), count: s.columns)
            var dBias = dWeight
            let columnError = 8 + Double(s.columns).squareRoot() / 8
            let rowError = 6 + Double(s.rows).squareRoot() / 8
            for (r, (x, dy)) in zip(rowSlices(x, s.columns), rowSlices(dy, s.columns)).enumerated() {
                // From the stored statistics, as the op gets them.
                let n = x.map { (Double($0) - Double(means[r])) * Double(rstds[r]) }
                let dn = dy.enumerated().map { i, g in Double(g) * (weight.map { Double($0[i]) } ?? 1) }
                let share = 1 / Double(s.columns)
                let (sum, product) = (dn.reduce(0, +) * share, zip(dn, n).reduce(0) { $0 + $1.0 * $1.1 } * share)
                let sizes = (
                    dn.reduce(0) { $0 + abs($1) } * share, zip(dn, n).reduce(0) { $0 + abs($1.0 * $1.1) } * share
                )
                for (i, g) in dy.map(Double.init).enumerated() {
                    let rstd = Double(rstds[r])
                    dx.append(
                        Estimate(
                            rstd * (dn[i] - sum - n[i] * product),
                            eps * columnError * rstd * (abs(dn[i]) + sizes.0 + abs(n[i]) * sizes.1)))
                    dWeight[i].value += g * n[i]
                    dWeight[i].error += eps * rowError * abs(g * n[i])
                    dBias[i].value += g
                    dBias[i].error += eps * rowError * abs(g)
                }
            }
            var expected: [String: Expected] = [:]
            if s.dx { expected["dx"] = .near(dx.added(to: old)) }
            if wantsWeight { expected["dWeight"] = .near(dWeight.added(to: oldSums)) }
            if wantsBias { expected["dBias"] = .near(dBias.added(to: oldSums)) }
            return expected
        }
        return c
    }
}

extension OpDescription {
    static let layerNorms: [OpDescription] = [
        OpDescription("layer_norm", "LayerNorm", LayerNormSample.forward.map(forwardSample)),
        OpDescription("layer_norm_backward", "LayerNormBackward", LayerNormSample.backward.map(backwardSample)),
    ]
}
