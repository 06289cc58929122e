import RetortSupport

/// Every arm of a run against the student alone, as Markdown: what each method brings and what it costs. An arm that does not beat
/// the student alone says so.
public func methodsTable(_ results: RunResults) -> String {
    let alone = results.arms.first { $0.role == Role.alone }
    let teacher = results.arms.first { $0.role == Role.teacher }
    let quality = results.quality
    let more: [Metric] =
        quality == .accuracy ? [.agreement, .klToTeacher] : RankingEvaluation.metrics.filter { $0 != quality }
    let heads =
        ["method", quality.heading, "against alone"]
        + more.map { $0 == .klToTeacher ? "KL to teacher" : $0.heading } + ["time a step", "peak memory"]
    var lines = [
        "| " + heads.joined(separator: " | ") + " |", "|" + [String](repeating: " --- |", count: heads.count).joined(),
    ]
    let others = results.arms.filter { $0.role != Role.teacher && $0.role != Role.alone }
    let sorted = others.sorted {
        ($0.spread(quality)?.mean ?? 0, $1.role) > ($1.spread(quality)?.mean ?? 0, $0.role)
    }
    for arm in [teacher, alone].compactMap({ $0 }) + sorted {
        let isOther = arm.role != Role.teacher && arm.role != Role.alone
        let cells =
            [arm.role, cell(quality, arm), isOther ? comparison(arm, alone, by: quality) : ""]
            + more.map { cell($0, arm) } + [
                isOther ? ratio(.stepTime, arm, alone) : cell(.stepTime, arm) + " µs",
                isOther ? ratio(.peakBytes, arm, alone) : cell(.peakBytes, arm),
            ]
        lines.append("| " + cells.joined(separator: " | ") + " |")
    }
    return lines.joined(separator: "\n") + "\n"
}

private func cell(_ metric: Metric, _ arm: ArmResult) -> String {
    MetricFormat(key: metric.rawValue, heading: "", explanation: "").text(arm)
}

/// "+2.1, clear", "−0.3: does not beat it".
private func comparison(_ arm: ArmResult, _ alone: ArmResult?, by quality: Metric) -> String {
    guard let alone, let points = AccuracyGap(arm, alone, by: quality) else { return "" }
    let text = (points.mean < 0 ? "−" : "+") + NumberFormat.fixed(abs(points.mean), decimals: 1)
    guard let margin = points.margin else { return text + " (one seed)" }
    if abs(points.mean) <= margin { return text + ", within the noise" }
    return points.mean > 0 ? text + ", clear" : text + ": does not beat it"
}

/// "1.4 ×" of the student alone.
private func ratio(_ metric: Metric, _ arm: ArmResult, _ alone: ArmResult?) -> String {
    guard let own = arm.spread(metric)?.mean, let base = alone?.spread(metric)?.mean, base > 0 else { return "–" }
    return NumberFormat.fixed(own / base, decimals: 1) + " ×"
}
