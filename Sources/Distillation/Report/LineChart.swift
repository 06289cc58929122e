/// Learning curves: one line per arm, the mean over seeds, with a band of ± one standard deviation.
struct LineChart {
    struct Line {
        var name: String
        var style: ArmStyle
        var curve: AverageCurve
    }

    var id: String
    var title: String
    var description: String
    var lines: [Line]
    var y: ChartAxis
    /// Multiplies the values of the curves: 100 for percentages.
    var scale = 1.0
    /// What curves count: epochs or steps.
    var unit = RunResults.TimeUnit.epoch

    /// With more lines than this their bands would cover one another, and none is drawn.
    static let bandLimit = 8

    /// True when the arms' trainings are so different in length that epochs would squeeze the short ones.
    var showsShare: Bool {
        let epochs = lines.map(\.curve.epochs).filter { $0 > 0 }
        guard let shortest = epochs.min(), let longest = epochs.max() else { return false }
        return longest >= 2 * shortest
    }

    var markup: Markup {
        let longest = lines.map(\.curve.epochs).max() ?? 1
        let x =
            showsShare
            ? ChartAxis("share of the arm's training (%)", covering: [0, 100])
            : ChartAxis(unit.rawValue, covering: [0, Double(longest)], whole: true)
        let frame = PlotFrame(x: x, y: y)
        var bands: [Markup] = []
        var curves: [Markup] = []
        var markers: [Markup] = []
        for (index, line) in lines.enumerated() {
            let factor = showsShare ? 100 / Double(max(line.curve.epochs, 1)) : 1
            func place(_ sample: AverageCurve.Sample, _ deviations: Double) -> Point {
                frame.point(
                    Double(sample.epoch) * factor, (sample.mean + deviations * sample.deviation) * scale)
            }
            for run in line.curve.thinned(to: 240).runs {
                if run.count > 1 {
                    if lines.count <= Self.bandLimit, run.contains(where: { $0.deviation > 0 }) {
                        let outline = run.map { place($0, 1) } + run.reversed().map { place($0, -1) }
                        bands.append(SVG.area(outline, class: "band \(line.style.colour)"))
                    }
                    curves.append(
                        SVG.polyline(
                            run.map { place($0, 0) }, class: "curve \(line.style.colour)", dash: line.style.dash))
                }
                // Markers stand at different places on each line, so that they do not cover one another.
                let gap = max(1, run.count / 6)
                let offset = run.count > 6 ? (index * gap / max(lines.count, 1) + gap / 2) : 0
                for position in stride(from: offset, to: run.count, by: gap) {
                    markers.append(line.style.marker(at: place(run[position], 0)))
                }
            }
        }
        return SVG.picture(
            id: id, title: title, description: description, width: PlotFrame.width, height: PlotFrame.height,
            frame.markup + bands + curves + markers)
    }
}
