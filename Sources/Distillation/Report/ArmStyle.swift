/// How an arm looks in every picture: colour, dash and marker together, so that colour is never the only difference.
struct ArmStyle {
    /// The style sheet's class that sets the colour.
    var colour: String
    /// SVG dash pattern; empty means solid.
    var dash: String
    var marker: Marker

    enum Marker: CaseIterable {
        case circle, square, diamond, up, down, cross
    }

    /// The number of colours in the style sheet.
    static let colours = 8

    /// Teacher, student alone and student always look the same; the other arms share what is left, in order.
    static func styles(of arms: [ArmResult]) -> [ArmStyle] {
        var others = 0
        return arms.map { arm in
            switch arm.role {
            case Role.teacher: return ArmStyle(colour: "arm0", dash: "7 3", marker: .square)
            case Role.alone: return ArmStyle(colour: "arm1", dash: "2 2.5", marker: .diamond)
            case Role.student: return ArmStyle(colour: "arm2", dash: "", marker: .circle)
            default:
                let index = others
                others += 1
                let markers: [Marker] = [.up, .down, .cross, .square, .diamond, .circle]
                let dashes = ["9 2 2 2", "4 2", "12 3", ""]
                return ArmStyle(
                    colour: "arm\(3 + index % (colours - 3))", dash: dashes[index % dashes.count],
                    marker: markers[index % markers.count])
            }
        }
    }

    /// The arm's marker around a point.
    func marker(at point: Point, radius: Double = 4) -> Markup {
        .element("path", ["d": markerPath(point, radius), "class": "marker \(colour)"])
    }

    private func markerPath(_ point: Point, _ radius: Double) -> String {
        func corners(_ offsets: [(Double, Double)]) -> String {
            let places = offsets.map {
                SVG.coordinate(point.x + $0.0 * radius) + " " + SVG.coordinate(point.y + $0.1 * radius)
            }
            return "M" + places.joined(separator: "L") + "Z"
        }
        switch marker {
        case .circle:
            let r = SVG.coordinate(radius)
            let start = SVG.coordinate(point.x - radius) + " " + SVG.coordinate(point.y)
            let diameter = SVG.coordinate(2 * radius)
            return "M\(start)a\(r) \(r) 0 1 0 \(diameter) 0a\(r) \(r) 0 1 0 -\(diameter) 0Z"
        case .square: return corners([(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)])
        case .diamond: return corners([(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)])
        case .up: return corners([(0, -1.2), (1.15, 0.9), (-1.15, 0.9)])
        case .down: return corners([(0, 1.2), (1.15, -0.9), (-1.15, -0.9)])
        case .cross:
            let a = 0.4
            let b = 1.2
            return corners([
                (-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a),
                (-a, -a),
            ])
        }
    }

    /// A short piece of the arm's line with its marker, for legends.
    var swatch: Markup {
        .element(
            "svg", ["viewBox": "0 0 34 14", "class": "swatch", "aria-hidden": "true"],
            [
                SVG.polyline([Point(x: 1, y: 7), Point(x: 33, y: 7)], class: "curve \(colour)", dash: dash),
                marker(at: Point(x: 17, y: 7)),
            ])
    }
}

/// The roles that a recipe and the report know by name.
enum Role {
    static let teacher = "teacher"
    /// What losses call a teacher that a scheme makes of the student.
    static let ownTeacher = "self"
    /// What is kept of the student as it was at first, where a loss looks at that.
    static let start = "start"
    static let alone = "student-alone"
    static let student = "student"

    /// Whether a role is the teacher's, or that of one of several ("teacher/deep").
    static func isTeacher(_ role: String) -> Bool { role == teacher || role.hasPrefix(teacher + "/") }

    private static let peerMark = "/peer-"

    /// Of a student that learned beside an arm's own, counted from 1: "mutual/peer-1".
    static func peer(_ number: Int, of arm: String) -> String { arm + peerMark + String(number) }

    /// The arm beside whose student a peer learned; nil for a role that is no peer's. Names of arms have no "/".
    static func arm(ofPeer role: String) -> String? {
        guard !isTeacher(role), let slash = role.firstIndex(of: "/") else { return nil }
        let rest = role[slash...]
        return rest.hasPrefix(peerMark) && Int(rest.dropFirst(peerMark.count)) != nil ? String(role[..<slash]) : nil
    }
}
