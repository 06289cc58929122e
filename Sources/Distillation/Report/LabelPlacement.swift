/// Finds places for the labels of points, so that no label covers another label or a marker.
struct LabelPlacement {
    private struct Box {
        var left, top, right, bottom: Double

        func overlaps(_ other: Box) -> Bool {
            left < other.right && other.left < right && top < other.bottom && other.top < bottom
        }
    }

    private var taken: [Box]
    private let width: Double

    /// - Parameters:
    ///   - markers: the centres of all markers.
    ///   - width: the picture's width, which labels do not leave.
    init(markers: [Point], width: Double) {
        taken = markers.map { Box(left: $0.x - 6, top: $0.y - 6, right: $0.x + 6, bottom: $0.y + 6) }
        self.width = width
    }

    /// The start or end of the base line of a label for the point: beside it, else a little higher or lower.
    mutating func place(_ text: String, at point: Point) -> (at: Point, anchor: String) {
        let length = Double(text.unicodeScalars.count) * 7
        var fallback: (at: Point, anchor: String)?
        for shift in [0.0, -11, 11, -22, 22, -33, 33, -44, 44] {
            for anchor in ["start", "end"] {
                let x = point.x + (anchor == "start" ? 11 : -11)
                let left = anchor == "start" ? x : x - length
                let y = point.y + 4 + shift
                let box = Box(left: left, top: y - 10, right: left + length, bottom: y + 3)
                guard box.left >= 0, box.right <= width else { continue }
                if !taken.contains(where: { $0.overlaps(box) }) {
                    taken.append(box)
                    return (Point(x: x, y: y), anchor)
                }
                fallback = fallback ?? (Point(x: x, y: y), anchor)
            }
        }
        return fallback ?? (Point(x: point.x + 11, y: point.y + 4), "start")
    }
}
