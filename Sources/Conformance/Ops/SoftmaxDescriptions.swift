import Foundation
import RetortKernels

/// What goes into rows of logits besides plain random numbers.
enum LogitKind: String {
    case plain
    /// ±1e4 among them.
    case huge
    /// Some classes masked by −∞; in the last row all but one.
    case masked
    /// A row of nothing but −∞.
    case empty
    /// All equal.
    case flat

    func values(_ rows: Int, _ columns: Int, _ random: inout RandomNumbers) -> [Float] {
        var x = random.normal(rows * columns, scale: 3)
        guard !x.isEmpty else { return x }
        switch self {
        case .plain: break
        case .huge:
            for i in x.indices where i % 7 == 3 { x[i] = i % 2 == 0 ? 1e4 : -1e4 }
        case .masked:
            let picked = random.integers(x.count, 0...2)
            for i in x.indices where picked[i] == 0 && i % columns != columns / 2 { x[i] = -.infinity }
            for column in 0..<columns where column != columns / 2 { x[(rows - 1) * columns + column] = -.infinity }
        case .empty:
            for column in 0..<columns { x[(rows - 1) * columns + column] = -.infinity }
        case .flat: x = [Float](repeating: 2.25, count: x.count)
        }
        return x
    }
}

/// One row of logits at a temperature, in float64.
struct LogitRow {
    /// (x − max) / T.
    let scaled: [Double]
    /// Σ e^scaled, and its logarithm.
    let sum: Double
    let logSum: Double

    init(_ x: ArraySlice<Float>, temperature: Double) {
        let top = Double(x.max() ?? 0)
        scaled = x.map { (Double($0) - top) / temperature }
        sum = scaled.reduce(0) { $0 + exp($1) }
        logSum = log(sum)
    }

    func probability(_ i: Int) -> Double { exp(scaled[i]) / sum }
    func logProbability(_ i: Int) -> Double { scaled[i] - logSum }

    /// Error of a probability in units of eps · p: the exponential and the division a few roundings, its argument |d| more, the sum of
    /// n positive terms √n / 8 (they are added in lanes and blocks).
    func relativeError(_ i: Int) -> Double { 8 + 2 * distance(i) + Double(scaled.count).squareRoot() / 8 }
    /// Error of a log-probability in units of eps.
    func logError(_ i: Int) -> Double { 8 + 2 * distance(i) + 2 * abs(logSum) + Double(scaled.count).squareRoot() / 8 }

    /// How far a logit lies below the maximum, in units of T; a masked one is exact.
    func distance(_ i: Int) -> Double { scaled[i].isFinite ? abs(scaled[i]) : 0 }
}

/// Rows of a flat row-major array.
func rowSlices(_ x: [Float], _ columns: Int) -> [ArraySlice<Float>] {
    stride(from: 0, to: x.count, by: max(1, columns)).map { x[$0..<$0 + columns] }
}

private struct SoftmaxSample {
    let rows: Int
    let columns: Int
    var temperature: Float = 1
    var logits = LogitKind.plain
    var padding = 0
    var accumulate = false
    var size = SampleSize.tiny

    func text(_ log: Bool) -> String {
        (log ? "log " : "") + "\(rows)x\(columns)" + (temperature == 1 ? "" : " T=\(temperature)")
            + (logits == .plain ? "" : " \(logits)") + (padding > 0 ? " pitched" : "")
            + (accumulate ? " accumulate" : "")
    }

    static let shapes: [SoftmaxSample] = [
        SoftmaxSample(rows: 1, columns: 1), SoftmaxSample(rows: 1, columns: 7), SoftmaxSample(rows: 7, columns: 1),
        SoftmaxSample(rows: 5, columns: 10, temperature: 4), SoftmaxSample(rows: 3, columns: 16, temperature: 0.5),
        SoftmaxSample(rows: 3, columns: 17, padding: 3), SoftmaxSample(rows: 0, columns: 5),
        SoftmaxSample(rows: 2, columns: 259, temperature: 20),
        SoftmaxSample(rows: 41, columns: 1271, temperature: 2, size: .small),
        SoftmaxSample(rows: 13, columns: 257, padding: 7, size: .small),
        SoftmaxSample(rows: 3, columns: 8191, temperature: 0.7, size: .small),
        SoftmaxSample(rows: 2048, columns: 512, size: .perf), SoftmaxSample(rows: 512, columns: 32000, size: .perf),
    ]
    static let forward: [SoftmaxSample] =
        shapes + [
            SoftmaxSample(rows: 4, columns: 37, logits: .huge),
            SoftmaxSample(rows: 4, columns: 37, temperature: 0.5, logits: .huge),
            SoftmaxSample(rows: 4, columns: 37, logits: .masked), SoftmaxSample(rows: 3, columns: 21, logits: .empty),
            SoftmaxSample(rows: 2, columns: 300, logits: .flat),
            SoftmaxSample(rows: 2, columns: 4099, logits: .masked, size: .small),
        ]
    static let backward: [SoftmaxSample] =
        shapes + [
            SoftmaxSample(rows: 4, columns: 37, logits: .masked), SoftmaxSample(rows: 5, columns: 19, accumulate: true),
            SoftmaxSample(rows: 41, columns: 1271, padding: 1, accumulate: true, size: .small),
        ]
}

private func forwardSample(_ s: SoftmaxSample, log: Bool) -> OpSample {
    OpSample(s.text(log), s.size) { random in
        let shape = [s.rows, s.columns]
        let x = s.logits.values(s.rows, s.columns, &random)
        var c = OpCase()
        c.input("x", x, shape, .padded(s.padding))
        c.output("y", shape, .padded(s.padding * 2))
        c.run(Softmax(log: log, temperature: s.temperature)) { .init(x: $0["x"], y: .write($0["y"])) }
        c.reference = {
            [
                "y": .near(
                    rowSlices(x, s.columns).flatMap { row in
                        let r = LogitRow(row, temperature: Double(s.temperature))
                        return r.scaled.indices.map { i in
                            guard log else {
                                return Estimate(r.probability(i), r.relativeError(i) * eps * r.probability(i))
                            }
                            return Estimate(r.logProbability(i), r.logError(i) * eps)
                        }
                    })
            ]
        }
        return c
    }
}

private func backwardSample(_ s: SoftmaxSample, log: Bool) -> OpSample {
    OpSample(s.text(log), s.size) { random in
        let shape = [s.rows, s.columns]
        let x = s.logits.values(s.rows, s.columns, &random)
        let y: [Float] = rowSlices(x, s.columns).flatMap { row in
            let r = LogitRow(row, temperature: Double(s.temperature))
            return r.scaled.indices.map { Float(log ? r.logProbability($0) : r.probability($0)) }
        }
        let dy = random.normal(x.count)
        let old: [Float]? = s.accumulate ? random.normal(x.count) : nil
        var c = OpCase()
        c.input("y", y, shape, .padded(s.padding))
        c.input("dy", dy, shape)
        c.result("dx", shape, .padded(s.padding * 2), old: old)
        c.run(SoftmaxBackward(log: log, temperature: s.temperature)) {
            .init(y: $0["y"], dy: $0["dy"], dx: .result($0["dx"], old: old))
        }
        c.reference = {
            var results: [Estimate] = []
            // The row's sum errs by √n / 4 roundings of its terms' magnitudes.
            let sumError = 4 + Double(s.columns).squareRoot() / 4
            for (y, dy) in zip(rowSlices(y, s.columns), rowSlices(dy, s.columns)) {
                let terms = zip(y, dy).map { Double($1) * (log ? 1 : Double($0)) }
                let (sum, magnitude) = (terms.reduce(0, +), terms.reduce(0) { $0 + abs($1) })
                for (y, dy) in zip(y.map(Double.init), dy.map(Double.init)) {
                    let p = log ? exp(y) : y
                    let value = log ? dy - p * sum : p * (dy - sum)
                    let scale =
                        log ? abs(dy) + p * magnitude * (log && y.isFinite ? 1 + abs(y) : 1) : p * (abs(dy) + magnitude)
                    results.append(
                        Estimate(value / Double(s.temperature), eps * sumError * scale / Double(s.temperature)))
                }
            }
            return ["dx": .near(results.added(to: old))]
        }
        return c
    }
}

extension OpDescription {
    static let softmaxes: [OpDescription] = [
        OpDescription(
            "softmax", "Softmax",
            [false, true].flatMap { log in SoftmaxSample.forward.map { forwardSample($0, log: log) } }),
        OpDescription(
            "softmax_backward", "SoftmaxBackward",
            [false, true].flatMap { log in SoftmaxSample.backward.map { backwardSample($0, log: log) } }),
    ]
}
