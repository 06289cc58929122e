/// The frame of a chart: where the plot lies in the picture, its grid, ticks and axis titles.
struct PlotFrame {
    let x: ChartAxis
    let y: ChartAxis
    /// Of this picture.
    let height: Double

    /// The picture's size: about the width of a phone, so that text keeps its size there.
    static let width = 460.0
    static let height = 300.0

    /// As wide as the labels of the ticks and the title beside them want it.
    private let left: Double
    private let right = 14.0
    private let top = 12.0
    private let bottom = 46.0

    init(x: ChartAxis, y: ChartAxis, height: Double = PlotFrame.height) {
        (self.x, self.y, self.height) = (x, y, height)
        let longest = y.ticks.map(\.label.unicodeScalars.count).max() ?? 0
        left = max(52, 31 + 7 * Double(longest))
    }

    /// The part inside the axes.
    var plot: (left: Double, top: Double, right: Double, bottom: Double) {
        (left, top, Self.width, height - bottom)
    }

    /// Where a pair of values lies in the picture.
    func point(_ horizontal: Double, _ vertical: Double) -> Point {
        Point(
            x: left + x.position(horizontal) * (Self.width - left - right),
            y: height - bottom - y.position(vertical) * (height - top - bottom))
    }

    /// Grid lines, tick labels and axis titles.
    var markup: [Markup] {
        let end = Point(x: Self.width - right, y: height - bottom)
        var content: [Markup] = []
        for tick in y.ticks {
            let at = point(x.lower, tick.value).y
            content.append(SVG.line(Point(x: left, y: at), Point(x: end.x, y: at), class: "rule"))
            content.append(SVG.text(tick.label, x: left - 7, y: at + 4, anchor: "end"))
        }
        for tick in x.ticks {
            let at = point(tick.value, y.lower).x
            content.append(SVG.line(Point(x: at, y: end.y), Point(x: at, y: end.y + 4), class: "axis"))
            // The last label would stick out of the picture.
            let half = 4.0 * Double(tick.label.unicodeScalars.count)
            content.append(
                SVG.text(tick.label, x: min(at, Self.width - half), y: end.y + 18, anchor: "middle"))
        }
        content.append(SVG.line(Point(x: left, y: end.y), end, class: "axis"))
        content.append(
            SVG.text(x.title, x: (left + end.x) / 2, y: height - 8, anchor: "middle", class: "title"))
        content.append(
            SVG.uprightText(y.title, x: 12, y: (top + end.y) / 2, anchor: "middle", class: "title"))
        return content
    }
}
