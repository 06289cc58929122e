import RetortSupport

/// Accuracy against what it costs, parameters or latency: one marker per arm, bars of ± one standard deviation.
struct ScatterChart {
    private struct Entry {
        var arm: ArmResult
        var style: ArmStyle
        var cost: Spread
        var accuracy: Spread
    }

    private let entries: [Entry]
    private let title: String
    private let quantity: String
    private let quality: Metric

    /// Beyond so many arms the picture grows and its labels shrink.
    private static let roomy = 12

    /// - Parameters:
    ///   - metric: what stands to the right; above 0.
    ///   - quantity: the metric in words, with its unit.
    ///   - quality: what stands for accuracy.
    /// - Returns: nil when no arm has both numbers.
    init?(_ arms: [ArmResult], against metric: Metric, _ quantity: String, quality: Metric = .accuracy) {
        self.quality = quality
        entries = zip(arms, ArmStyle.styles(of: arms)).compactMap { arm, style in
            guard let cost = arm.spread(metric), cost.mean.isFinite, cost.mean > 0,
                let accuracy = arm.spread(quality), accuracy.mean.isFinite
            else { return nil }
            return Entry(arm: arm, style: style, cost: cost, accuracy: accuracy)
        }
        guard !entries.isEmpty else { return nil }
        self.quantity = quantity
        title = "\(quality.title) against \(quantity)"
    }

    /// The picture, and how many arms found no room for a label.
    func picture(id: String) -> (markup: Markup, unlabelled: Int) {
        let frame = frame
        func place(_ entry: Entry) -> Point { frame.point(entry.cost.mean, entry.accuracy.mean * 100) }
        var marks: [Markup] = []
        var obstacles: [(from: Point, to: Point)] = []
        for entry in entries {
            for (from, to) in bars(entry) {
                let bar = (from: frame.point(from.x, from.y), to: frame.point(to.x, to.y))
                marks.append(
                    SVG.line(bar.from, bar.to, class: "curve \(entry.style.colour)\(isCrowded ? " dim" : "")"))
                // Among many there is no way around all of them.
                if !isCrowded { obstacles.append(bar) }
            }
            marks.append(entry.style.marker(at: place(entry), radius: isCrowded ? 4.5 : 5.5))
        }
        var labels = LabelPlacement(
            markers: entries.map(place), bars: obstacles, area: frame.plot, letter: isCrowded ? 5.6 : 7,
            line: isCrowded ? 11 : 13)
        var leaders: [Markup] = []
        var texts: [Markup] = []
        // From above to below: the lines from markers to labels then hardly cross.
        for entry in entries.sorted(by: { place($0).y < place($1).y }) {
            let name = entry.arm.role.shortened(to: isCrowded ? 32 : 24)
            guard let label = labels.place(name, at: place(entry)) else { continue }
            if let leader = label.leader { leaders.append(SVG.line(leader.from, leader.to, class: "leader")) }
            texts.append(
                SVG.text(
                    name, x: label.at.x, y: label.at.y, anchor: label.anchor,
                    class: isCrowded ? "label strong tight" : "label strong"))
        }
        let description = entries.map {
            "\($0.arm.role): \(ChartAxis.magnitude($0.cost.mean)) \(quantity), "
                + NumberFormat.percent($0.accuracy.mean)
        }
        let markup = SVG.picture(
            id: id, title: title, description: description.joined(separator: "; "), width: PlotFrame.width,
            height: frame.height, frame.markup + leaders + marks + texts)
        return (markup, entries.count - texts.count)
    }

    private var isCrowded: Bool { entries.count > Self.roomy }

    private var frame: PlotFrame {
        let costs = entries.map(\.cost.mean)
        let ratio = (costs.max() ?? 1) / (costs.min() ?? 1)
        let x =
            ratio > 10
            ? ChartAxis(quantity + " (logarithmic)", coveringLogarithmically: costs.flatMap { [$0 * 0.7, $0 * 1.4] })
            : ChartAxis(quantity, covering: entries.flatMap { [0, $0.cost.mean + ($0.cost.deviation ?? 0)] })
        let ends = entries.flatMap { entry in
            [-1.0, 1].map { 100 * (entry.accuracy.mean + $0 * (entry.accuracy.deviation ?? 0)) }
        }
        let air = max(0.15 * ((ends.max() ?? 0) - (ends.min() ?? 0)), 0.5)
        let y = ChartAxis(
            "test \(quality.name) (%)", covering: ends.flatMap { [$0 - air, $0 + air] }, limits: 0...100)
        let extra = Double(min(60, max(0, entries.count - Self.roomy))) * 11
        return PlotFrame(x: x, y: y, height: PlotFrame.height + extra)
    }

    /// Ends of the bars of ± one deviation, in the units of the axes.
    private func bars(_ entry: Entry) -> [(from: Point, to: Point)] {
        var bars: [(from: Point, to: Point)] = []
        let (cost, accuracy) = (entry.cost, entry.accuracy)
        if let deviation = accuracy.deviation, deviation > 0 {
            bars.append(
                (
                    Point(x: cost.mean, y: (accuracy.mean - deviation) * 100),
                    Point(x: cost.mean, y: (accuracy.mean + deviation) * 100)
                ))
        }
        if let deviation = cost.deviation, deviation > 0 {
            bars.append(
                (
                    Point(x: cost.mean - deviation, y: accuracy.mean * 100),
                    Point(x: cost.mean + deviation, y: accuracy.mean * 100)
                ))
        }
        return bars
    }
}
