import Foundation
import RetortSupport

/// One metric as the tables show it: a known `Metric`, or a key that a task added.
struct MetricFormat {
    var key: String
    /// With the unit: "accuracy %".
    var heading: String
    /// What is measured, in a few words; empty for a key of the task.
    var explanation: String

    /// The metrics that at least one arm has: the known ones in their order, then the task's own by name.
    static func all(in results: RunResults) -> [MetricFormat] {
        let present = Set(results.arms.flatMap { $0.seeds.flatMap(\.metrics.keys) })
        let known = Metric.allCases.filter { present.contains($0.rawValue) }
        let others = present.subtracting(Metric.allCases.map(\.rawValue)).sorted()
        return known.map { MetricFormat(key: $0.rawValue, heading: $0.heading, explanation: explanation($0)) }
            + others.map { MetricFormat(key: $0, heading: $0, explanation: "") }
    }

    private static func explanation(_ metric: Metric) -> String {
        switch metric {
        case .accuracy: "of the test rows or tokens"
        case .macroF1: "mean of the classes' F1"
        case .agreement: "same answer as the teacher"
        case .klToTeacher: "per sample or token"
        case .reverseKL: "of the student, per token"
        case .rolloutReverseKL: "per token that the student drew"
        case .crossEntropy: "per test token"
        case .perplexity: "exp of the cross entropy"
        case .rougeL: "longest common subsequence of words"
        case .exactMatch: "answers that are as wanted"
        case .tokenF1: "of the answers' words"
        case .unanswered: "nothing to compare was found"
        case .preferenceAccuracy: "pairs whose chosen answer has the higher reward"
        case .preferenceMargin: "mean reward of chosen over rejected"
        case .spearman: "rank correlation with the given scores"
        case .pearson: "correlation with the given scores"
        case .teacherSpearman: "rank correlation of similarities"
        case .teacherCosine: "mean over test texts"
        case .retrieval: "own teacher's embedding nearest"
        case .recall10, .recall20: "of what is relevant"
        case .ndcg10, .ndcg20: "hits count less further down"
        case .mrr10: "1 / rank of the first hit"
        case .parameters: "trained values"
        case .trainableParameters: "adapters beside frozen weights"
        case .bytes: "of the weights"
        case .latency: "batch 1, forward"
        case .peakBytes: "device, training step"
        case .stepTime: "training, median epoch"
        case .tokenRate: "predicted in training"
        case .clientAccuracy: "mean of the clients' accuracy"
        case .worstClient: "least of the clients' accuracy"
        case .bytesUp: "clients to server, whole run"
        case .bytesDown: "server to clients, whole run"
        }
    }

    /// The arm's spread over its seeds; nil when it does not have the metric.
    func spread(_ arm: ArmResult) -> Spread? {
        let values = arm.seeds.compactMap { $0.metrics[key] }
        return values.isEmpty ? nil : Spread(values)
    }

    /// "89.9" and "0.7", with as many decimals; the deviation is empty for one seed, and where a count is the same for all seeds.
    func texts(_ spread: Spread) -> (mean: String, deviation: String) {
        guard spread.mean.isFinite else { return ("not finite", "") }
        switch Metric(rawValue: key) {
        case .accuracy, .macroF1, .agreement, .retrieval, .clientAccuracy, .worstClient, .recall10, .recall20, .ndcg10,
            .ndcg20, .mrr10, .rougeL, .exactMatch, .tokenF1, .unanswered, .preferenceAccuracy:
            return pair(spread) { NumberFormat.fixed($0 * 100, decimals: 1) }
        case .klToTeacher, .reverseKL, .rolloutReverseKL, .crossEntropy, .perplexity, .preferenceMargin, .spearman,
            .pearson,
            .teacherSpearman, .teacherCosine:
            // Two digits of a tiny mean, and as many decimals of its deviation.
            let size = abs(spread.mean)
            guard size == 0 || size >= 1e-6 else {
                return pair(spread) { NumberFormat.significant($0, digits: 2) }
            }
            let decimals = size == 0 ? 3 : max(3, 1 - Int(log10(size).rounded(.down)))
            return pair(spread) { NumberFormat.fixed($0, decimals: decimals) }
        case .parameters, .trainableParameters:
            return pair(spread, hidesZero: true, Self.grouped)
        case .bytes, .peakBytes, .bytesUp, .bytesDown:
            return pair(spread, hidesZero: true) {
                Int(exactly: $0.rounded()).map(NumberFormat.bytes) ?? NumberFormat.significant($0)
            }
        case .latency, .stepTime, .tokenRate:
            let isLarge = abs(spread.mean) >= 999.95
            return pair(spread) { isLarge ? Self.grouped($0) : NumberFormat.fixed($0, decimals: 1) }
        case nil:
            return pair(spread) { NumberFormat.significant($0) }
        }
    }

    private func pair(
        _ spread: Spread, hidesZero: Bool = false, _ format: (Double) -> String
    ) -> (mean: String, deviation: String) {
        let deviation = spread.deviation.flatMap { hidesZero && $0 == 0 ? nil : format($0) }
        return (format(spread.mean), deviation ?? "")
    }

    private static func grouped(_ value: Double) -> String {
        Int(exactly: value.rounded()).map(NumberFormat.grouped) ?? NumberFormat.significant(value)
    }

    /// "89.9 ± 0.7", or "–" when the arm does not have the metric.
    func text(_ arm: ArmResult) -> String {
        guard let spread = spread(arm) else { return "–" }
        let (mean, deviation) = texts(spread)
        return deviation.isEmpty ? mean : mean + " ± " + deviation
    }
}
