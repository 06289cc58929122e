/// The table of results: a row per metric and a column per arm, which a phone can show; with many arms the other way.
struct MetricTable {
    var results: RunResults

    /// More arms than this become rows.
    private static let columnLimit = 5

    var markup: Markup {
        let metrics = MetricFormat.all(in: results)
        guard !metrics.isEmpty else { return .element("p", [:], ["No metric was measured."]) }
        let arms = Array(zip(results.arms, ArmStyle.styles(of: results.arms)))
        let hasArmRows = arms.count > Self.columnLimit
        let heads = hasArmRows ? metrics.map { head($0, "col") } : arms.map { head($0, $1, "col") }
        let rows =
            hasArmRows
            ? arms.map { arm, style in [head(arm, style, "row")] + metrics.map { cell($0, arm) } }
            : metrics.map { metric in [head(metric, "row")] + arms.map { cell(metric, $0.0) } }
        let corner = Markup.element("th", ["scope": "col"], [hasArmRows ? "arm" : "metric"])
        let table = Markup.element(
            "table", ["class": hasArmRows ? "metrics by-arm" : "metrics"],
            [
                .element("caption", [:], [.text(caption)]),
                .element("thead", [:], [.element("tr", [:], [corner] + heads)]),
                .element("tbody", [:], rows.map { .element("tr", [:], $0) }),
            ])
        return .element(
            "div",
            [
                "class": hasArmRows ? "scroll wide" : "scroll", "role": "region", "aria-label": "Results",
                "tabindex": "0",
            ], [table])
    }

    private var caption: String {
        let several = results.arms.contains { $0.seeds.count > 1 }
        return several ? "Mean ± sample standard deviation over seeds." : "One seed: no deviation to show."
    }

    private func head(_ arm: ArmResult, _ style: ArmStyle, _ scope: String) -> Markup {
        .element("th", ["scope": scope], [style.swatch, .element("span", ["class": "name"], [.text(arm.role)])])
    }

    private func head(_ metric: MetricFormat, _ scope: String) -> Markup {
        let explanation =
            metric.explanation.isEmpty
            ? [] : [Markup.element("small", [:], [.text(metric.explanation)])]
        return .element("th", ["scope": scope], [.text(metric.heading.withUnitsAttached), " "] + explanation)
    }

    private func cell(_ metric: MetricFormat, _ arm: ArmResult) -> Markup {
        guard let spread = metric.spread(arm) else { return .element("td", [:], ["–"]) }
        let (mean, deviation) = metric.texts(spread)
        guard !deviation.isEmpty else { return .element("td", [:], [.text(mean)]) }
        return .element("td", [:], [.text(mean), " ", .element("span", ["class": "sd"], [.text("± " + deviation)])])
    }
}
