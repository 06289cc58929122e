import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// What a model says about labelled rows.
public struct Evaluation: Sendable {
    public let classes: Int
    public let labels: [Int32]
    /// Row-major `[rows, classes]`.
    public let logits: [Float]

    /// Runs the model over all rows in batches of at most 1024.
    public init(_ model: any Model, _ data: DeviceRows, seeing view: InputView = .whole, on device: Device) throws {
        model.setTraining(false)
        var logits: [Float] = []
        try data.forEachPart(of: 1024, on: device) { x in
            logits += try Autograd.withoutGradients { try model(view(x)).values() }
        }
        classes = model.classes
        labels = try device.compute.read(data.labels, as: Int32.self)
        self.logits = logits
    }

    /// Logits that are there already.
    init(classes: Int, labels: [Int32], logits: [Float]) {
        self.classes = classes
        self.labels = labels
        self.logits = logits
    }

    /// Several models as one: the mean of their probabilities at temperature 1.
    /// - Parameter evaluations: at least one, of the same rows.
    static func mean(of evaluations: [Evaluation]) -> Evaluation {
        let first = evaluations[0]
        guard evaluations.count > 1 else { return first }
        let logits = (0..<first.rows).flatMap { row in
            let all = evaluations.map { $0.logProbabilities(row) }
            return (0..<first.classes).map { c in
                Float(log(all.reduce(0) { $0 + exp($1[c]) } / Double(all.count)))
            }
        }
        return Evaluation(classes: first.classes, labels: first.labels, logits: logits)
    }

    public var rows: Int { labels.count }

    /// The class of each row: its largest logit, the first where several are equal.
    public var predictions: [Int] {
        (0..<rows).map { r in
            var best = 0
            for c in 1..<max(1, classes) where logits[r * classes + c] > logits[r * classes + best] { best = c }
            return best
        }
    }

    /// `confusion[true][predicted]`.
    public var confusion: [[Int]] {
        var counts = [[Int]](repeating: [Int](repeating: 0, count: classes), count: classes)
        for (label, prediction) in zip(labels, predictions) { counts[Int(label)][prediction] += 1 }
        return counts
    }

    /// `[teacher's class][own class]`: number of rows; the labels do not matter.
    /// - Parameter teacher: of the same rows.
    public func confusion(with teacher: Evaluation) -> [[Int]] {
        let size = max(classes, teacher.classes)
        var counts = [[Int]](repeating: [Int](repeating: 0, count: size), count: size)
        for (theirs, own) in zip(teacher.predictions, predictions) { counts[theirs][own] += 1 }
        return counts
    }

    /// Share of rows whose prediction is the label.
    public var accuracy: Double { share { Int(labels[$0]) == $1 } }

    /// Mean over classes of 2·precision·recall / (precision + recall); a class that neither occurs nor is predicted counts 0, as in
    /// scikit-learn.
    public var macroF1: Double {
        let confusion = confusion
        let scores = (0..<classes).map { c in
            let hit = Double(confusion[c][c])
            let actual = Double(confusion[c].reduce(0, +))
            let predicted = Double(confusion.reduce(0) { $0 + $1[c] })
            return actual + predicted == 0 ? 0 : 2 * hit / (actual + predicted)
        }
        return scores.reduce(0, +) / Double(max(1, classes))
    }

    /// Share of rows on which both models predict the same class.
    public func agreement(with teacher: Evaluation) -> Double {
        let others = teacher.predictions
        return share { others[$0] == $1 }
    }

    /// Mean over rows of KL(teacher ‖ student) at temperature 1, in nats; computed in double.
    public func divergence(from teacher: Evaluation) -> Double {
        rowDivergences(from: teacher).reduce(0, +) / Double(max(1, rows))
    }

    /// KL(teacher ‖ student) of each row, in nats.
    func rowDivergences(from teacher: Evaluation) -> [Double] {
        (0..<rows).map { r in
            zip(teacher.logProbabilities(r), logProbabilities(r)).reduce(0) { sum, pair in
                pair.0 > -.infinity ? sum + exp(pair.0) * (pair.0 - pair.1) : sum
            }
        }
    }

    /// The most likely class of a row and its probability.
    func answer(_ row: Int) -> (predicted: Int, probability: Double) {
        let values = logProbabilities(row)
        let best = values.indices.max { values[$0] < values[$1] } ?? 0
        return (best, exp(values[best]))
    }

    private func logProbabilities(_ row: Int) -> [Double] {
        Self.logSoftmax(logits[(row * classes)..<((row + 1) * classes)])
    }

    private func share(_ holds: (Int, Int) -> Bool) -> Double {
        guard rows > 0 else { return 0 }
        return Double(predictions.enumerated().reduce(0) { $0 + (holds($1.offset, $1.element) ? 1 : 0) }) / Double(rows)
    }

    private static func logSoftmax(_ row: ArraySlice<Float>) -> [Double] {
        let top = Double(row.max() ?? 0)
        let sum = row.reduce(0.0) { $0 + exp(Double($1) - top) }
        return row.map { Double($0) - top - log(sum) }
    }
}

extension SeedResult {
    /// What an evaluation says of a model, beside what is known of it already.
    /// - Parameter reference: the teacher's.
    init(
        seed: UInt64, _ evaluation: Evaluation, _ others: [Metric: Double], curve: [CurvePoint],
        reference: Evaluation? = nil
    ) {
        var metrics = others
        metrics[.accuracy] = evaluation.accuracy
        metrics[.macroF1] = evaluation.macroF1
        if let reference {
            metrics[.agreement] = evaluation.agreement(with: reference)
            metrics[.klToTeacher] = evaluation.divergence(from: reference)
        }
        self.init(
            seed: seed, metrics: Dictionary(uniqueKeysWithValues: metrics.map { ($0.key.rawValue, $0.value) }),
            curve: curve, confusion: evaluation.confusion,
            teacherConfusion: reference.map { evaluation.confusion(with: $0) } ?? [])
    }
}

/// Median time of a forward pass of one row, in microseconds, everything enqueued and waited for.
func forwardLatency(_ model: any Model, _ data: DeviceRows, seeing view: InputView = .whole, on device: Device) throws
    -> Double
{
    model.setTraining(false)
    let x = try view(data.examples(0..<1, on: device))
    return try medianMicroseconds(on: device) { _ = try Autograd.withoutGradients { try model(x) } }
}

/// Median time of some work, everything enqueued and waited for: of fifty rounds, or of those that a few seconds allow.
func medianMicroseconds(on device: Device, _ work: () throws -> Void) throws -> Double {
    let clock = ContinuousClock()
    var times: [Double] = []
    var spent = 0.0
    for round in 0..<60 where spent < 5e6 {
        let time = try clock.measure {
            try work()
            try device.compute.synchronize()
        }
        spent += time.microseconds
        if round >= 10 || spent >= 5e6 { times.append(time.microseconds) }
    }
    return times.sorted()[times.count / 2]
}

extension Duration {
    /// As a number of microseconds.
    public var microseconds: Double {
        Double(components.seconds) * 1e6 + Double(components.attoseconds) * 1e-12
    }
    public var seconds: Double { microseconds * 1e-6 }
}
