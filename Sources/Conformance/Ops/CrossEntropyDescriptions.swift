import Foundation
import RetortKernels

private struct CrossEntropySample {
    let rows: Int
    let classes: Int
    var smoothing: Float = 0
    var classWeights = false
    /// Some 0, and NaN logits in those rows.
    var rowWeights = false
    /// Some labels are to be ignored.
    var ignore: Int32?
    var scale: Float = 1
    var logits = LogitKind.plain
    var gradient = true
    var inPlace = false
    var padding = 0
    var size = SampleSize.tiny

    var text: String {
        "\(rows)x\(classes)" + (smoothing > 0 ? " smoothing=\(smoothing)" : "") + (classWeights ? " class-weights" : "")
            + (rowWeights ? " row-weights" : "") + (ignore.map { " ignore=\($0)" } ?? "")
            + (scale == 1 ? "" : " scale=\(scale)")
            + (logits == .plain ? "" : " \(logits)") + (gradient ? "" : " loss-only") + (inPlace ? " in-place" : "")
            + (padding > 0 ? " pitched" : "")
    }

    static let all: [CrossEntropySample] = [
        CrossEntropySample(rows: 1, classes: 1), CrossEntropySample(rows: 1, classes: 7),
        CrossEntropySample(rows: 7, classes: 2),
        CrossEntropySample(rows: 0, classes: 5), CrossEntropySample(rows: 5, classes: 10, scale: 0.2),
        CrossEntropySample(rows: 5, classes: 10, smoothing: 0.1),
        CrossEntropySample(rows: 5, classes: 10, classWeights: true),
        CrossEntropySample(
            rows: 9, classes: 17, smoothing: 0.2, classWeights: true, rowWeights: true, ignore: -100, scale: 0.5),
        CrossEntropySample(rows: 9, classes: 17, rowWeights: true, inPlace: true),
        CrossEntropySample(rows: 9, classes: 33, ignore: 3, padding: 3),
        CrossEntropySample(rows: 4, classes: 37, logits: .huge),
        CrossEntropySample(rows: 4, classes: 37, logits: .masked),
        CrossEntropySample(rows: 6, classes: 19, ignore: 2, gradient: false),
        CrossEntropySample(rows: 3, classes: 16, smoothing: 0.1, inPlace: true),
        CrossEntropySample(rows: 41, classes: 1271, smoothing: 0.1, rowWeights: true, ignore: -100, size: .small),
        CrossEntropySample(rows: 41, classes: 1271, padding: 5, size: .small),
        CrossEntropySample(rows: 3, classes: 8191, inPlace: true, size: .small),
        CrossEntropySample(rows: 512, classes: 32000, size: .perf),
        CrossEntropySample(rows: 8192, classes: 100, size: .perf),
    ]

    /// Label, or target probabilities, of each row: in labels −∞ classes are never the target.
    func labels(_ x: [Float], _ random: inout RandomNumbers) -> [Int32] {
        let labels = random.integers(rows, 0...(classes - 1)).map(Int32.init)
        return labels.enumerated().map { r, label in
            if let ignore, r % 3 == 1 { return ignore }
            return x[r * classes + Int(label)] == -.infinity ? Int32(classes / 2) : label
        }
    }

    func weightsOfRows(_ random: inout RandomNumbers) -> [Float]? {
        rowWeights ? random.uniform(rows, 0.1, 2).enumerated().map { $0 % 4 == 2 ? 0 : $1 } : nil
    }
}

/// Loss and gradient of one row: f · Σ_c t_c w_c (L − x_c) with targets t that sum to anything.
///
/// L − x_c errs by a few roundings of itself, of the maximum's distance and of the sum; the gradient f · (p_c Σ t w − t_c w_c) by
/// the probability's error.
private func crossEntropyRow(
    _ row: LogitRow, targets: [Double], weights: [Double], factor: Double
) -> (loss: Estimate, gradient: [Estimate]) {
    var loss = Estimate(0)
    var mass = 0.0
    for c in row.scaled.indices where targets[c] != 0 {
        let share = targets[c] * weights[c]
        mass += share
        loss.value -= share * row.logProbability(c)
        loss.error +=
            eps * abs(share)
            * (row.logError(c) + Double(row.scaled.count).squareRoot() / 8 * abs(row.logProbability(c)))
    }
    let gradient = row.scaled.indices.map { c in
        let p = row.probability(c)
        let own = targets[c] * weights[c]
        return Estimate(
            factor * (p * mass - own), eps * abs(factor) * (p * abs(mass) * (row.relativeError(c) + 4) + 4 * abs(own)))
    }
    return (Estimate(factor * loss.value, abs(factor) * loss.error), gradient)
}

private func crossEntropySample(_ s: CrossEntropySample, soft: Bool) -> OpSample {
    OpSample(s.text, s.size) { random in
        let shape = [s.rows, s.classes]
        var x = s.logits.values(s.rows, s.classes, &random)
        let labels = s.labels(x, &random)
        let rowWeights = s.weightsOfRows(&random)
        let classWeights: [Float]? = s.classWeights ? random.uniform(s.classes, 0.2, 3) : nil
        var targets: [Float] = []
        if soft {
            for row in rowSlices(random.normal(x.count, scale: 2), s.classes) {
                let r = LogitRow(row, temperature: 1)
                targets += r.scaled.indices.map { Float(r.probability($0)) }
            }
            for i in x.indices where x[i] == -.infinity { targets[i] = 0 }
        }
        // Whatever a row without weight holds, it must not matter.
        for r in 0..<s.rows where rowWeights?[r] == 0 { x[r * s.classes + r % s.classes] = .nan }
        let logits = x
        let softTargets = targets

        var c = OpCase()
        if s.inPlace {
            c.updated("logits", logits, shape)
        } else {
            c.input("logits", logits, shape, .padded(s.padding))
        }
        if soft {
            c.input("targets", softTargets, shape, .padded(s.padding * 2))
        } else {
            c.input("labels", ints: labels, [s.rows])
        }
        if let rowWeights { c.input("rowWeights", rowWeights, [s.rows]) }
        if let classWeights { c.input("classWeights", classWeights, [s.classes]) }
        c.output("loss", [s.rows])
        if s.gradient, !s.inPlace { c.output("gradient", shape, .padded(s.padding)) }
        let gradientName = s.inPlace ? "logits" : "gradient"
        if soft {
            c.run(SoftCrossEntropy(labelSmoothing: s.smoothing, scale: s.scale)) {
                .init(
                    logits: $0["logits"], targets: $0["targets"], rowWeights: $0.optional("rowWeights"),
                    classWeights: $0.optional("classWeights"), loss: $0["loss"],
                    gradient: s.gradient ? $0[gradientName] : nil)
            }
        } else {
            c.run(CrossEntropy(ignoreIndex: s.ignore ?? -100, labelSmoothing: s.smoothing, scale: s.scale)) {
                .init(
                    logits: $0["logits"], labels: $0["labels"], rowWeights: $0.optional("rowWeights"),
                    classWeights: $0.optional("classWeights"), loss: $0["loss"],
                    gradient: s.gradient ? $0[gradientName] : nil)
            }
        }
        c.reference = {
            var losses: [Estimate] = []
            var gradients: [Estimate] = []
            let weights = classWeights?.map(Double.init) ?? [Double](repeating: 1, count: s.classes)
            let e = Double(s.smoothing)
            for (r, row) in rowSlices(logits, s.classes).enumerated() {
                let weight = rowWeights.map { Double($0[r]) } ?? 1
                if weight == 0 || !soft && labels[r] == s.ignore {
                    losses.append(Estimate(0))
                    gradients += row.map { _ in Estimate(0) }
                    continue
                }
                let t: [Double] = row.indices.enumerated().map { i, at in
                    let own = soft ? Double(softTargets[at]) : i == Int(labels[r]) ? 1 : 0
                    return (1 - e) * own + e / Double(s.classes)
                }
                let result = crossEntropyRow(
                    LogitRow(row, temperature: 1), targets: t, weights: weights, factor: weight * Double(s.scale))
                losses.append(result.loss)
                gradients += result.gradient
            }
            var expected = ["loss": Expected.near(losses)]
            if s.gradient { expected[gradientName] = .near(gradients) }
            return expected
        }
        return c
    }
}

/// A label outside the classes: loss NaN, nothing outside the row touched.
private let wrongLabel = OpSample("3x7 wrong-label", .tiny) { random in
    let logits = random.normal(21)
    var c = OpCase()
    c.input("logits", logits, [3, 7])
    c.input("labels", ints: [7, -1, 1 << 30], [3])
    c.output("loss", [3])
    c.output("gradient", [3, 7])
    c.run(CrossEntropy()) {
        .init(logits: $0["logits"], labels: $0["labels"], loss: $0["loss"], gradient: $0["gradient"])
    }
    c.reference = { ["loss": .exact([Double](repeating: .nan, count: 3)), "gradient": .anything] }
    return c
}

private func tokenWeightsSample(
    _ rows: Int, classes: Int? = nil, ignored: Int, divisor: Float? = nil, size: SampleSize = .tiny
) -> OpSample {
    let name = "\(rows)" + (classes.map { " class-weights=\($0)" } ?? "") + " ignored=1/\(ignored)"
    return OpSample(name + (divisor.map { " divisor=\($0)" } ?? ""), size) { random in
        let labels = random.integers(rows, 0...((classes ?? 10) - 1)).enumerated().map {
            $0 % ignored == 0 ? Int32(-100) : Int32($1)
        }
        let classWeights: [Float]? = classes.map { random.uniform($0, 0.2, 3) }
        var c = OpCase()
        c.input("labels", ints: labels, [rows])
        if let classWeights { c.input("classWeights", classWeights, [classWeights.count]) }
        c.output("weights", [rows])
        c.run(TokenWeights(divisor: divisor)) {
            .init(labels: $0["labels"], classWeights: $0.optional("classWeights"), weights: $0["weights"])
        }
        c.reference = {
            var sum = 0.0
            for label in labels where label != -100 { sum += classWeights.map { Double($0[Int(label)]) } ?? 1 }
            let total = divisor.map(Double.init) ?? sum
            return [
                "weights": .near(
                    labels.map { label in
                        label == -100 ? Estimate(0) : Estimate(1 / total, eps * (4 + log2(Double(rows + 1))) / total)
                    })
            ]
        }
        return c
    }
}

extension OpDescription {
    static let crossEntropies: [OpDescription] = [
        OpDescription(
            "cross_entropy", "CrossEntropy",
            CrossEntropySample.all.map { crossEntropySample($0, soft: false) } + [wrongLabel]),
        OpDescription(
            "cross_entropy_soft", "SoftCrossEntropy",
            CrossEntropySample.all.filter { $0.ignore == nil }.map { crossEntropySample($0, soft: true) }),
        OpDescription(
            "token_weights", "TokenWeights",
            [
                tokenWeightsSample(1, ignored: 2), tokenWeightsSample(7, ignored: 3), tokenWeightsSample(5, ignored: 1),
                tokenWeightsSample(7, ignored: 3, divisor: 37), tokenWeightsSample(2053, ignored: 5, divisor: 3),
                tokenWeightsSample(0, ignored: 2), tokenWeightsSample(131, classes: 7, ignored: 5),
                tokenWeightsSample(4099, ignored: 7, size: .small),
                tokenWeightsSample(52_111, classes: 13, ignored: 4, size: .small),
                tokenWeightsSample(65_536, ignored: 5, size: .perf),
            ]),
    ]
}
