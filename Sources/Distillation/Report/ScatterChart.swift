import RetortSupport

/// Accuracy against the number of parameters: one marker per arm, a bar of ± one standard deviation.
struct ScatterChart {
    private struct Entry {
        var arm: ArmResult
        var style: ArmStyle
        var parameters: Double
        var accuracy: Spread
    }

    private let entries: [Entry]
    private let quality: Metric

    /// - Parameter quality: what stands for accuracy.
    /// - Returns: nil when no arm has both numbers.
    init?(_ arms: [ArmResult], quality: Metric = .accuracy) {
        self.quality = quality
        entries = zip(arms, ArmStyle.styles(of: arms)).compactMap { arm, style in
            guard let parameters = arm.spread(.parameters)?.mean, parameters.isFinite, parameters > 0,
                let accuracy = arm.spread(quality), accuracy.mean.isFinite
            else { return nil }
            return Entry(arm: arm, style: style, parameters: parameters, accuracy: accuracy)
        }
        guard !entries.isEmpty else { return nil }
    }

    func markup(id: String) -> Markup {
        let counts = entries.map(\.parameters)
        let ratio = (counts.max() ?? 1) / (counts.min() ?? 1)
        let x =
            ratio > 10
            ? ChartAxis("parameters (logarithmic)", coveringLogarithmically: counts.flatMap { [$0 * 0.7, $0 * 1.4] })
            : ChartAxis("parameters", covering: counts + [0])
        let ends = entries.flatMap { entry in
            [-1.0, 1].map { 100 * (entry.accuracy.mean + $0 * (entry.accuracy.deviation ?? 0)) }
        }
        let air = max(0.15 * ((ends.max() ?? 0) - (ends.min() ?? 0)), 0.5)
        let y = ChartAxis(
            "test \(quality.name) (%)", covering: ends.flatMap { [$0 - air, $0 + air] }, limits: 0...100)
        let frame = PlotFrame(x: x, y: y)

        var marks: [Markup] = []
        var labels = LabelPlacement(
            markers: entries.map { frame.point($0.parameters, $0.accuracy.mean * 100) }, width: PlotFrame.width)
        for entry in entries {
            let place = frame.point(entry.parameters, entry.accuracy.mean * 100)
            if let deviation = entry.accuracy.deviation, deviation > 0 {
                let low = frame.point(entry.parameters, (entry.accuracy.mean - deviation) * 100)
                let high = frame.point(entry.parameters, (entry.accuracy.mean + deviation) * 100)
                marks.append(SVG.line(low, high, class: "curve \(entry.style.colour)"))
            }
            marks.append(entry.style.marker(at: place, radius: 5.5))
        }
        for entry in entries {
            let name = entry.arm.role.shortened(to: 24)
            let label = labels.place(name, at: frame.point(entry.parameters, entry.accuracy.mean * 100))
            marks.append(SVG.text(name, x: label.at.x, y: label.at.y, anchor: label.anchor, class: "label strong"))
        }
        let description = entries.map {
            "\($0.arm.role): \(ChartAxis.magnitude($0.parameters)) parameters, "
                + NumberFormat.percent($0.accuracy.mean)
        }
        return SVG.picture(
            id: id, title: "\(quality.title) against parameters", description: description.joined(separator: "; "),
            width: PlotFrame.width, height: PlotFrame.height, frame.markup + marks)
    }
}
