import Foundation
import RetortKernels

/// The filters in double precision, by sorting.
private func filtered(_ x: [Float], history: [Int32], _ op: FilterLogits) -> [Estimate] {
    var y = x.map { Estimate(Double($0)) }
    for token in Set(history) where x.indices.contains(Int(token)) {
        let v = y[Int(token)].value, penalty = Double(op.repetitionPenalty)
        y[Int(token)].value = v < 0 ? v * penalty : v / penalty
    }
    for i in y.indices {
        y[i].value /= Double(op.temperature)
        y[i].error = 2 * eps * abs(y[i].value)
    }
    let top = y.map(\.value).max() ?? 0
    // Largest first; of equal ones the later.
    let order = y.indices.sorted { (y[$0].value, $0) > (y[$1].value, $1) }
    var left = Set(y.indices)
    if let k = op.topK, k < y.count {
        let least = y[order[k - 1]].value
        left = left.filter { y[$0].value >= least }
    }
    if let p = op.topP, p < 1 {
        let weights = y.indices.map { left.contains($0) ? exp(y[$0].value - top) : 0 }
        let wanted = Double(p) * weights.reduce(0, +)
        var sum = 0.0
        for i in order {
            if sum >= wanted { left.remove(i) }
            sum += weights[i]
        }
    }
    if let minP = op.minP, minP > 0 { left = left.filter { y[$0].value >= top + log(Double(minP)) } }
    return y.indices.map { left.contains($0) ? y[$0] : Estimate(-.infinity) }
}

private func filterSample(
    _ rows: Int, _ columns: Int, _ text: String, _ op: FilterLogits, seen: Int = 0, ties: Bool = false,
    padding: Int = 0, size: SampleSize = .tiny
) -> OpSample {
    OpSample("\(rows)x\(columns) \(text)", size) { random in
        let x =
            ties
            ? random.integers(rows * columns, 0...5).map { $0 == 5 ? -.infinity : Float($0) / 2 }
            : random.distinct(rows * columns, gap: 8 / Float(columns))
        // Ids of no token, as padding has them, and repeated ones.
        let history = random.integers(rows * seen, -1...(columns + 1)).map(Int32.init)
        var c = OpCase()
        c.input("x", x, [rows, columns], .padded(padding))
        if seen > 0 { c.input("history", ints: history, [rows, seen]) }
        c.output("y", [rows, columns])
        c.run(op) { .init(x: $0["x"], history: $0.optional("history"), y: $0["y"]) }
        c.reference = {
            [
                "y": .near(
                    (0..<rows).flatMap { r in
                        filtered(
                            Array(x[(r * columns)..<((r + 1) * columns)]),
                            history: Array(history[(r * seen)..<((r + 1) * seen)]), op)
                    })
            ]
        }
        return c
    }
}

private func drawSample(_ rows: Int, _ columns: Int, masked: Bool = false, padding: Int = 0, size: SampleSize = .tiny)
    -> OpSample
{
    OpSample("\(rows)x\(columns)" + (masked ? " masked" : "") + (padding > 0 ? " pitched" : ""), size) { random in
        var x = random.normal(rows * columns, scale: 2)
        if masked { for i in x.indices where i % columns % 3 != 1 { x[i] = -.infinity } }
        // The last in sight of 1, the first 0; the others where the running sum does not turn by rounding.
        var u = random.uniform(rows)
        // In a whole vocabulary the last token may have less than a rounding of the sum: no ends there.
        let isLong = size == .perf
        if rows > 1, !isLong { (u[0], u[rows - 1]) = (0, 1 - 0x1p-24) }
        let margin = isLong ? 1e-4 : 1e-5
        let sums = (0..<rows).map { r -> [Double] in
            let row = x[(r * columns)..<((r + 1) * columns)].map(Double.init)
            let top = row.max() ?? 0
            var sum = 0.0
            return row.map {
                sum += exp($0 - top)
                return sum
            }
        }
        for r in 0..<rows where isLong || r > 0 && r < rows - 1 {
            let total = sums[r].last ?? 1
            while sums[r].contains(where: { abs($0 / total - Double(u[r])) < margin }) { u[r] = random.uniform(1)[0] }
        }
        var c = OpCase()
        c.input("x", x, [rows, columns], .padded(padding))
        c.input("u", u, [rows])
        c.output("tokens", [rows], dtype: .i32)
        c.run(DrawTokens()) { .init(x: $0["x"], u: $0["u"], tokens: $0["tokens"]) }
        c.reference = {
            [
                "tokens": .exact(
                    (0..<rows).map { r in
                        let wanted = Double(u[r]) * (sums[r].last ?? 1)
                        let possible = (0..<columns).filter { x[r * columns + $0] > -.infinity }
                        return possible.first { sums[r][$0] > wanted } ?? possible.last ?? 0
                    })
            ]
        }
        return c
    }
}

extension OpDescription {
    static let sampling: [OpDescription] = [
        OpDescription(
            "filter_logits", "FilterLogits",
            [
                filterSample(1, 1, "plain", FilterLogits()),
                filterSample(3, 17, "T=0.7", FilterLogits(temperature: 0.7)),
                filterSample(0, 5, "k=2", FilterLogits(topK: 2)),
                filterSample(4, 37, "k=5", FilterLogits(topK: 5), padding: 3),
                filterSample(2, 7, "k=9", FilterLogits(topK: 9)), filterSample(5, 33, "k=1", FilterLogits(topK: 1)),
                filterSample(4, 37, "k=3 ties", FilterLogits(topK: 3), ties: true),
                filterSample(4, 37, "k=36 ties", FilterLogits(topK: 36), ties: true),
                filterSample(4, 37, "p=0.8", FilterLogits(topP: 0.8)),
                filterSample(4, 41, "p=1e-6", FilterLogits(topP: 1e-6)),
                filterSample(5, 37, "p=0.47 ties", FilterLogits(topP: 0.47), ties: true),
                filterSample(3, 41, "min-p=0.1", FilterLogits(minP: 0.1)),
                filterSample(3, 41, "min-p=1", FilterLogits(minP: 1)),
                filterSample(3, 29, "penalty", FilterLogits(repetitionPenalty: 1.3), seen: 11),
                filterSample(
                    3, 53, "all",
                    FilterLogits(repetitionPenalty: 1.2, temperature: 0.8, topK: 20, topP: 0.9, minP: 0.05), seen: 9,
                    padding: 2),
                filterSample(
                    41, 1271, "all",
                    FilterLogits(repetitionPenalty: 1.1, temperature: 1.3, topK: 100, topP: 0.9, minP: 0.01),
                    seen: 7, size: .small),
                filterSample(7, 4099, "p=0.95", FilterLogits(temperature: 2, topP: 0.95), size: .small),
                filterSample(8, 151936, "k=50 p=0.9", FilterLogits(topK: 50, topP: 0.9), size: .perf),
            ]),
        OpDescription(
            "draw_tokens", "DrawTokens",
            [
                drawSample(1, 1), drawSample(5, 7), drawSample(0, 5), drawSample(9, 37, masked: true, padding: 1),
                drawSample(6, 257), drawSample(41, 1271, size: .small),
                drawSample(17, 1271, masked: true, size: .small),
                drawSample(8, 151936, size: .perf),
            ]),
    ]
}
