import RetortSupport

/// Bars: for each class, how many points of accuracy the distilled student has more than the student alone.
struct ClassDifference {
    private struct Bar {
        var name: String
        /// In points; nil when the class has no test rows.
        var difference: Double?
    }

    private let bars: [Bar]
    /// True when only the classes with the largest differences are shown.
    let isSelection: Bool
    /// Test rows of all seeds, on average.
    let rowsPerClass: Int

    /// Beyond this many classes only the extremes are shown.
    private static let limit = 24

    /// - Returns: nil when the two matrices cannot be compared.
    init?(_ student: ConfusionMatrix?, minus alone: ConfusionMatrix?) {
        guard let student, let alone, student.counts.count == alone.counts.count, !student.classes.isEmpty else {
            return nil
        }
        rowsPerClass = student.counts.reduce(0) { $0 + $1.reduce(0, +) } / student.counts.count
        let pairs = zip(student.classAccuracies, alone.classAccuracies)
        var bars = zip(student.classes, pairs).map { name, pair in
            Bar(name: name, difference: pair.0.flatMap { a in pair.1.map { (a - $0) * 100 } })
        }
        isSelection = bars.count > Self.limit
        if isSelection {
            let sorted = bars.filter { $0.difference != nil }.sorted { ($0.difference ?? 0) > ($1.difference ?? 0) }
            let half = Self.limit / 2
            bars = sorted.count > Self.limit ? Array(sorted.prefix(half) + sorted.suffix(half)) : sorted
        }
        guard bars.contains(where: { $0.difference != nil }) else { return nil }
        self.bars = bars
    }

    func markup(id: String) -> Markup {
        let labelLength = bars.map { min($0.name.unicodeScalars.count, 14) }.max() ?? 1
        let left = 22 + Double(labelLength) * 7.2
        let right = 14.0
        let top = 8.0
        let row = bars.count <= 12 ? 22.0 : 17
        let bottom = top + row * Double(bars.count)
        let differences = bars.compactMap(\.difference)
        // Air beyond the bars for their numbers.
        let air = 0.16 * max((differences.max() ?? 0) - (differences.min() ?? 0), abs(differences.max() ?? 0), 1)
        let low = (differences.min() ?? 0) < 0 ? (differences.min() ?? 0) - air : 0
        let high = (differences.max() ?? 0) > 0 ? (differences.max() ?? 0) + air : 0
        let axis = ChartAxis("accuracy: distilled minus alone (points)", covering: [0, low, high])
        func x(_ value: Double) -> Double { left + axis.position(value) * (PlotFrame.width - left - right) }

        var content: [Markup] = []
        for tick in axis.ticks {
            let name = tick.value == 0 ? "axis" : "rule"
            content.append(SVG.line(Point(x: x(tick.value), y: top), Point(x: x(tick.value), y: bottom), class: name))
            content.append(SVG.text(tick.label, x: x(tick.value), y: bottom + 16, anchor: "middle"))
        }
        for (index, bar) in bars.enumerated() {
            let y = top + row * Double(index)
            let base = y + row / 2 + 4
            content.append(SVG.text(bar.name.shortened(to: 14), x: left - 8, y: base, anchor: "end"))
            guard let difference = bar.difference else {
                content.append(SVG.text("no test rows", x: x(0) + 5, y: base, class: "label faint"))
                continue
            }
            let isLoss = difference < 0
            let end = x(difference)
            content.append(
                SVG.rectangle(
                    x: min(x(0), end), y: y + row * 0.18, width: abs(end - x(0)), height: row * 0.64,
                    class: isLoss ? "loss" : "gain"))
            content.append(
                SVG.text(
                    Self.signed(difference), x: end + (isLoss ? -5 : 5), y: base, anchor: isLoss ? "end" : "start"))
        }
        let middle = (left + PlotFrame.width - right) / 2
        content.append(SVG.text(axis.title, x: middle, y: bottom + 36, anchor: "middle", class: "title"))
        return SVG.picture(
            id: id, title: "Accuracy per class: distilled student minus student alone", description: description,
            width: PlotFrame.width, height: bottom + 44, content)
    }

    private var description: String {
        bars.map { "\($0.name): \($0.difference.map { Self.signed($0) + " points" } ?? "no test rows")" }
            .joined(separator: "; ")
    }

    private static func signed(_ value: Double) -> String {
        let text = NumberFormat.fixed(abs(value), decimals: 1)
        return text == "0.0" ? text : (value < 0 ? "−" : "+") + text
    }
}
