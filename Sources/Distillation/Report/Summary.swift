import RetortSupport

/// The results as plain text for a terminal of 100 columns: what the arms can do, what they cost, and what it means.
/// - `withVerdict`: say what it means.
/// - `isEvaluation`: of models that were measured, and not of a run's arms.
public func summaryTable(_ results: RunResults, withVerdict: Bool = true, isEvaluation: Bool = false) -> String {
    let costs: Set<String> = [
        Metric.parameters.rawValue, Metric.bytes.rawValue, Metric.latency.rawValue, Metric.peakBytes.rawValue,
        Metric.stepTime.rawValue,
    ]
    let federated: Set<String> = [
        Metric.clientAccuracy.rawValue, Metric.worstClient.rawValue, Metric.bytesUp.rawValue, Metric.bytesDown.rawValue,
    ]
    let metrics = MetricFormat.all(in: results)
    let blocks = [
        metrics.filter { !costs.contains($0.key) && !federated.contains($0.key) },
        metrics.filter { federated.contains($0.key) }, metrics.filter { costs.contains($0.key) },
    ]
    let tables = blocks.filter { !$0.isEmpty }.map { block(results, $0) }
    let notes = results.notes.isEmpty ? [] : [results.notes.map { wrapped($0, to: summaryWidth) }.joined()]
    let verdict = withVerdict ? [wrapped(Verdict(results, isEvaluation: isEvaluation).text, to: summaryWidth)] : []
    return (tables + notes + verdict).joined(separator: "\n")
}

private let summaryWidth = 100

private func block(_ results: RunResults, _ metrics: [MetricFormat]) -> String {
    var table = Table(columns: [(header: "", alignment: .left)] + metrics.map { ($0.heading, .right) })
    for arm in results.arms { table.add([arm.role.shortened(to: 32)] + metrics.map { $0.text(arm) }) }
    return table.text
}

/// The text in lines of at most `width` scalars (a longer word stands alone), each ended by a newline.
private func wrapped(_ text: String, to width: Int) -> String {
    var lines: [String] = []
    var line = ""
    for word in text.displayable.split(separator: " ") {
        if !line.isEmpty, line.unicodeScalars.count + 1 + word.unicodeScalars.count > width {
            lines.append(line)
            line = ""
        }
        line += (line.isEmpty ? "" : " ") + word
    }
    if !line.isEmpty { lines.append(line) }
    return lines.map { $0 + "\n" }.joined()
}
