import Foundation
import RetortKernels

/// One update of a flat array: what is common to the optimizers.
private struct UpdateSample {
    let count: Int
    var factor: Float = 1
    var skip = false
    var size = SampleSize.tiny

    var text: String { "\(count)" + (factor == 1 ? "" : " factor=\(factor)") + (skip ? " skip" : "") }
    static let all: [UpdateSample] = [
        UpdateSample(count: 1), UpdateSample(count: 7, factor: 0.3), UpdateSample(count: 0),
        UpdateSample(count: 131, factor: 0.01),
        UpdateSample(count: 37, skip: true), UpdateSample(count: 52_111, factor: 0.5, size: .small),
    ]
    static let perf = UpdateSample(count: 8 << 20, size: .perf)
}

private func sgdSample(_ s: UpdateSample, _ label: String, _ options: SGDUpdate.Options, first: Bool) -> OpSample {
    OpSample("\(label) \(s.text)" + (first ? " first" : ""), s.size) { random in
        let p = random.normal(s.count)
        let g = random.normal(s.count)
        let m = random.normal(s.count)
        let rate: Float = 0.05
        var c = OpCase()
        c.updated("values", p, [s.count])
        c.input("gradients", g, [s.count])
        if options.momentum != 0 { c.updated("momentum", m, [s.count]) }
        c.input("factor", [s.factor], [1])
        c.input("skip", ints: [s.skip ? 1 : 0], [1])
        c.run(SGDUpdate(options, learningRate: rate, isFirstStep: first)) {
            .init(
                values: $0["values"], gradients: $0["gradients"], momentum: $0.optional("momentum"),
                factor: $0["factor"],
                skip: $0["skip"])
        }
        c.reference = {
            guard !s.skip else { return ["values": .exact(p), "momentum": .exact(m)] }
            var values: [Estimate] = []
            var moments: [Estimate] = []
            let (mu, decay) = (Double(options.momentum), Double(options.weightDecay))
            for i in p.indices {
                let own = Double(g[i]) * Double(s.factor)
                let gradient = own + decay * Double(p[i])
                let kept = 1 - Double(options.dampening)
                let moment = options.momentum == 0 || first ? gradient : mu * Double(m[i]) + kept * gradient
                let step = options.momentum == 0 ? gradient : options.nesterov ? gradient + mu * moment : moment
                // A few roundings of each addend.
                let size = abs(own) + decay * abs(Double(p[i])) + mu * abs(Double(m[i]))
                moments.append(Estimate(moment, 4 * eps * size))
                let value = Double(p[i]) - Double(rate) * step
                values.append(Estimate(value, eps * (abs(value) + 8 * Double(rate) * size)))
            }
            var expected = ["values": Expected.near(values)]
            if options.momentum != 0 { expected["momentum"] = .near(moments) }
            return expected
        }
        return c
    }
}

private let sgd: [OpSample] = {
    let options: [(String, SGDUpdate.Options)] = [
        ("plain", .init()), ("decay", .init(weightDecay: 0.1)), ("momentum", .init(momentum: 0.9)),
        ("dampening", .init(momentum: 0.9, dampening: 0.2, weightDecay: 0.01)),
        ("nesterov", .init(momentum: 0.9, nesterov: true, weightDecay: 0.01)),
    ]
    return options.flatMap { label, options in
        UpdateSample.all.map { sgdSample($0, label, options, first: false) }
            + (options.momentum == 0 ? [] : [sgdSample(UpdateSample(count: 37), label, options, first: true)])
    } + [sgdSample(.perf, "momentum", .init(momentum: 0.9), first: false)]
}()

private func adamSample(_ s: UpdateSample, _ label: String, _ options: AdamUpdate.Options, step: Int) -> OpSample {
    OpSample("\(label) \(s.text) step=\(step)", s.size) { random in
        let p = random.normal(s.count)
        let g = random.normal(s.count)
        let m = random.normal(s.count, scale: 0.1)
        let v = random.uniform(s.count, 0, 0.5)
        let top = random.uniform(s.count, 0, 0.5)
        let rate: Float = 0.01
        var c = OpCase()
        c.updated("values", p, [s.count])
        c.input("gradients", g, [s.count])
        c.updated("first", m, [s.count])
        c.updated("second", v, [s.count])
        if options.amsgrad { c.updated("maximum", top, [s.count]) }
        c.input("factor", [s.factor], [1])
        c.input("skip", ints: [s.skip ? 1 : 0], [1])
        c.run(AdamUpdate(options, learningRate: rate, step: step)) {
            .init(
                values: $0["values"], gradients: $0["gradients"], first: $0["first"], second: $0["second"],
                secondMaximum: $0.optional("maximum"), factor: $0["factor"], skip: $0["skip"])
        }
        c.reference = {
            guard !s.skip else {
                return ["values": .exact(p), "first": .exact(m), "second": .exact(v), "maximum": .exact(top)]
            }
            var results: (values: [Estimate], first: [Estimate], second: [Estimate], maximum: [Estimate]) = (
                [], [], [], []
            )
            let decay = Double(options.weightDecay)
            let correction1 = 1 - pow(options.beta1, Double(step))
            let correction2 = 1 - pow(options.beta2, Double(step))
            for i in p.indices {
                var parameter = Double(p[i])
                var gradient = Double(g[i]) * Double(s.factor)
                var size = abs(gradient)
                if options.decoupled {
                    parameter -= Double(rate) * decay * parameter
                } else {
                    gradient += decay * parameter
                    size += decay * abs(parameter)
                }
                let first = options.beta1 * Double(m[i]) + (1 - options.beta1) * gradient
                // m += (1 − β₁)(g − m) rounds the difference.
                let firstError = eps * (abs(Double(m[i])) + size) * 2
                let second = options.beta2 * Double(v[i]) + (1 - options.beta2) * gradient * gradient
                let secondError = eps * (4 * second + (1 - options.beta2) * size * size * 4)
                let maximum = options.amsgrad ? max(Double(top[i]), second) : second
                let root = (maximum / correction2).squareRoot() + Double(options.epsilon)
                let update = Double(rate) / correction1 * first / root
                let updateError =
                    Double(rate) / correction1 * (firstError + 2 * secondError / maximum * abs(first)) / root
                    + 8 * eps * abs(update)
                let value = parameter - update
                results.values.append(Estimate(value, updateError + 2 * eps * (abs(value) + abs(parameter))))
                results.first.append(Estimate(first, firstError))
                results.second.append(Estimate(second, secondError))
                results.maximum.append(Estimate(maximum, secondError))
            }
            return [
                "values": .near(results.values), "first": .near(results.first), "second": .near(results.second),
                "maximum": .near(results.maximum),
            ]
        }
        return c
    }
}

private let adam: [OpSample] = {
    let options: [(String, AdamUpdate.Options)] = [
        ("adam", .init()), ("adam-decay", .init(weightDecay: 0.1)),
        ("adamw", .init(weightDecay: 0.01, decoupled: true)),
        ("amsgrad", .init(beta1: 0.8, beta2: 0.99, epsilon: 1e-6, amsgrad: true)),
        ("adamw-amsgrad", .init(weightDecay: 0.05, decoupled: true, amsgrad: true)),
    ]
    return options.flatMap { label, options in
        UpdateSample.all.map { adamSample($0, label, options, step: 3) }
            + [1, 1000].map { adamSample(UpdateSample(count: 37), label, options, step: $0) }
    } + [adamSample(.perf, "adamw", .init(weightDecay: 0.01, decoupled: true), step: 3)]
}()

private func normSample(
    _ count: Int, maximum: Float, scale: Float = 1, poison: Float? = nil, size: SampleSize = .tiny
) -> OpSample {
    let text =
        "\(count) maximum=\(maximum)" + (scale == 1 ? "" : " scale=\(scale)") + (poison.map { " with=\($0)" } ?? "")
    return OpSample(text, size) { random in
        var values = random.normal(count, scale: scale)
        if let poison { values[count / 2] = poison }
        let g = values
        var c = OpCase()
        c.input("gradients", g, [count])
        c.output("norm", [1])
        c.output("factor", [1])
        c.output("skip", [1], dtype: .i32)
        c.updated("nonFinite", ints: [5], [1])
        c.run(GradientNorm(maximum: maximum)) {
            .init(
                gradients: $0["gradients"], norm: $0["norm"], factor: $0["factor"], skip: $0["skip"],
                nonFinite: $0["nonFinite"])
        }
        c.reference = {
            guard poison == nil else {
                return ["norm": .notFinite, "factor": .anything, "skip": .exact([1.0]), "nonFinite": .exact([6.0])]
            }
            let norm = g.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
            // All terms are positive: the root halves the sum's relative error.
            let error = eps * (4 + log2(Double(count + 1)) / 2)
            let limit = Double(maximum) / (norm + 1e-6)
            let factor = maximum <= 0 || limit >= 1 ? Estimate(1) : Estimate(limit, limit * (error + 2 * eps))
            return [
                "norm": .near([Estimate(norm, error * norm)]), "factor": .near([factor]), "skip": .exact([0.0]),
                "nonFinite": .exact([5.0]),
            ]
        }
        return c
    }
}

private func movingAverageSample(_ count: Int, _ decay: Double, size: SampleSize = .tiny) -> OpSample {
    OpSample("\(count) decay=\(decay)", size) { random in
        let average = random.normal(count)
        let values = random.normal(count)
        var c = OpCase()
        c.updated("average", average, [count])
        c.input("values", values, [count])
        c.run(MovingAverage(decay: decay)) { .init(average: $0["average"], values: $0["values"]) }
        c.reference = {
            [
                "average": .near(
                    zip(average, values).map { a, v in
                        let terms = (decay * Double(a), (1 - decay) * Double(v))
                        return Estimate(terms.0 + terms.1, 2 * eps * (abs(terms.0) + abs(terms.1)))
                    })
            ]
        }
        return c
    }
}

extension OpDescription {
    static let optimizers: [OpDescription] = [
        OpDescription("sgd", "SGDUpdate", sgd),
        OpDescription("adam", "AdamUpdate", adam),
        OpDescription(
            "gradient_norm", "GradientNorm",
            [
                normSample(1, maximum: 1), normSample(7, maximum: 0.5), normSample(7, maximum: 100),
                normSample(7, maximum: 0),
                normSample(131, maximum: 1, scale: 0), normSample(131, maximum: 1, poison: .nan),
                normSample(131, maximum: 1, poison: .infinity),
                normSample(5, maximum: 0, poison: -.infinity), normSample(0, maximum: 1),
                normSample(4099, maximum: 1, size: .small),
                normSample(1_000_003, maximum: 1, size: .small), normSample(8 << 20, maximum: 1, size: .perf),
            ]),
        OpDescription(
            "moving_average", "MovingAverage",
            [
                movingAverageSample(1, 0.9), movingAverageSample(7, 0), movingAverageSample(0, 0.5),
                movingAverageSample(131, 0.999),
                movingAverageSample(52_111, 0.99, size: .small), movingAverageSample(8 << 20, 0.999, size: .perf),
            ]),
    ]
}
