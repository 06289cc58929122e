public import Testing

/// Expects two lists to agree within `absolute + relative · |expected|`, element by element; infinities and NaN must match in kind.
/// Reports how many differ, the worst place and both values there.
public func expectClose(
    _ actual: [Float], _ expected: [Double], absolute: Double, relative: Double = 0, _ what: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    guard actual.count == expected.count else {
        Issue.record("\(what): \(actual.count) values, expected \(expected.count)", sourceLocation: sourceLocation)
        return
    }
    var wrong = 0
    var worst = (index: 0, excess: -1.0)
    for (i, (a, e)) in zip(actual, expected).enumerated() {
        let a = Double(a)
        let agree = a.isNaN ? e.isNaN : e.isFinite ? abs(a - e) <= absolute + relative * abs(e) : a == e
        guard !agree else { continue }
        wrong += 1
        let excess = a.isFinite && e.isFinite ? abs(a - e) : .infinity
        if excess > worst.excess { worst = (i, excess) }
    }
    guard wrong > 0 else { return }
    Issue.record(
        "\(what): \(wrong) of \(actual.count) differ; worst at \(worst.index): \(actual[worst.index]), expected \(expected[worst.index])",
        sourceLocation: sourceLocation)
}
