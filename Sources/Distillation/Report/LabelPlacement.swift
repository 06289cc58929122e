/// Finds places for the labels of points, so that no label covers another label or a marker.
struct LabelPlacement {
    private struct Box {
        var left, top, right, bottom: Double

        func overlaps(_ other: Box) -> Bool {
            left < other.right && other.left < right && top < other.bottom && other.top < bottom
        }
    }

    /// Where a label goes.
    struct Place {
        /// The start or the end of its base line.
        var at: Point
        var anchor: String
        /// From the marker to a label that is too far away to be seen as its own.
        var leader: (from: Point, to: Point)?
    }

    private var taken: [Box]
    private let area: (left: Double, top: Double, right: Double, bottom: Double)
    private let letter: Double
    private let line: Double

    /// - Parameters:
    ///   - markers: the centres of all markers.
    ///   - bars: upright and level lines that labels should not cross.
    ///   - area: what labels do not leave.
    ///   - letter: about the width of a letter.
    ///   - line: the height of a label.
    init(
        markers: [Point], bars: [(from: Point, to: Point)] = [],
        area: (left: Double, top: Double, right: Double, bottom: Double), letter: Double = 7, line: Double = 13
    ) {
        taken = markers.map { Box(left: $0.x - 6, top: $0.y - 6, right: $0.x + 6, bottom: $0.y + 6) }
        taken += bars.map { from, to in
            Box(
                left: min(from.x, to.x) - 1.5, top: min(from.y, to.y) - 1.5, right: max(from.x, to.x) + 1.5,
                bottom: max(from.y, to.y) + 1.5)
        }
        (self.area, self.letter, self.line) = (area, letter, line)
    }

    /// A place for a point's label: beside it, else as little higher or lower as there is room for; nil when there is none.
    mutating func place(_ text: String, at point: Point) -> Place? {
        let length = Double(text.unicodeScalars.count) * letter
        let reach = Int((area.bottom - area.top) / 4)
        for step in 0...2 * reach {
            // 0, up, down, further up, … in quarters of a line or so.
            let shift = Double((step + 1) / 2) * 4 * (step % 2 == 0 ? 1 : -1)
            // Near the marker it is clear whose label it is; farther away a line says so, and needs some length.
            let isFar = abs(shift) > 12
            for side in [1.0, -1] {
                let x = point.x + side * (isFar ? 26 : 11)
                let left = side > 0 ? x : x - length
                let base = point.y + shift + line * 0.3
                let box = Box(left: left, top: base - line * 0.77, right: left + length, bottom: base + line * 0.23)
                guard box.left >= area.left, box.right <= area.right, box.top >= area.top, box.bottom <= area.bottom,
                    !taken.contains(where: { $0.overlaps(box) })
                else { continue }
                taken.append(box)
                let leader = (
                    from: Point(x: point.x + side * 6, y: point.y), to: Point(x: x - side * 2, y: point.y + shift)
                )
                return Place(at: Point(x: x, y: base), anchor: side > 0 ? "start" : "end", leader: isFar ? leader : nil)
            }
        }
        return nil
    }
}
