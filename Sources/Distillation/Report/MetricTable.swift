/// The table of results: a row per metric, a column per arm.
struct MetricTable {
    var results: RunResults

    var markup: Markup {
        let metrics = MetricFormat.all(in: results)
        guard !metrics.isEmpty else { return .element("p", [:], ["No metric was measured."]) }
        let styles = ArmStyle.styles(of: results.arms)
        let heads = zip(results.arms, styles).map { arm, style in
            Markup.element(
                "th", ["scope": "col"], [style.swatch, .element("span", ["class": "name"], [.text(arm.role)])])
        }
        let rows = metrics.map { metric in
            Markup.element("tr", [:], [head(metric)] + results.arms.map { cell(metric, $0) })
        }
        let table = Markup.element(
            "table", ["class": "metrics"],
            [
                .element("caption", [:], [.text(caption)]),
                .element("thead", [:], [.element("tr", [:], [.element("th", ["scope": "col"], ["metric"])] + heads)]),
                .element("tbody", [:], rows),
            ])
        return .element(
            "div", ["class": "scroll", "role": "region", "aria-label": "Results", "tabindex": "0"], [table])
    }

    private var caption: String {
        let several = results.arms.contains { $0.seeds.count > 1 }
        return several ? "Mean ± sample standard deviation over seeds." : "One seed: no deviation to show."
    }

    private func head(_ metric: MetricFormat) -> Markup {
        let explanation = metric.explanation.isEmpty
            ? [] : [Markup.element("small", [:], [.text(metric.explanation)])]
        return .element("th", ["scope": "row"], [.text(metric.heading)] + explanation)
    }

    private func cell(_ metric: MetricFormat, _ arm: ArmResult) -> Markup {
        guard let spread = metric.spread(arm) else { return .element("td", [:], ["–"]) }
        let (mean, deviation) = metric.texts(spread)
        let rest: [Markup] = deviation.isEmpty ? [] : [.element("span", ["class": "sd"], [.text(" ± " + deviation)])]
        return .element("td", [:], [.text(mean)] + rest)
    }
}
