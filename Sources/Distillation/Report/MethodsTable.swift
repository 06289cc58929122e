import RetortSupport

/// Every arm of a run against the student alone, as Markdown: what each method brings and what it costs. An arm that does not beat
/// the student alone says so. Peers, which may be of another architecture, stand below their arm and are compared with nothing.
public func methodsTable(_ results: RunResults) -> String {
    let alone = results.arms.first { $0.role == Role.alone }
    let quality = results.quality
    let more: [Metric] =
        quality == .accuracy ? [.agreement, .klToTeacher] : RankingEvaluation.metrics.filter { $0 != quality }
    // What a task or a loss measures beside.
    let shown: Set<Metric> = Set(more).union([
        quality, .accuracy, .macroF1, .parameters, .bytes, .latency, .peakBytes, .stepTime,
    ])
    let own = MetricFormat.all(in: results).filter { format in !shown.contains { $0.rawValue == format.key } }
    let headings =
        ["method", quality.heading, "against alone"]
        + more.map { $0 == .klToTeacher ? "KL to teacher" : $0.heading } + own.map(\.heading)
        + ["time a step", "peak memory"]
    var lines = [
        "| " + headings.joined(separator: " | ") + " |",
        "| " + headings.map { _ in "---" }.joined(separator: " | ") + " |",
    ]
    func peers(of arm: ArmResult) -> [ArmResult] { results.arms.filter { Role.arm(ofPeer: $0.role) == arm.role } }
    let others = results.arms.filter {
        !Role.isTeacher($0.role) && $0.role != Role.alone && Role.arm(ofPeer: $0.role) == nil
    }
    let sorted = others.sorted {
        ($0.spread(quality)?.mean ?? 0, $1.role) > ($1.spread(quality)?.mean ?? 0, $0.role)
    }
    let students = ((alone.map { [$0] } ?? []) + sorted).flatMap { [$0] + peers(of: $0) }
    for arm in results.arms.filter({ Role.isTeacher($0.role) }) + students {
        let isOther =
            !Role.isTeacher(arm.role) && arm.role != Role.alone && Role.arm(ofPeer: arm.role) == nil
        let cells: [String] =
            [arm.role, cell(quality, arm), isOther ? comparison(arm, alone, by: quality) : ""]
            + more.map { cell($0, arm) } + own.map { $0.text(arm) } + [
                isOther ? ratio(.stepTime, arm, alone) : cell(.stepTime, arm, unit: " µs"),
                isOther ? ratio(.peakBytes, arm, alone) : cell(.peakBytes, arm),
            ]
        lines.append("| " + cells.joined(separator: " | ") + " |")
    }
    return (lines + results.notes.flatMap { ["", $0] }).joined(separator: "\n") + "\n"
}

private func cell(_ metric: Metric, _ arm: ArmResult, unit: String = "") -> String {
    arm.spread(metric) == nil ? "–" : MetricFormat(key: metric.rawValue, heading: "", explanation: "").text(arm) + unit
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
