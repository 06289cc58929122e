import RetortSupport

/// The report of a run: one HTML page that needs nothing else. No script, nothing from outside; every text is escaped.
/// - `facts`: name and value of what else the reader should know (versions, date, …), in this order; a fact of
///   the same name replaces one that the report knows by itself (recipe, device, seeds, classes).
public func htmlReport(_ results: RunResults, facts: [(String, String)]) -> String {
    "<!DOCTYPE html>\n" + ReportPage(results: results, facts: facts).markup.rendered
}

/// The sections of the page in reading order: what came out, the numbers, the curves, the differences, what was done.
private struct ReportPage {
    var results: RunResults
    var facts: [(String, String)]

    private var styles: [ArmStyle] { ArmStyle.styles(of: results.arms) }

    var markup: Markup {
        .element(
            "html", ["lang": "en"],
            [
                head,
                .element(
                    "body", [:],
                    [
                        .element(
                            "main", [:],
                            [opening, numbers] + curves + classes + confusions(.truth)
                                + confusions(.teacher) + gallery + maps + contracts + [factList]
                        )
                    ]),
            ])
    }

    private var head: Markup {
        .element(
            "head", [:],
            [
                .element("meta", ["charset": "utf-8"]),
                .element("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"]),
                .element(
                    "meta",
                    [
                        "http-equiv": "Content-Security-Policy",
                        "content": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
                    ]),
                .element("title", [:], [.text("\(results.recipe): report of a distillation")]),
                .element("style", [:], [.verbatim("\n" + reportStyleSheet + "\n")]),
            ])
    }

    private var opening: Markup {
        let verdict = Verdict(results)
        let details = [verdict.relation, verdict.others, verdict.warnings].filter { !$0.isEmpty }.map {
            Markup.element("p", [:], [.text($0.joined(separator: " ").withUnitsAttached)])
        }
        return .element(
            "header", [:],
            [
                .element("p", ["class": "kicker"], [.text("Retort report · \(results.recipe) · \(results.device)")]),
                .element("h1", [:], [.text(verdict.headline.withUnitsAttached)]),
            ] + details)
    }

    private func section(_ title: String, _ content: [Markup]) -> Markup {
        .element("section", [:], [.element("h2", [:], [.text(title)])] + content)
    }

    private func note(_ text: String) -> Markup {
        .element("p", ["class": "note"], [.text(text)])
    }

    private func figure(_ title: String, _ picture: Markup, caption: String = "", _ more: [Markup] = []) -> Markup {
        let captions: [Markup] = caption.isEmpty ? [] : [.element("figcaption", [:], [.text(caption)])]
        return .element("figure", [:], [.element("h3", [:], [.text(title)]), picture] + captions + more)
    }

    private var numbers: Markup {
        section("Results", [MetricTable(results: results).markup] + results.notes.map(note))
    }

    // MARK: Learning curves

    private var curves: [Markup] {
        let figures = [accuracyCurve, lossCurve].compactMap { $0 }
        guard !figures.isEmpty else { return [] }
        let legend = zip(results.arms, styles).compactMap { arm, style -> Markup? in
            guard let last = arm.seeds.flatMap(\.curve).map(\.epoch).max() else { return nil }
            return .element(
                "li", [:],
                [style.swatch, .text("\(arm.role), \(last) \(results.timeUnit.rawValue)\(last == 1 ? "" : "s")")])
        }
        let explanation =
            results.arms.contains { $0.seeds.count > 1 }
            ? "Lines: mean over seeds."
                + (results.arms.count <= LineChart.bandLimit ? " Bands: ± one standard deviation." : "") : ""
        return [
            section(
                "Learning curves",
                (explanation.isEmpty ? [] : [note(explanation)]) + [
                    .element("ul", ["class": "legend"], legend),
                    .element("div", ["class": "grid"], figures),
                ])
        ]
    }

    private var accuracyCurve: Markup? {
        let lines = lines { $0.accuracy }
        guard !lines.isEmpty else { return nil }
        let samples = lines.flatMap(\.curve.samples).map { $0.mean * 100 }
        let axis = ChartAxis("test \(results.quality.name) (%)", covering: samples, limits: 0...100)
        let chart = LineChart(
            id: "accuracy-curve", title: "Test \(results.quality.name) during training",
            description: description(lines) { NumberFormat.percent($0) }, lines: lines, y: axis, scale: 100,
            unit: results.timeUnit)
        let name = results.quality.name
        return figure("Test \(name)", chart.markup, caption: gaps(lines, name))
    }

    private var lossCurve: Markup? {
        let lines = lines { $0.loss }
        guard !lines.isEmpty else { return nil }
        let losses = lines.flatMap(\.curve.samples).map(\.mean)
        let low = losses.min() ?? 0
        let high = losses.max() ?? 1
        let isWide = low > 0 && high > 20 * low
        let axis =
            isWide
            ? ChartAxis("training loss (logarithmic)", coveringLogarithmically: losses)
            : ChartAxis("training loss", covering: losses)
        let chart = LineChart(
            id: "loss-curve", title: "Training loss",
            description: description(lines) { NumberFormat.significant($0, digits: 3) }, lines: lines, y: axis,
            unit: results.timeUnit)
        var captions = [gaps(lines, "loss")]
        if lines.count > 1 { captions.append("Each arm minimises its own loss: compare shapes, not heights.") }
        return figure(
            "Training loss", chart.markup, caption: captions.filter { !$0.isEmpty }.joined(separator: " "))
    }

    /// The arms that have such a curve.
    private func lines(_ value: (CurvePoint) -> Double?) -> [LineChart.Line] {
        zip(results.arms, styles).compactMap { arm, style in
            let curve = AverageCurve(arm, value)
            guard !curve.samples.isEmpty || !curve.broken.isEmpty else { return nil }
            return LineChart.Line(name: arm.role, style: style, curve: curve)
        }
    }

    private func description(_ lines: [LineChart.Line], _ format: (Double) -> String) -> String {
        lines.map { line in
            guard let first = line.curve.samples.first, let last = line.curve.samples.last else {
                return "\(line.name): no finite value"
            }
            return "\(line.name): \(format(first.mean)) at \(results.timeUnit.rawValue) \(first.epoch), "
                + "\(format(last.mean)) at \(results.timeUnit.rawValue) \(last.epoch)"
        }
        .joined(separator: "; ")
    }

    /// Names the seeds whose values are not finite.
    private func gaps(_ lines: [LineChart.Line], _ what: String) -> String {
        let unit = results.timeUnit.rawValue
        let broken = lines.filter { !$0.curve.broken.isEmpty }.map { line in
            let seeds = line.curve.broken.map { String($0.seed) }.joined(separator: ", ")
            let first = line.curve.broken.map(\.epoch).min() ?? 0
            return "\(line.name) from \(unit) \(first) (\(line.curve.broken.count == 1 ? "seed" : "seeds") \(seeds))"
        }
        return broken.isEmpty ? "" : "Not a finite \(what), not drawn: \(broken.joined(separator: "; "))."
    }

    // MARK: Classes

    private var classes: [Markup] {
        func matrix(_ role: String) -> ConfusionMatrix? {
            results.arms.first { $0.role == role }.flatMap { ConfusionMatrix($0, classes: results.classes) }
        }
        var figures: [Markup] = []
        if let difference = ClassDifference(matrix(Role.student), minus: matrix(Role.alone)) {
            figures.append(
                figure(
                    "Change per class", difference.markup(id: "class-difference"),
                    caption: "Test rows of all seeds together, \(difference.rowsPerClass) per class on average."
                        + (difference.isSelection ? " Only the classes that gained or lost most." : "")))
        }
        figures += costs
        return figures.isEmpty
            ? [] : [section("Where the arms differ", [.element("div", ["class": "grid"], figures)])]
    }

    /// Accuracy against what it costs to run the model.
    private var costs: [Markup] {
        let charts = [
            ("\(results.quality.title) against size", "accuracy-size", Metric.parameters, "parameters"),
            ("\(results.quality.title) against latency", "accuracy-latency", .latency, "µs for one example"),
        ]
        return charts.compactMap { title, id, metric, quantity in
            guard let chart = ScatterChart(results.arms, against: metric, quantity, quality: results.quality) else {
                return nil
            }
            let (picture, unlabelled) = chart.picture(id: id)
            let caption = unlabelled == 0 ? "" : "\(unlabelled) arms had no room for their names; the table has them."
            return figure(title, picture, caption: caption)
        }
    }

    /// Against the truth of every arm; against the teacher of those that have one.
    private func confusions(_ reference: ConfusionMatrix.Reference) -> [Markup] {
        let matrices = results.arms.compactMap { arm in
            ConfusionMatrix(arm, against: reference, classes: results.classes).map { (role: arm.role, matrix: $0) }
        }
        guard let size = matrices.first?.matrix.counts.count else { return [] }
        let figures = matrices.enumerated().map { index, entry in
            let mistakes = entry.matrix.showsNumbers ? [] : entry.matrix.confusionTexts(8)
            let list = Markup.element(
                "ol", ["class": "confusions"], mistakes.map { .element("li", [:], [.text($0)]) })
            let picture =
                entry.matrix.counts.count > ConfusionMatrix.pictureLimit
                ? Markup.element("p", [:], ["Too many classes for a picture."])
                : entry.matrix.markup(
                    id: "\(reference == .truth ? "confusion" : "teacher-confusion")-\(index)", role: entry.role)
            return figure(
                entry.role, picture,
                caption: mistakes.isEmpty ? "" : "The most frequent \(entry.matrix.confusionName)s:",
                mistakes.isEmpty ? [] : [list])
        }
        let gridClass = size > 12 ? "grid" : figures.count < 3 ? "grid small few" : "grid small"
        return [
            section(
                reference == .truth ? "Confusion matrices" : "Teacher against student",
                [
                    note(
                        "Number of test rows, all seeds together: "
                            + (reference == .truth
                                ? "true class by row, predicted class by column. "
                                : "the teacher's answer by row, the student's by column; on the diagonal both say "
                                    + "the same, right or wrong. ")
                            + "The shade is the share of the row (its square root, so that rare "
                            + (reference == .truth ? "mistakes" : "differences") + " show)."),
                    .element("div", ["class": gridClass], figures),
                ])
        ]
    }

    private var gallery: [Markup] {
        guard let gallery = results.gallery, let seed = results.seeds.first else { return [] }
        let arms = results.arms.filter {
            !Role.isTeacher($0.role) && $0.role != Role.alone && Role.arm(ofPeer: $0.role) == nil
        }
        let whose =
            gallery.chosenBy.flatMap { $0 == Role.student && arms.count == 1 ? nil : "the answer of the arm \($0)" }
            ?? "the distilled student's answer"
        return [
            section(
                "Where student and teacher disagree most",
                [
                    note(
                        "Test images by divergence of \(whose) from the teacher's, seed \(seed). "
                            + "Below each: the true class, then what every arm says and how sure it is."),
                    .element("div", ["class": "gallery"], gallery.markup(classes: results.classes)),
                ])
        ]
    }

    private var maps: [Markup] {
        guard let gallery = results.gallery, let seed = results.seeds.first, gallery.hasMaps else { return [] }
        let tables = gallery.mapTables(classes: results.classes).map { title, explanation, table in
            figure(title, table, caption: explanation)
        }
        return [
            section(
                "Where the models look",
                [
                    .element("style", [:], [.verbatim(gallery.pictureStyle)]),
                    note(
                        "The first of these images again, seed \(seed): the brighter the orange, the more a place counts. "
                            + "Each map is scaled by its own largest value."),
                    .element("div", ["class": "grid"], tables),
                ])
        ]
    }

    // MARK: What was done

    private var contracts: [Markup] {
        let blocks = zip(results.arms, styles).compactMap { arm, style -> Markup? in
            guard !arm.contract.isEmpty else { return nil }
            let terms = arm.contract.map { Markup.element("li", [:], [.element("code", [:], [.text($0)])]) }
            return .element(
                "div", ["class": "contract \(style.colour)"],
                [.element("h3", [:], [.text(arm.role)]), .element("ul", [:], terms)])
        }
        return blocks.isEmpty ? [] : [section("What each arm minimised", blocks)]
    }

    private var factList: Markup {
        let own = [
            ("Recipe", results.recipe),
            ("Device", "\(results.device): \(results.deviceSummary)"),
            ("Seeds", results.seeds.map(String.init).joined(separator: ", ")),
            ("Classes", results.classes.isEmpty ? "" : String(results.classes.count)),
        ]
        let given = Set(facts.map { $0.0.lowercased() })
        let entries = (own.filter { !given.contains($0.0.lowercased()) } + facts).filter { !$0.1.isEmpty }
        let items = entries.flatMap { name, value in
            [Markup.element("dt", [:], [.text(name)]), .element("dd", [:], [.text(value)])]
        }
        return section(
            "Facts",
            [
                .element("dl", [:], items),
                .element("p", ["class": "note", "style": "margin-top: 16px"], [.text(method)]),
            ])
    }

    private var method: String {
        "A difference of \(results.quality == .accuracy ? "accuracies" : results.quality.name) is called clear when it is "
            + "larger than its 95 % confidence interval over seeds (Student's t, pooled deviation). "
            + "The seeds do not show how the choice of the test rows matters."
    }
}
