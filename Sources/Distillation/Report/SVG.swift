import RetortSupport

/// The few SVG elements that the charts are made of. Colours come from the page's style sheet through classes.
enum SVG {
    /// A picture with a name and a description for those who do not see it. It scales with the width it is given.
    static func picture(
        id: String, title: String, description: String, width: Double, height: Double, _ content: [Markup]
    ) -> Markup {
        .element(
            "svg",
            [
                "viewBox": "0 0 \(coordinate(width)) \(coordinate(height))", "role": "img",
                "aria-labelledby": "\(id)-title \(id)-description",
            ],
            [
                .element("title", ["id": "\(id)-title"], [.text(title)]),
                .element("desc", ["id": "\(id)-description"], [.text(description)]),
            ] + content)
    }

    static func text(
        _ text: String, x: Double, y: Double, anchor: String = "start", class name: String = "label"
    ) -> Markup {
        .element(
            "text", ["x": coordinate(x), "y": coordinate(y), "text-anchor": anchor, "class": name], [.text(text)])
    }

    /// A text that runs upwards and ends (`end`) or has its middle (`middle`) at the point.
    static func uprightText(
        _ text: String, x: Double, y: Double, anchor: String, class name: String = "label"
    ) -> Markup {
        .element(
            "text",
            [
                "transform": "translate(\(coordinate(x)) \(coordinate(y))) rotate(-90)", "text-anchor": anchor,
                "class": name,
            ],
            [.text(text)])
    }

    static func line(_ from: Point, _ to: Point, class name: String) -> Markup {
        .element(
            "line",
            [
                "x1": coordinate(from.x), "y1": coordinate(from.y), "x2": coordinate(to.x), "y2": coordinate(to.y),
                "class": name,
            ])
    }

    static func rectangle(x: Double, y: Double, width: Double, height: Double, class name: String) -> Markup {
        .element(
            "rect",
            [
                "x": coordinate(x), "y": coordinate(y), "width": coordinate(max(width, 0)),
                "height": coordinate(max(height, 0)), "class": name,
            ])
    }

    /// A line through the points; empty for fewer than two.
    static func polyline(_ points: [Point], class name: String, dash: String = "") -> Markup {
        let path = path(points)
        return dash.isEmpty
            ? .element("path", ["d": path, "class": name])
            : .element("path", ["d": path, "class": name, "stroke-dasharray": dash])
    }

    /// The area inside the points.
    static func area(_ points: [Point], class name: String) -> Markup {
        .element("path", ["d": path(points) + "Z", "class": name])
    }

    private static func path(_ points: [Point]) -> String {
        points.enumerated()
            .map { ($0.offset == 0 ? "M" : "L") + coordinate($0.element.x) + " " + coordinate($0.element.y) }
            .joined()
    }

    /// A position in tenths of a pixel; what is not a number becomes 0.
    static func coordinate(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e9 else { return "0" }
        let tenths = Int((value * 10).rounded())
        guard tenths % 10 != 0 else { return String(tenths / 10) }
        return (tenths < 0 ? "-" : "") + "\(tenths.magnitude / 10).\(tenths.magnitude % 10)"
    }
}

/// A place in a picture: x to the right, y downwards.
struct Point {
    var x: Double
    var y: Double
}
