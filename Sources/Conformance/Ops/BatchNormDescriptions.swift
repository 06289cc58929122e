import Foundation
import RetortKernels

private struct BatchNormSample {
    let shape: [Int]
    var weight = true
    var bias = true
    var residual = false
    var relu = false
    var running = true
    /// Added to every x: cancellation.
    var mean: Float = 0
    /// x is the same number everywhere: variance 0.
    var constant = false
    var accumulate = false
    /// Backward: leave dx, or the parameters' gradients, out.
    var dx = true
    var parameters = true
    var size = SampleSize.tiny

    var channels: Int { shape[1] }
    var inner: Int { shape.dropFirst(2).reduce(1, *) }
    var count: Int { shape.elements }
    func channel(_ i: Int) -> Int { i / inner % channels }

    var text: String {
        shape.shapeText + (weight ? "" : " no-weight") + (bias ? "" : " no-bias") + (residual ? " residual" : "")
            + (relu ? " relu" : "") + (running ? "" : " no-running") + (mean == 0 ? "" : " mean=\(mean)")
            + (constant ? " constant" : "") + (accumulate ? " accumulate" : "") + (dx ? "" : " no-dx")
            + (parameters ? "" : " dx-only")
    }

    /// Planes shorter than vectors and longer, blocks of samples that are full and not, one sample, none.
    static let shapes: [BatchNormSample] = [
        BatchNormSample(shape: [2, 1]), BatchNormSample(shape: [5, 7], residual: true, relu: true),
        BatchNormSample(shape: [67, 13]), BatchNormSample(shape: [0, 3, 4, 4]),
        BatchNormSample(shape: [2, 3, 1, 1], weight: false), BatchNormSample(shape: [70, 3, 2, 3], relu: true),
        BatchNormSample(shape: [3, 5, 4, 4], bias: false, residual: true),
        BatchNormSample(shape: [1, 3, 7, 7], residual: true, relu: true),
        BatchNormSample(shape: [2, 3, 5, 7], weight: false, bias: false),
        BatchNormSample(shape: [3, 17, 8, 8], residual: true, relu: true), BatchNormSample(shape: [2, 3, 41]),
        BatchNormSample(shape: [3, 2, 6, 6], mean: 1000), BatchNormSample(shape: [7, 5], mean: 1000),
        BatchNormSample(shape: [131, 3, 6, 6], relu: true, size: .small),
        BatchNormSample(shape: [130, 65], residual: true, size: .small),
        BatchNormSample(shape: [5, 7, 19, 23], residual: true, relu: true, size: .small),
        BatchNormSample(shape: [3, 2, 41, 131], size: .small),
        BatchNormSample(shape: [129, 40, 3, 3], relu: true, size: .large),
        BatchNormSample(shape: [64, 16, 32, 32], relu: true, size: .perf),
        BatchNormSample(shape: [64, 64, 56, 56], relu: true, size: .perf),
    ]
    static let forward: [BatchNormSample] =
        shapes + [
            BatchNormSample(shape: [3, 4, 5, 7], running: false, constant: true),
            BatchNormSample(shape: [9, 4], constant: true),
            BatchNormSample(shape: [17, 3, 11, 13], mean: 1e4, size: .small),
        ]
    static let backward: [BatchNormSample] =
        shapes + [
            BatchNormSample(shape: [3, 5, 7, 7], residual: true, relu: true, accumulate: true),
            BatchNormSample(shape: [66, 5], residual: true, accumulate: true),
            BatchNormSample(shape: [3, 5, 7, 7], residual: true, relu: true, dx: false),
            BatchNormSample(shape: [3, 5, 7, 7], parameters: false),
        ]

    func x(_ random: inout RandomNumbers) -> [Float] {
        constant ? [Float](repeating: 3.3, count: count) : random.normal(count, scale: 1.5, mean: mean)
    }

    /// Values of each channel, in order.
    func byChannel(_ x: [Float]) -> [[Double]] {
        var values = [[Double]](repeating: [], count: channels)
        for (i, v) in x.enumerated() { values[channel(i)].append(Double(v)) }
        return values
    }
}

private let epsilon: Float = 1e-5
private let momentum: Float = 0.1

/// Mean and biased variance of a channel, and what fp32 may lose of them.
///
/// A part's mean is rounded once when it is stored and so is the channel's: 1.5 eps |mean|. Differences to a first mean repair
/// that one's rounding; what is left is relative to the deviation. A part's mean that is off by e = eps |mean| moves the
/// variance by 2 e · deviation + e² at most; squares add log₂ n roundings.
private struct ChannelMoments {
    let mean: Estimate
    let variance: Estimate
    let rstd: Estimate

    init(_ values: [Double]) {
        let count = Double(values.count)
        let m = values.reduce(0, +) / count
        let v = values.reduce(0) { $0 + ($1 - m) * ($1 - m) } / count
        let roundings = 6 + log2(count + 1)
        let scale = 1 / (v + Double(epsilon)).squareRoot()
        let shift = eps * abs(m)
        mean = Estimate(m, 1.5 * shift + eps * roundings * v.squareRoot())
        variance = Estimate(v, eps * roundings * v + 2 * shift * v.squareRoot() + shift * shift)
        rstd = Estimate(scale, scale * (eps * 2 + variance.error * scale * scale / 2))
    }
}

/// y of one element from its channel's statistics and their errors.
private func normalised(
    _ x: Double, _ mean: Estimate, _ rstd: Estimate, _ weight: Double, _ bias: Double, _ residual: Double, relu: Bool
) -> Estimate {
    let n = (x - mean.value) * rstd.value
    let error = mean.error * rstd.value + abs(x - mean.value) * rstd.error + 2 * eps * abs(n)
    let y = n * weight + bias + residual
    return Estimate(
        relu ? max(y, 0) : y,
        abs(weight) * error + eps * (abs(n * weight) + abs(bias) + abs(residual) + abs(y)))
}

private func forwardSample(_ s: BatchNormSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let x = s.x(&random)
        let weight: [Float]? = s.weight ? random.normal(s.channels, mean: 1) : nil
        let bias: [Float]? = s.bias ? random.normal(s.channels) : nil
        let residual: [Float]? = s.residual ? random.normal(s.count) : nil
        let (oldMean, oldVariance) = (random.normal(s.channels), random.uniform(s.channels, 0.5, 2))
        let perChannel = [s.channels]
        var c = OpCase()
        c.input("x", x, s.shape)
        if let weight { c.input("weight", weight, perChannel) }
        if let bias { c.input("bias", bias, perChannel) }
        if let residual { c.input("residual", residual, s.shape) }
        if s.running {
            c.updated("runningMean", oldMean, perChannel)
            c.updated("runningVariance", oldVariance, perChannel)
        }
        c.output("y", s.shape)
        // An empty batch has no statistics.
        c.result("mean", perChannel, old: s.count == 0 ? oldMean : nil)
        c.result("rstd", perChannel, old: s.count == 0 ? oldMean : nil)
        c.run(BatchNorm(epsilon: epsilon, momentum: momentum, relu: s.relu)) { v in
            BatchNorm.Operands(
                x: v["x"], weight: v.optional("weight"), bias: v.optional("bias"), residual: v.optional("residual"),
                running: s.running
                    ? RunningStatistics(mean: v["runningMean"], variance: v["runningVariance"]) : nil, y: v["y"],
                mean: v["mean"], rstd: v["rstd"])
        }
        c.reference = {
            guard s.count > 0 else {
                return [
                    "y": .near([]), "mean": .exact(oldMean), "rstd": .exact(oldMean), "runningMean": .exact(oldMean),
                    "runningVariance": .exact(oldVariance),
                ]
            }
            let values = s.byChannel(x)
            let moments = values.map(ChannelMoments.init)
            let y = x.enumerated().map { i, v in
                let k = s.channel(i)
                return normalised(
                    Double(v), moments[k].mean, moments[k].rstd, weight.map { Double($0[k]) } ?? 1,
                    bias.map { Double($0[k]) } ?? 0, residual.map { Double($0[i]) } ?? 0, relu: s.relu)
            }
            var expected: [String: Expected] = [
                "y": .near(y), "mean": .near(moments.map(\.mean)), "rstd": .near(moments.map(\.rstd)),
            ]
            guard s.running else { return expected }
            let rate = Double(momentum)
            func moved(_ old: [Float], _ new: [Estimate]) -> [Estimate] {
                zip(old, new).map { old, new in
                    let (kept, added) = ((1 - rate) * Double(old), rate * new.value)
                    return Estimate(kept + added, rate * new.error + 2 * eps * (abs(kept) + abs(added)))
                }
            }
            let n = Double(values[0].count)
            expected["runningMean"] = .near(moved(oldMean, moments.map(\.mean)))
            expected["runningVariance"] = .near(
                moved(
                    oldVariance,
                    moments.map { Estimate($0.variance.value * n / (n - 1), $0.variance.error * n / (n - 1)) }))
            return expected
        }
        return c
    }
}

private func inferenceSample(_ s: BatchNormSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let x = s.x(&random)
        let weight: [Float]? = s.weight ? random.normal(s.channels, mean: 1) : nil
        let bias: [Float]? = s.bias ? random.normal(s.channels) : nil
        let residual: [Float]? = s.residual ? random.normal(s.count) : nil
        let (mean, variance) = (random.normal(s.channels, mean: s.mean), random.uniform(s.channels, 0.5, 2))
        var c = OpCase()
        c.input("x", x, s.shape)
        c.input("mean", mean, [s.channels])
        c.input("variance", variance, [s.channels])
        if let weight { c.input("weight", weight, [s.channels]) }
        if let bias { c.input("bias", bias, [s.channels]) }
        if let residual { c.input("residual", residual, s.shape) }
        c.output("y", s.shape)
        c.run(BatchNormInference(epsilon: epsilon, relu: s.relu)) { v in
            BatchNormInference.Operands(
                x: v["x"], statistics: RunningStatistics(mean: v["mean"], variance: v["variance"]),
                weight: v.optional("weight"), bias: v.optional("bias"), residual: v.optional("residual"), y: v["y"])
        }
        c.reference = {
            let rstd = variance.map { v in
                let scale = 1 / (Double(v) + Double(epsilon)).squareRoot()
                return Estimate(scale, 2 * eps * scale)
            }
            let y = x.enumerated().map { i, v in
                let k = s.channel(i)
                return normalised(
                    Double(v), Estimate(Double(mean[k])), rstd[k], weight.map { Double($0[k]) } ?? 1,
                    bias.map { Double($0[k]) } ?? 0, residual.map { Double($0[i]) } ?? 0, relu: s.relu)
            }
            return ["y": .near(y)]
        }
        return c
    }
}

/// Sums over n elements: 32 or more chains of additions, then a tree.
private func backwardSample(_ s: BatchNormSample, _ statistics: BatchNormBackward.Statistics) -> OpSample {
    OpSample("\(statistics) " + s.text, s.size) { random in
        let x = s.x(&random)
        let dy = random.normal(s.count)
        let y = random.normal(s.count).map { max($0, 0) }
        let weight: [Float]? = s.weight ? random.normal(s.channels, mean: 1) : nil
        let values = s.byChannel(x)
        let moments = s.count == 0 ? [] : values.map(ChannelMoments.init)
        let means = s.count == 0 ? random.normal(s.channels) : moments.map { Float($0.mean.value) }
        let variances = random.uniform(s.channels, 0.5, 2)
        let spreads =
            statistics == .running || s.count == 0 ? variances : moments.map { Float($0.rstd.value) }
        let old: [Float]? = s.accumulate ? random.normal(s.count) : nil
        let oldSums: [Float]? = s.accumulate ? random.normal(s.channels) : nil
        let wantsWeight = s.parameters && s.weight
        let wantsBias = s.parameters && s.bias
        var c = OpCase()
        c.input("x", x, s.shape)
        if let weight { c.input("weight", weight, [s.channels]) }
        c.input("mean", means, [s.channels])
        c.input("spread", spreads, [s.channels])
        if s.relu { c.input("y", y, s.shape) }
        c.input("dy", dy, s.shape)
        if s.dx { c.result("dx", s.shape, old: old) }
        if wantsWeight { c.result("dWeight", [s.channels], old: oldSums) }
        if wantsBias { c.result("dBias", [s.channels], old: oldSums) }
        if s.residual { c.result("dResidual", s.shape, old: old) }
        c.run(BatchNormBackward(statistics, epsilon: epsilon, relu: s.relu)) { v in
            BatchNormBackward.Operands(
                x: v["x"], weight: v.optional("weight"), mean: v["mean"], spread: v["spread"], y: v.optional("y"),
                dy: v["dy"], dx: v.optional("dx").map { .result($0, old: old) },
                dWeight: v.optional("dWeight").map { .result($0, old: oldSums) },
                dBias: v.optional("dBias").map { .result($0, old: oldSums) },
                dResidual: v.optional("dResidual").map { .result($0, old: old) })
        }
        c.reference = {
            let n = Double(max(1, s.count / s.channels))
            let roundings = 8 + n.squareRoot() / 8
            let rstd = spreads.map { v in
                statistics == .running ? 1 / (Double(v) + Double(epsilon)).squareRoot() : Double(v)
            }
            let g = dy.enumerated().map { s.relu && y[$0] <= 0 ? 0 : Double($1) }
            let normal = x.enumerated().map { (Double($1) - Double(means[s.channel($0)])) * rstd[s.channel($0)] }
            var sums = [Estimate](repeating: Estimate(0), count: s.channels)
            var products = sums
            for (i, g) in g.enumerated() {
                let k = s.channel(i)
                sums[k].value += g
                sums[k].error += eps * roundings * abs(g)
                products[k].value += g * normal[i]
                products[k].error += eps * roundings * abs(g * normal[i])
            }
            var expected: [String: Expected] = [:]
            if s.dx {
                let dx = g.enumerated().map { i, g in
                    let k = s.channel(i)
                    let scale = rstd[k] * (weight.map { Double($0[k]) } ?? 1)
                    guard statistics == .batch else { return Estimate(g * scale, eps * 4 * abs(g * scale)) }
                    let (sum, product) = (sums[k].value / n, products[k].value / n)
                    let lost =
                        (sums[k].error + abs(normal[i]) * products[k].error) / n
                        + eps * 4 * (abs(g) + abs(sum) + abs(normal[i] * product))
                    return Estimate(scale * (g - sum - normal[i] * product), abs(scale) * lost)
                }
                expected["dx"] = .near(dx.added(to: old))
            }
            if wantsWeight { expected["dWeight"] = .near(products.added(to: oldSums)) }
            if wantsBias { expected["dBias"] = .near(sums.added(to: oldSums)) }
            if s.residual { expected["dResidual"] = .near(g.map { Estimate($0) }.added(to: old)) }
            return expected
        }
        return c
    }
}

extension OpDescription {
    static let batchNorms: [OpDescription] = [
        OpDescription("batch_norm", "BatchNorm", BatchNormSample.forward.map(forwardSample)),
        OpDescription("batch_norm_inference", "BatchNormInference", BatchNormSample.shapes.map(inferenceSample)),
        OpDescription(
            "batch_norm_backward", "BatchNormBackward",
            [BatchNormBackward.Statistics.batch, .running].flatMap { statistics in
                BatchNormSample.backward.map { backwardSample($0, statistics) }
            }),
    ]
}
