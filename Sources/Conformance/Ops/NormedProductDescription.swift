import Foundation
import RetortKernels

private struct NormedProductSample {
    let rows: Int
    /// Columns of y.
    let n: Int
    let k: Int
    var gate: GatedActivation?
    /// Whether the norm has a weight.
    var norm = true
    var bias = false
    /// Every x is 0: only epsilon is left.
    var zero = false
    /// Elements that rows are apart beyond their own, and in front of each operand.
    var padding = 0
    /// What the weight is stored as.
    var dtype = DType.f32
    var size = SampleSize.tiny

    var text: String {
        "\(rows)x\(n)x\(k)" + (gate.map { " \($0)" } ?? "") + (norm ? "" : " no-norm-weight") + (bias ? " bias" : "")
            + (zero ? " zero" : "") + (padding > 0 ? " padding=\(padding)" : "") + dtype.sampleText
    }

    /// Rows and columns on both sides of what a vector, a team or a group takes; padding of 4 keeps rows on 16 bytes.
    static let all: [NormedProductSample] = [DType.f32, .bf16].flatMap { dtype in
        [
            NormedProductSample(rows: 1, n: 1, k: 1, dtype: dtype),
            NormedProductSample(rows: 0, n: 5, k: 3, dtype: dtype),
            NormedProductSample(rows: 3, n: 0, k: 5, gate: .swiglu, dtype: dtype),
            NormedProductSample(rows: 1, n: 16, k: 32, dtype: dtype),
            NormedProductSample(rows: 3, n: 17, k: 33, bias: true, padding: 3, dtype: dtype),
            NormedProductSample(rows: 8, n: 9, k: 20, norm: false, padding: 4, dtype: dtype),
            NormedProductSample(rows: 2, n: 7, k: 13, bias: true, zero: true, dtype: dtype),
            NormedProductSample(rows: 1, n: 1, k: 7, gate: .swiglu, dtype: dtype),
            NormedProductSample(rows: 4, n: 19, k: 31, gate: .swiglu, bias: true, padding: 1, dtype: dtype),
            NormedProductSample(rows: 8, n: 5, k: 32, gate: .gegluTanh, norm: false, padding: 4, dtype: dtype),
            NormedProductSample(rows: 1, n: 131, k: 257, bias: true, dtype: dtype, size: .small),
            NormedProductSample(rows: 7, n: 41, k: 1271, dtype: dtype, size: .small),
            NormedProductSample(rows: 8, n: 129, k: 260, gate: .gegluTanh, bias: true, dtype: dtype, size: .small),
            NormedProductSample(rows: 2, n: 67, k: 1031, gate: .swiglu, dtype: dtype, size: .small),
            NormedProductSample(rows: 1, n: 960, k: 576, dtype: dtype, size: .perf),
            NormedProductSample(rows: 1, n: 1536, k: 576, gate: .swiglu, dtype: dtype, size: .perf),
        ]
    }
}

/// The product's error is that of `Matmul`, of x̂, whose own is that of `RMSNorm`: relative and so no more than as many roundings of
/// ‖row of x̂‖ · ‖row of weight‖. The activation's slope is below 1.13; its own error is a few roundings of |gate| + 1.
private func normedProductSample(_ s: NormedProductSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let epsilon: Float = 1e-5
        let (parts, k) = (s.gate == nil ? 1 : 2, s.k)
        let x = s.zero ? [Float](repeating: 0, count: s.rows * k) : random.normal(s.rows * k, scale: 1.5, mean: 0.5)
        let norm: [Float]? = s.norm ? random.normal(k, mean: 1) : nil
        let weight = random.normal(parts * s.n * k, scale: 2 / Float(k).squareRoot()).held(by: s.dtype)
        let bias: [Float]? = s.bias ? random.normal(parts * s.n) : nil
        let layout = Layout.padded(s.padding, offset: s.padding)
        var c = OpCase()
        c.input("x", x, [s.rows, k], layout)
        if let norm { c.input("norm", norm, [k], Layout(offset: s.padding)) }
        c.input("weight", weight, [parts * s.n, k], layout, as: s.dtype)
        if let bias { c.input("bias", bias, [parts * s.n], Layout(offset: s.padding)) }
        c.output("y", [s.rows, s.n], layout)
        c.run(NormedProduct(epsilon: epsilon, gate: s.gate)) {
            .init(
                x: $0["x"], norm: $0.optional("norm"), weight: $0["weight"], bias: $0.optional("bias"), y: $0["y"])
        }
        c.reference = {
            let roundings = 6 + log2(Double(k + 1)) + 4 * Double(k).squareRoot()
            var y: [Estimate] = []
            for row in rowSlices(x, k) {
                let squares = row.reduce(0) { $0 + Double($1) * Double($1) }
                let rstd = 1 / (squares / Double(k) + Double(epsilon)).squareRoot()
                let normed: [Double] = row.enumerated().map { i, v in
                    Double(v) * rstd * (norm.map { Double($0[i]) } ?? 1)
                }
                let length = normed.reduce(0) { $0 + $1 * $1 }.squareRoot()
                /// Number `j` of the product.
                func product(_ j: Int) -> Estimate {
                    var (sum, squares) = (0.0, 0.0)
                    for (i, v) in normed.enumerated() {
                        let w = Double(weight[j * k + i])
                        sum += v * w
                        squares += w * w
                    }
                    var error = eps * roundings * length * squares.squareRoot()
                    if let bias {
                        sum += Double(bias[j])
                        error += eps * (abs(sum) + abs(Double(bias[j])))
                    }
                    return Estimate(sum, error + eps * abs(sum))
                }
                for j in 0..<s.n {
                    guard let gate = s.gate else {
                        y.append(product(j))
                        continue
                    }
                    let (g, up) = (product(j), product(s.n + j))
                    let function: UnaryFunction = gate == .swiglu ? .silu : .geluTanh
                    let active = function.reference(g.value)
                    let error = 1.2 * g.error + 8 * eps * (abs(g.value) + 1)
                    let value = active * up.value
                    y.append(
                        Estimate(
                            value, error * abs(up.value) + (abs(active) + error) * up.error + eps * abs(value)))
                }
            }
            return ["y": .near(y)]
        }
        return c
    }
}

extension OpDescription {
    static let normedProduct = OpDescription(
        "normed_product", "NormedProduct", NormedProductSample.all.map(normedProductSample))
}
