import Foundation
import RetortKernels

private struct ReduceSample {
    let kind: Reduction
    let shape: [Int]
    let axis: Int
    var accumulate = false
    var fill = Fill.plain
    var size = SampleSize.tiny

    enum Fill: String {
        case plain
        /// Ones: a sum that stops growing shows here.
        case ones
        /// 0.1 everywhere: every addition rounds the same way.
        case drift
        /// 1000 and a little.
        case shifted
        /// −∞ in places, a slice of nothing else.
        case masked
        case huge
        /// NaN in places, ties everywhere.
        case ties

        func values(_ count: Int, _ random: inout RandomNumbers) -> [Float] {
            switch self {
            case .plain: return random.normal(count)
            case .ones: return [Float](repeating: 1, count: count)
            case .drift: return [Float](repeating: 0.1, count: count)
            case .shifted: return random.normal(count, mean: 1000)
            case .masked: return random.normal(count).enumerated().map { $0 % 3 == 0 || $0 < 8 ? -.infinity : $1 }
            case .huge: return random.normal(count).enumerated().map { $0 % 5 == 0 ? 1e4 : $0 % 7 == 0 ? -1e4 : $1 }
            case .ties: return random.integers(count, 0...3).map { $0 == 0 ? -Float.infinity : Float($0) }
            }
        }
    }

    var text: String {
        "\(Reduce(kind).name.dropFirst("reduce_".count)) \(shape.shapeText) axis=\(axis)"
            + (accumulate ? " accumulate" : "")
            + (fill == .plain ? "" : " \(fill.rawValue)") + (kind == .variance(correction: 0) ? " correction=0" : "")
    }

    /// The shape with size 1 along the axis.
    var kept: [Int] { shape.enumerated().map { $0 == axis ? 1 : $1 } }
}

/// The elements along one axis of a row-major array, slice by slice.
struct AxisWalk {
    let outer: Int
    let n: Int
    let inner: Int

    init(_ shape: [Int], _ axis: Int) {
        outer = shape[..<axis].reduce(1, *)
        n = shape[axis]
        inner = shape[(axis + 1)...].reduce(1, *)
    }

    /// Index of element i of slice s in the array.
    func index(_ s: Int, _ i: Int) -> Int { (s / inner * n + i) * inner + s % inner }
    var slices: Int { outer * inner }
    func slice(_ x: [Float], _ s: Int) -> [Float] { (0..<n).map { x[index(s, $0)] } }
}

extension Reduction {
    /// The result in float64, what backward needs beside it, and the error: a blocked sum of n terms errs by no more than about
    /// log₂ n + 2 roundings of Σ |x|.
    fileprivate func reference(_ x: [Float]) -> (result: Estimate, statistic: Estimate) {
        let v = x.map(Double.init)
        let n = Double(v.count)
        let steps = 2 + log2(n + 1)
        let sum = v.reduce(0, +)
        let magnitude = v.reduce(0) { $0 + abs($1) }
        switch self {
        case .sum: return (Estimate(sum, eps * steps * magnitude), Estimate(0))
        case .mean: return (Estimate(sum / n, eps * steps * magnitude / n), Estimate(0))
        case .variance(let correction):
            let mean = sum / n
            let squares = v.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
            // The mean's own rounding enters squared.
            let lost = eps * (abs(mean) + magnitude / n)
            let divisor = n - Double(correction)
            return (
                Estimate(
                    squares / divisor, eps * (steps + 4) * squares / divisor + n / Swift.max(divisor, 1) * lost * lost),
                Estimate(mean, eps * steps * magnitude / n)
            )
        case .max, .min:
            var best = 0
            for i in x.indices.dropFirst()
            where !x[best].isNaN && (x[i].isNaN || (self == .max ? x[i] > x[best] : x[i] < x[best])) {
                best = i
            }
            return (Estimate(v[best]), Estimate(Double(best)))
        case .logSumExp:
            let top = v.max()!
            guard top > -.infinity else { return (Estimate(-.infinity), Estimate(0)) }
            let result = top + log(v.reduce(0) { $0 + exp($1 - top) })
            return (Estimate(result, eps * (4 + steps + abs(top) + abs(result))), Estimate(0))
        }
    }
}

private func reduceSample(_ s: ReduceSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        var values = s.fill.values(s.shape.elements, &random)
        if s.fill == .ties { for i in values.indices where i % 29 == 17 { values[i] = .nan } }
        let x = values
        let count = s.kept.elements
        let old: [Float]? = s.accumulate ? random.normal(count) : nil
        var c = OpCase()
        c.input("x", x, s.shape)
        c.result("y", s.kept, old: old)
        if let type = s.kind.statistic { c.output("statistic", s.kept, dtype: type) }
        c.run(Reduce(s.kind)) {
            .init(x: $0["x"], axis: s.axis, y: .result($0["y"], old: old), statistic: $0.optional("statistic"))
        }
        c.reference = {
            let walk = AxisWalk(s.shape, s.axis)
            let results = (0..<walk.slices).map { s.kind.reference(walk.slice(x, $0)) }
            var expected: [String: Expected] = ["y": .near(results.map(\.result).added(to: old))]
            if s.kind == .max || s.kind == .min { expected["y"] = .exact(results.map(\.result.value)) }
            switch s.kind.statistic {
            case .i32?: expected["statistic"] = .exact(results.map(\.statistic.value))
            case nil: break
            default: expected["statistic"] = .near(results.map(\.statistic))
            }
            return expected
        }
        return c
    }
}

private let kinds: [Reduction] = [
    .sum, .mean, .variance(correction: 1), .variance(correction: 0), .max, .min, .logSumExp,
]

private let reduceSamples: [ReduceSample] = kinds.flatMap { kind in
    var samples = [
        ReduceSample(kind: kind, shape: [7], axis: 0), ReduceSample(kind: kind, shape: [5, 10], axis: 0),
        ReduceSample(kind: kind, shape: [5, 10], axis: 1), ReduceSample(kind: kind, shape: [3, 17, 5], axis: 1),
        ReduceSample(kind: kind, shape: [2, 3, 70], axis: 0), ReduceSample(kind: kind, shape: [0, 7], axis: 1),
        ReduceSample(kind: kind, shape: [7, 0], axis: 0),
        ReduceSample(kind: kind, shape: [3, 37], axis: 1, fill: .shifted),
        ReduceSample(kind: kind, shape: [41, 1271], axis: 0, size: .small),
        ReduceSample(kind: kind, shape: [41, 1271], axis: 1, size: .small),
        ReduceSample(kind: kind, shape: [5, 300, 67], axis: 1, size: .small),
        ReduceSample(kind: kind, shape: [70_001], axis: 0, size: .small),
    ]
    if kind != .variance(correction: 1) {
        samples += [
            ReduceSample(kind: kind, shape: [1], axis: 0), ReduceSample(kind: kind, shape: [7, 1, 3], axis: 1),
        ]
    }
    if kind == .sum || kind == .mean {
        samples += [
            ReduceSample(kind: kind, shape: [5, 10], axis: 0, accumulate: true),
            ReduceSample(kind: kind, shape: [5, 10], axis: 1, accumulate: true),
            ReduceSample(kind: kind, shape: [300, 13], axis: 0, accumulate: true, size: .small),
            ReduceSample(kind: kind, shape: [70_001], axis: 0, accumulate: true, size: .small),
            ReduceSample(kind: kind, shape: [1_000_000], axis: 0, fill: .ones, size: .small),
            ReduceSample(kind: kind, shape: [1_000_000], axis: 0, fill: .drift, size: .small),
            ReduceSample(kind: kind, shape: [100_000, 7], axis: 0, fill: .drift, size: .small),
            ReduceSample(kind: kind, shape: [3, 200_003], axis: 1, fill: .drift, size: .small),
            ReduceSample(kind: kind, shape: [4096, 1024], axis: 0, size: .perf),
            ReduceSample(kind: kind, shape: [4096, 1024], axis: 1, size: .perf),
        ]
    }
    if kind == .sum {
        samples += [
            ReduceSample(kind: kind, shape: [3, 0], axis: 1), ReduceSample(kind: kind, shape: [0, 3], axis: 0),
        ]
    }
    if kind == .max || kind == .min {
        samples += [
            ReduceSample(kind: kind, shape: [9, 13], axis: 0, fill: .ties),
            ReduceSample(kind: kind, shape: [9, 13], axis: 1, fill: .ties),
            ReduceSample(kind: kind, shape: [41, 1271], axis: 1, fill: .ties, size: .small),
        ]
    }
    if kind == .logSumExp {
        samples += [
            ReduceSample(kind: kind, shape: [4, 8], axis: 1, fill: .masked),
            ReduceSample(kind: kind, shape: [8, 5], axis: 0, fill: .masked),
            ReduceSample(kind: kind, shape: [4, 37], axis: 1, fill: .huge),
            ReduceSample(kind: kind, shape: [37, 4], axis: 0, fill: .huge),
        ]
    }
    return samples
}

/// dx from dy: written out for each kind. One product, or a product and an exponential.
private func reduceBackwardSample(_ s: ReduceSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let x = s.fill.values(s.shape.elements, &random)
        let walk = AxisWalk(s.shape, s.axis)
        let dy = random.normal(walk.slices)
        let old: [Float]? = s.accumulate ? random.normal(x.count) : nil
        // What forward leaves, rounded as it is stored.
        let forward = (0..<walk.slices).map { s.kind.reference(walk.slice(x, $0)) }
        var c = OpCase()
        c.input("x", x, s.shape)
        c.input("dy", dy, s.kept)
        let floats =
            s.kind == .logSumExp ? forward.map { Float($0.result.value) } : forward.map { Float($0.statistic.value) }
        switch s.kind {
        case .max, .min: c.input("statistic", ints: forward.map { Int32($0.statistic.value) }, s.kept)
        case .variance, .logSumExp: c.input("statistic", floats, s.kept)
        case .sum, .mean: break
        }
        c.result("dx", s.shape, old: old)
        c.run(ReduceBackward(s.kind)) {
            .init(
                x: $0["x"], statistic: $0.optional("statistic"), dy: $0["dy"], axis: s.axis,
                dx: .result($0["dx"], old: old))
        }
        c.reference = {
            var dx = [Estimate](repeating: Estimate(0), count: x.count)
            for slice in 0..<walk.slices {
                for i in 0..<walk.n {
                    let at = walk.index(slice, i)
                    let (v, g) = (Double(x[at]), Double(dy[slice]))
                    let value: Double
                    switch s.kind {
                    case .sum: value = g
                    case .mean: value = g / Double(walk.n)
                    case .variance(let correction):
                        value = g * 2 * (v - Double(floats[slice])) / Double(walk.n - correction)
                    case .max, .min: value = i == Int(forward[slice].statistic.value) ? g : 0
                    case .logSumExp: value = floats[slice] == -.infinity ? 0 : g * exp(v - Double(floats[slice]))
                    }
                    let argument = s.kind == .logSumExp && v.isFinite ? 2 * abs(v - Double(floats[slice])) : 0
                    dx[at] = Estimate(value, s.kind == .sum ? 0 : eps * (5 + argument) * abs(value))
                }
            }
            return ["dx": .near(dx.added(to: old))]
        }
        return c
    }
}

private let reduceBackwardSamples: [ReduceSample] =
    kinds.flatMap { kind in
        [
            ReduceSample(kind: kind, shape: [7], axis: 0), ReduceSample(kind: kind, shape: [5, 10], axis: 0),
            ReduceSample(kind: kind, shape: [5, 10], axis: 1), ReduceSample(kind: kind, shape: [3, 17, 5], axis: 1),
            ReduceSample(kind: kind, shape: [3, 17, 5], axis: 1, accumulate: true),
            ReduceSample(kind: kind, shape: [0, 7], axis: 1),
            ReduceSample(kind: kind, shape: [5, 33], axis: 1, accumulate: true),
            ReduceSample(kind: kind, shape: [41, 1271], axis: 0, size: .small),
            ReduceSample(kind: kind, shape: [41, 1271], axis: 1, size: .small),
            ReduceSample(kind: kind, shape: [70_001], axis: 0, size: .small),
        ]
    } + [ReduceSample(kind: .mean, shape: [4096, 1024], axis: 1, size: .perf)]

private struct CumulativeSample {
    let shape: [Int]
    let axis: Int
    var accumulate = false
    var size = SampleSize.tiny
}

/// Running sums are added one after the other: √j roundings of the sum of magnitudes so far.
private let cumulativeSum = OpDescription(
    "cumulative_sum", "CumulativeSum",
    [false, true].flatMap { reverse in
        [
            CumulativeSample(shape: [1], axis: 0), CumulativeSample(shape: [7], axis: 0),
            CumulativeSample(shape: [5, 10], axis: 0),
            CumulativeSample(shape: [5, 10], axis: 1), CumulativeSample(shape: [0, 5], axis: 1),
            CumulativeSample(shape: [5, 0], axis: 1),
            CumulativeSample(shape: [3, 17, 5], axis: 1, accumulate: true),
            CumulativeSample(shape: [3, 37], axis: 1, accumulate: true),
            CumulativeSample(shape: [41, 1271], axis: 1, size: .small),
            CumulativeSample(shape: [1271, 41], axis: 0, size: .small),
            CumulativeSample(shape: [4096, 1024], axis: 1, size: .perf),
        ].map { s in
            let text =
                "\(s.shape.shapeText) axis=\(s.axis)" + (reverse ? " reverse" : "")
                + (s.accumulate ? " accumulate" : "")
            return OpSample(text, s.size) { random in
                let x = random.normal(s.shape.elements)
                let old: [Float]? = s.accumulate ? random.normal(s.shape.elements) : nil
                var c = OpCase()
                c.input("x", x, s.shape)
                c.result("y", s.shape, old: old)
                c.run(CumulativeSum(reverse: reverse)) {
                    .init(x: $0["x"], axis: s.axis, y: .result($0["y"], old: old))
                }
                c.reference = {
                    let walk = AxisWalk(s.shape, s.axis)
                    var y = [Estimate](repeating: Estimate(0), count: x.count)
                    for slice in 0..<walk.slices {
                        var (sum, magnitude) = (0.0, 0.0)
                        for step in 0..<walk.n {
                            let at = walk.index(slice, reverse ? walk.n - 1 - step : step)
                            sum += Double(x[at])
                            magnitude += abs(Double(x[at]))
                            y[at] = Estimate(sum, eps * (1 + Double(step).squareRoot()) * magnitude)
                        }
                    }
                    return ["y": .near(y.added(to: old))]
                }
                return c
            }
        }
    })

extension OpDescription {
    static let reductions: [OpDescription] = [
        OpDescription("reduce", "Reduce", reduceSamples.map(reduceSample)),
        OpDescription("reduce_backward", "ReduceBackward", reduceBackwardSamples.map(reduceBackwardSample)),
        cumulativeSum,
    ]
}
