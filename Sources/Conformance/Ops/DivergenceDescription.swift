import Foundation
import RetortKernels

extension DivergenceKind {
    /// The term of one class, φ(p, q), with 0 · ln 0 = 0, and q · ∂φ/∂q. Written from the definitions in `DivergenceKind`;
    /// d Σφ / d logit_j = (q_j g_j − q_j Σ_c q_c g_c) / T with g = ∂φ/∂q.
    func term(_ p: Double, _ q: Double, logP: Double, logQ: Double, mix b: Double) -> (value: Double, slope: Double) {
        func times(_ x: Double, _ y: Double) -> Double { x == 0 ? 0 : x * y }
        switch self {
        case .forwardKL: return (times(p, logP - logQ), -p)
        case .forwardCrossEntropy: return (times(p, -logQ), -p)
        case .reverseKL: return (times(q, logQ - logP), times(q, logQ - logP + 1))
        case .symmetric:
            let forward = Self.forwardCrossEntropy.term(p, q, logP: logP, logQ: logQ, mix: b)
            let reverse = Self.reverseKL.term(p, q, logP: logP, logQ: logQ, mix: b)
            return ((1 - b) * forward.value + b * reverse.value, (1 - b) * forward.slope + b * reverse.slope)
        case .jsd where b == 0: return Self.forwardKL.term(p, q, logP: logP, logQ: logQ, mix: b)
        case .jsd where b == 1: return Self.reverseKL.term(p, q, logP: logP, logQ: logQ, mix: b)
        case .jsd, .continuousJSD:
            let m = b * p + (1 - b) * q
            guard m > 0 else { return (0, 0) }
            let (ofP, ofQ) = self == .jsd ? (b, 1 - b) : (1 - b, b)
            let (toP, toQ) = (times(p, logP - log(m)), times(q, logQ - log(m)))
            return (ofP * toP + ofQ * toQ, -ofP * p * (1 - b) * q / m + ofQ * (toQ + q - q * (1 - b) * q / m))
        case .skewKL, .skewCrossEntropy:
            let m = b * p + (1 - b) * q
            guard m > 0 else { return (0, 0) }
            let value = self == .skewKL ? times(p, logP - log(m)) : times(p, -log(m))
            return (value, -p * (1 - b) * q / m)
        case .skewReverseKL:
            let m = (1 - b) * p + b * q
            guard m > 0 else { return (0, 0) }
            return (times(q, logQ - log(m)), times(q, logQ - log(m)) + q - q * b * q / m)
        case .totalVariation: return (abs(p - q) / 2, q > p ? q / 2 : q < p ? -q / 2 : 0)
        }
    }
}

private struct DivergenceSample {
    let kind: DivergenceKind
    let rows: Int
    let classes: Int
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
    /// −∞ only in the teacher.
    var teacherMask = false
    var gradient = true
    var inPlace = false
    var padding = 0
    var size = SampleSize.tiny

    var text: String {
        "\(kind.rawValue) \(rows)x\(classes)" + (temperature == 1 ? "" : " T=\(temperature)")
            + (mix == 0.3 ? "" : " mix=\(mix)")
            + (hardWeight == 0 ? "" : " hard=\(hardWeight)") + (labels && hardWeight == 0 ? " labels" : "")
            + (softWeight == 1 ? "" : " soft=\(softWeight)") + (rowWeights ? " row-weights" : "")
            + (logits == .plain ? "" : " \(logits)") + (teacherMask ? " teacher-mask" : "")
            + (gradient ? "" : " loss-only")
            + (inPlace ? " in-place" : "") + (padding > 0 ? " pitched" : "")
    }

    /// What every kind is tried at.
    static func samples(_ kind: DivergenceKind) -> [DivergenceSample] {
        var samples = [
            DivergenceSample(kind: kind, rows: 1, classes: 1), DivergenceSample(kind: kind, rows: 1, classes: 7),
            DivergenceSample(kind: kind, rows: 7, classes: 2, temperature: 4),
            DivergenceSample(kind: kind, rows: 0, classes: 5),
            DivergenceSample(kind: kind, rows: 5, classes: 10, temperature: 0.5),
            DivergenceSample(
                kind: kind, rows: 5, classes: 10, temperature: 4, softWeight: 14.4, hardWeight: 0.1, labels: true,
                reported: 16, scale: 0.2),
            DivergenceSample(
                kind: kind, rows: 6, classes: 17, hardWeight: 0.5, labels: true, rowWeights: true, inPlace: true),
            DivergenceSample(
                kind: kind, rows: 4, classes: 37, temperature: 2, labels: true, rowWeights: true, padding: 3),
            DivergenceSample(kind: kind, rows: 4, classes: 37, mix: 0.1, logits: .masked),
            DivergenceSample(kind: kind, rows: 4, classes: 33, mix: 0.5, logits: .huge),
            DivergenceSample(kind: kind, rows: 3, classes: 16, mix: 0, gradient: false),
            DivergenceSample(kind: kind, rows: 3, classes: 19, mix: 0),
            DivergenceSample(kind: kind, rows: 3, classes: 19, mix: 1),
            DivergenceSample(kind: kind, rows: 2, classes: 21, logits: .flat),
            DivergenceSample(
                kind: kind, rows: 41, classes: 1271, temperature: 2, softWeight: 2, hardWeight: 0.3, labels: true,
                rowWeights: true,
                size: .small),
            DivergenceSample(kind: kind, rows: 3, classes: 4099, temperature: 20, inPlace: true, size: .small),
        ]
        // Several chunks and maxima; on GPU kernels several turns of a team of work-items.
        if kind == .forwardKL || kind == .jsd {
            samples.append(
                DivergenceSample(
                    kind: kind, rows: 11, classes: 8204, temperature: 3, hardWeight: 0.4, labels: true,
                    rowWeights: true,
                    inPlace: kind == .forwardKL, size: .small))
        }
        switch kind {
        case .forwardKL, .forwardCrossEntropy, .jsd, .continuousJSD, .skewKL, .skewCrossEntropy, .totalVariation:
            samples.append(DivergenceSample(kind: kind, rows: 4, classes: 23, teacherMask: true))
        default: break
        }
        return samples
    }

    var sample: OpSample { OpSample(text, size, makeCase) }

    private func makeCase(_ random: inout RandomNumbers) -> OpCase {
        let shape = [rows, classes]
        var student = logits.values(rows, classes, &random)
        var teacher = logits.values(rows, classes, &random)
        // A mask hides the same classes from both.
        for i in student.indices where student[i] == -.infinity || teacher[i] == -.infinity {
            (student[i], teacher[i]) = (-.infinity, -.infinity)
        }
        if teacherMask { for i in teacher.indices where i % 5 == 2 { teacher[i] = -.infinity } }
        let labelled = labels || hardWeight != 0
        var labelValues = random.integers(rows, 0...(classes - 1)).map(Int32.init)
        for r in labelValues.indices {
            if r % 5 == 3 {
                labelValues[r] = -100
            } else if student[r * classes + Int(labelValues[r])] == -.infinity {
                labelValues[r] = Int32(classes / 2)
            }
        }
        let weights: [Float]? =
            rowWeights ? random.uniform(rows, 0.1, 2).enumerated().map { $0 % 3 == 1 ? 0 : $1 } : nil
        for r in 0..<rows where weights?[r] == 0 {
            (student[r * classes], teacher[(r + 1) * classes - 1]) = (.nan, .nan)
        }
        let (s, t, y) = (student, teacher, labelValues)

        var c = OpCase()
        if inPlace { c.updated("student", s, shape) } else { c.input("student", s, shape, .padded(padding)) }
        c.input("teacher", t, shape, .padded(padding * 2))
        if labelled { c.input("labels", ints: y, [rows]) }
        if let weights { c.input("rowWeights", weights, [rows]) }
        for part in ["loss", "divergence", "crossEntropy"] { c.output(part, [rows]) }
        let gradientName = inPlace ? "student" : "gradient"
        if gradient, !inPlace { c.output("gradient", shape, .padded(padding)) }
        let op = Divergence(
            kind, mix: mix, temperature: temperature, softWeight: softWeight, hardWeight: hardWeight,
            reportedFactor: reported,
            scale: scale)
        c.run(op) { v in
            Divergence.Operands(
                student: v["student"], teacher: v["teacher"], labels: v.optional("labels"),
                rowWeights: v.optional("rowWeights"),
                loss: v["loss"], divergence: v["divergence"], crossEntropy: v["crossEntropy"],
                gradient: gradient ? v[gradientName] : nil)
        }
        c.reference = { reference(s, t, labelled ? y : nil, weights, gradientName) }
        return c
    }

    private func reference(
        _ student: [Float], _ teacher: [Float], _ labels: [Int32]?, _ weights: [Float]?, _ gradientName: String
    ) -> [String: Expected] {
        var parts: (loss: [Estimate], divergence: [Estimate], hard: [Estimate]) = ([], [], [])
        var gradients: [Estimate] = []
        for (r, (s, t)) in zip(rowSlices(student, classes), rowSlices(teacher, classes)).enumerated() {
            let weight = weights.map { Double($0[r]) } ?? 1
            guard weight != 0 else {
                parts.loss.append(Estimate(0))
                parts.divergence.append(Estimate(0))
                parts.hard.append(Estimate(0))
                gradients += s.map { _ in Estimate(0) }
                continue
            }
            let soft = softPart(
                LogitRow(s, temperature: Double(temperature)), LogitRow(t, temperature: Double(temperature)))
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

    /// Value of the divergence and its gradient by the student's logits.
    ///
    /// With a_c = 1 + |ln-probabilities' terms| every term errs by about eps · (p + q) · a; sums of n of them add √n / 8. A class's
    /// gradient is its own term less q_j times the row's sum: eps · C · ((p_j + q_j) a_j + q_j Σ (p + q) a) / T.
    private func softPart(_ s: LogitRow, _ t: LogitRow) -> (value: Estimate, gradient: [Estimate]) {
        let n = s.scaled.count
        let constant = 8 + Double(n).squareRoot() / 8
        var value = 0.0
        var slopes: [Double] = []
        var magnitudes: [Double] = []
        for i in 0..<n {
            let (p, q) = (t.probability(i), s.probability(i))
            let term = kind.term(p, q, logP: t.logProbability(i), logQ: s.logProbability(i), mix: Double(mix))
            value += term.value
            slopes.append(term.slope)
            let size = p + q == 0 ? 0 : 1 + s.distance(i) + t.distance(i) + abs(s.logSum) + abs(t.logSum)
            magnitudes.append((p + q) * size)
        }
        let error = eps * constant * magnitudes.reduce(0, +)
        let total = slopes.reduce(0, +)
        let gradient = (0..<n).map { i in
            let q = s.probability(i)
            return Estimate(
                (slopes[i] - q * total) / Double(temperature),
                (eps * constant * magnitudes[i] + q * error) / Double(temperature))
        }
        return (Estimate(value, error), gradient)
    }
}

extension OpDescription {
    static let divergence = OpDescription(
        "divergence", "Divergence",
        DivergenceKind.allCases.flatMap { DivergenceSample.samples($0) }.map(\.sample)
            + [DivergenceKind.forwardKL, .reverseKL, .jsd].flatMap { kind in
                [
                    DivergenceSample(kind: kind, rows: 512, classes: 32000, temperature: 2, size: .perf),
                    DivergenceSample(kind: kind, rows: 8192, classes: 100, temperature: 4, size: .perf),
                ].map(\.sample)
            })
}
