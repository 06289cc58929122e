import Foundation
import RetortKernels

/// A teacher's kept classes of some rows.
struct SampleTeacher {
    let k: Int
    /// `[rows, k]`: ascending; rows that keep fewer end with `Int32.max`.
    var ids: [Int32] = []
    /// `[rows, k]`.
    var values: [Float] = []
    /// `[rows]`.
    var tails: [Float] = []

    /// - Parameter fewer: every third row keeps one class less.
    init(rows: Int, classes: Int, k: Int, fewer: Bool = false, hasTail: Bool = true, _ random: inout RandomNumbers) {
        self.k = k
        for r in 0..<rows {
            var drawn: Set<Int> = []
            while drawn.count < (fewer && r % 3 == 1 ? k - 1 : k) {
                drawn.insert(random.integers(1, 0...(classes - 1))[0])
            }
            let kept = drawn.sorted().map(Int32.init)
            let logits = random.normal(kept.count, scale: 2)
            ids += kept + [Int32](repeating: .max, count: k - kept.count)
            values += logits + [Float](repeating: 0, count: k - kept.count)
            let isWhole = kept.count == classes
            tails.append(hasTail && !isWhole ? random.normal(1, scale: 2)[0] : -.infinity)
        }
    }

    /// The kept classes of a row.
    func row(_ r: Int, classes: Int) -> (ids: [Int], values: [Double], tail: Double) {
        let part = (r * k..<(r + 1) * k).filter { ids[$0] < classes }
        return (part.map { Int(ids[$0]) }, part.map { Double(values[$0]) }, Double(tails[r]))
    }
}

/// Value and gradient of one row in float64, with the error that each may have.
struct SparseRow {
    let value: Estimate
    /// `[classes]`, by the student's logits.
    let gradient: [Estimate]

    /// One outcome: probabilities and their logarithms on both sides, and how large the numbers are that the logarithms came from.
    private struct Outcome {
        var p: Double
        var logP: Double
        var q: Double
        var logQ: Double
        var size: Double
    }

    init(
        _ kind: DivergenceKind, _ tail: SparseTail, mix: Double, temperature: Double, student s: LogitRow,
        kept: (ids: [Int], values: [Double], tail: Double)
    ) {
        let isKept = Set(kept.ids)
        let others = s.scaled.indices.filter { !isKept.contains($0) }
        let restMass = others.reduce(0) { $0 + s.probability($1) }
        let countsTail = !others.isEmpty && (tail == .bucket || tail == .truncated)
        let weights = kept.values.map { $0 / temperature } + (countsTail ? [kept.tail] : [])
        let top = weights.max() ?? 0
        let logSum = top + log(weights.reduce(0) { $0 + exp($1 - top) })
        let keptMass = kept.ids.reduce(0) { $0 + s.probability($1) }
        let shift = tail == .renormalizedBoth ? log(keptMass) : 0
        var outcomes = zip(kept.ids, kept.values).map { id, value in
            let (logP, logQ) = (value / temperature - logSum, s.logProbability(id) - shift)
            return Outcome(
                p: exp(logP), logP: logP, q: exp(logQ), logQ: logQ,
                size: abs(value / temperature) + abs(logSum) + s.distance(id) + abs(s.logSum) + abs(shift))
        }
        if tail == .bucket, !others.isEmpty {
            let (logP, logQ) = (kept.tail - logSum, log(restMass))
            let p = exp(logP)
            outcomes.append(
                Outcome(
                    p: p, logP: logP, q: restMass, logQ: logQ,
                    size: (p == 0 ? 0 : abs(kept.tail)) + abs(logSum) + 2 * abs(logQ) + abs(s.logSum)))
        }
        let terms = outcomes.map { kind.term($0.p, $0.q, logP: $0.logP, logQ: $0.logQ, mix: mix) }
        let constant = 8 + Double(s.scaled.count).squareRoot() / 8
        let magnitudes = outcomes.map { ($0.p + $0.q) * (1 + $0.size) }
        let error =
            eps * constant * (magnitudes.reduce(0, +) + (tail == .truncated || tail == .renormalizedTeacher ? 1 : 0))
        value = Estimate(terms.reduce(0) { $0 + $1.value }, error)
        let mean = terms.reduce(0) { $0 + $1.slope }
        // Of the rest: what its classes share by their probabilities.
        let rest: Estimate
        switch tail {
        case .bucket where !others.isEmpty:
            rest = Estimate(
                terms[terms.count - 1].slope - restMass * mean,
                eps * constant * magnitudes[terms.count - 1] + restMass * error)
        case .renormalizedBoth: rest = Estimate(0)
        default: rest = Estimate(-restMass * mean, restMass * error + eps * constant * restMass * abs(mean))
        }
        let top2 = others.map { s.scaled[$0] }.max() ?? 0
        var gradient = s.scaled.indices.map { i in
            let share = restMass > 0 ? s.probability(i) / restMass : 0
            let distance = s.scaled[i].isFinite ? abs(s.scaled[i] - top2) : 0
            return Estimate(
                share * rest.value / temperature,
                share * (rest.error + eps * (constant + 2 * distance) * abs(rest.value)) / temperature)
        }
        for (j, id) in kept.ids.enumerated() {
            let q = outcomes[j].q
            gradient[id] = Estimate(
                (terms[j].slope - q * mean) / temperature, (eps * constant * magnitudes[j] + q * error) / temperature)
        }
        self.gradient = gradient
    }
}

private struct SparseDivergenceSample {
    let kind: DivergenceKind
    let rows: Int
    let classes: Int
    let k: Int
    var tail = SparseTail.bucket
    var temperature: Float = 1
    var mix: Float = 0.3
    var softWeight: Float = 1
    var hardWeight: Float = 0
    var labels = false
    /// Some 0, with NaN logits in those rows.
    var rowWeights = false
    var reported: Float = 1
    var scale: Float = 1
    var logits = LogitKind.plain
    var fewer = false
    /// The teacher gives the others nothing.
    var emptyTail = false
    var gradient = true
    var inPlace = false
    var padding = 0
    var size = SampleSize.tiny

    var text: String {
        "\(kind.rawValue) \(rows)x\(classes) k=\(k)" + (tail == .bucket ? "" : " \(tail)")
            + (temperature == 1 ? "" : " T=\(temperature)") + (mix == 0.3 ? "" : " mix=\(mix)")
            + (hardWeight == 0 ? "" : " hard=\(hardWeight)") + (labels && hardWeight == 0 ? " labels" : "")
            + (softWeight == 1 ? "" : " soft=\(softWeight)") + (rowWeights ? " row-weights" : "")
            + (logits == .plain ? "" : " \(logits)") + (fewer ? " fewer" : "") + (emptyTail ? " empty-tail" : "")
            + (gradient ? "" : " loss-only") + (inPlace ? " in-place" : "") + (padding > 0 ? " pitched" : "")
    }

    /// What every kind is tried at.
    static func samples(_ kind: DivergenceKind) -> [Self] {
        var samples = [
            Self(kind: kind, rows: 1, classes: 1, k: 1), Self(kind: kind, rows: 1, classes: 7, k: 3),
            Self(kind: kind, rows: 0, classes: 5, k: 2), Self(kind: kind, rows: 3, classes: 5, k: 5),
            Self(kind: kind, rows: 5, classes: 17, k: 4, temperature: 0.5, fewer: true),
            Self(
                kind: kind, rows: 6, classes: 33, k: 5, temperature: 4, softWeight: 14.4, hardWeight: 0.1, labels: true,
                reported: 16, scale: 0.2),
            Self(
                kind: kind, rows: 6, classes: 37, k: 6, hardWeight: 0.5, labels: true, rowWeights: true, inPlace: true),
            Self(
                kind: kind, rows: 7, classes: 19, k: 3, temperature: 2, labels: true, rowWeights: true, fewer: true,
                padding: 3),
            Self(kind: kind, rows: 4, classes: 23, k: 5, logits: .flat),
            Self(kind: kind, rows: 3, classes: 16, k: 4, mix: 0, gradient: false),
            Self(kind: kind, rows: 3, classes: 19, k: 4, tail: .renormalizedBoth, mix: 1),
            Self(
                kind: kind, rows: 41, classes: 1271, k: 50, temperature: 2, softWeight: 2, hardWeight: 0.3,
                labels: true,
                rowWeights: true, fewer: true, size: .small),
        ]
        if kind.isForward {
            samples += [
                Self(kind: kind, rows: 5, classes: 29, k: 4, tail: .renormalizedTeacher),
                Self(kind: kind, rows: 5, classes: 29, k: 4, tail: .truncated, temperature: 3),
                Self(kind: kind, rows: 5, classes: 29, k: 4, emptyTail: true),
                Self(kind: kind, rows: 4, classes: 33, k: 6, logits: .huge),
                // Several chunks and maxima; on GPU kernels several turns of a team of work-items.
                Self(
                    kind: kind, rows: 3, classes: 8209, k: 67, temperature: 3, hardWeight: 0.4, labels: true,
                    rowWeights: true, inPlace: true, size: .small),
            ]
        }
        return samples
    }

    var sample: OpSample { OpSample(text, size, makeCase) }

    private func makeCase(_ random: inout RandomNumbers) -> OpCase {
        let shape = [rows, classes]
        var student = logits.values(rows, classes, &random)
        let kept = SampleTeacher(
            rows: rows, classes: classes, k: k, fewer: fewer, hasTail: !emptyTail, &random)
        let labelled = labels || hardWeight != 0
        var labelValues = random.integers(rows, 0...(classes - 1)).map(Int32.init)
        for r in labelValues.indices {
            // Of the rest, of the kept classes, or none.
            if r % 5 == 3 { labelValues[r] = -100 }
            if r % 5 == 1 { labelValues[r] = kept.ids[r * k] }
        }
        let weights: [Float]? =
            rowWeights ? random.uniform(rows, 0.1, 2).enumerated().map { $0 % 3 == 1 ? 0 : $1 } : nil
        for r in 0..<rows where weights?[r] == 0 { student[r * classes] = .nan }
        let (s, y) = (student, labelValues)

        var c = OpCase()
        if inPlace { c.updated("student", s, shape) } else { c.input("student", s, shape, .padded(padding)) }
        c.input("ids", ints: kept.ids, [rows, k])
        c.input("values", kept.values, [rows, k])
        c.input("tail", kept.tails, [rows])
        if labelled { c.input("labels", ints: y, [rows]) }
        if let weights { c.input("rowWeights", weights, [rows]) }
        for part in ["loss", "divergence", "crossEntropy"] { c.output(part, [rows]) }
        let gradientName = inPlace ? "student" : "gradient"
        if gradient, !inPlace { c.output("gradient", shape, .padded(padding)) }
        let op = SparseDivergence(
            kind, tail: tail, mix: mix, temperature: temperature, softWeight: softWeight, hardWeight: hardWeight,
            reportedFactor: reported, scale: scale)
        c.run(op) { v in
            SparseDivergence.Operands(
                student: v["student"], ids: v["ids"], values: v["values"], tail: v["tail"],
                labels: v.optional("labels"), rowWeights: v.optional("rowWeights"), loss: v["loss"],
                divergence: v["divergence"], crossEntropy: v["crossEntropy"],
                gradient: gradient ? v[gradientName] : nil)
        }
        c.reference = { reference(s, kept, labelled ? y : nil, weights, gradientName) }
        return c
    }

    private func reference(
        _ student: [Float], _ kept: SampleTeacher, _ labels: [Int32]?, _ weights: [Float]?, _ gradientName: String
    ) -> [String: Expected] {
        var parts: (loss: [Estimate], divergence: [Estimate], hard: [Estimate]) = ([], [], [])
        var gradients: [Estimate] = []
        for (r, s) in rowSlices(student, classes).enumerated() {
            let weight = weights.map { Double($0[r]) } ?? 1
            guard weight != 0 else {
                parts.loss.append(Estimate(0))
                parts.divergence.append(Estimate(0))
                parts.hard.append(Estimate(0))
                gradients += s.map { _ in Estimate(0) }
                continue
            }
            let soft = SparseRow(
                kind, tail, mix: Double(mix), temperature: Double(temperature),
                student: LogitRow(s, temperature: Double(temperature)), kept: kept.row(r, classes: classes))
            let label = labels.flatMap { $0[r] == -100 ? nil : Int($0[r]) }
            let plain = LogitRow(s, temperature: 1)
            let hard = label.map { Estimate(-plain.logProbability($0), eps * plain.logError($0)) } ?? Estimate(0)
            let factor = weight * Double(scale)
            let (ofSoft, ofHard) = (factor * Double(softWeight), factor * Double(hardWeight))
            parts.divergence.append(Estimate(Double(reported) * soft.value.value, Double(reported) * soft.value.error))
            parts.hard.append(hard)
            let loss = ofSoft * soft.value.value + ofHard * hard.value
            parts.loss.append(Estimate(loss, ofSoft * soft.value.error + ofHard * hard.error + 4 * eps * abs(loss)))
            for i in soft.gradient.indices {
                var g = Estimate(ofSoft * soft.gradient[i].value, ofSoft * soft.gradient[i].error)
                if let label, ofHard != 0 {
                    let p = plain.probability(i)
                    g.value += ofHard * (p - (i == label ? 1 : 0))
                    g.error += eps * ofHard * (p * (plain.relativeError(i) + 4) + (i == label ? 4 : 0))
                }
                gradients.append(g)
            }
        }
        var expected: [String: Expected] = [
            "loss": .near(parts.loss), "divergence": .near(parts.divergence), "crossEntropy": .near(parts.hard),
        ]
        if gradient { expected[gradientName] = .near(gradients) }
        return expected
    }
}

extension OpDescription {
    static let sparseDivergence = OpDescription(
        "sparse_divergence", "SparseDivergence",
        DivergenceKind.allCases.flatMap { SparseDivergenceSample.samples($0) }.map(\.sample) + [
            SparseDivergenceSample(kind: .forwardKL, rows: 512, classes: 32000, k: 50, temperature: 2, size: .perf)
                .sample
        ])
}
