import RetortSupport

/// One arm's confusion matrix, summed over its seeds: rows are true classes or the teacher's answers, columns the arm's answers.
struct ConfusionMatrix {
    /// What the arm's answers are compared with.
    enum Reference {
        case truth, teacher
    }

    /// `counts[reference][predicted]`, square.
    let counts: [[Int]]
    let classes: [String]
    let reference: Reference

    /// Beyond this many classes the picture shows shades without numbers.
    static let numberLimit = 20
    /// Beyond this many classes there is no picture.
    static let pictureLimit = 300

    /// - Returns: nil when no seed has a matrix. Missing rows and columns count as 0.
    init?(_ arm: ArmResult, against reference: Reference = .truth, classes: [String]) {
        self.reference = reference
        let matrices = arm.seeds.map(reference == .truth ? \.confusion : \.teacherConfusion)
            .filter { $0.contains { !$0.isEmpty } }
        guard !matrices.isEmpty else { return nil }
        let size = max(classes.count, matrices.map { max($0.count, $0.map(\.count).max() ?? 0) }.max() ?? 0)
        var sums = [[Int]](repeating: [Int](repeating: 0, count: size), count: size)
        for matrix in matrices {
            for (row, values) in matrix.enumerated() {
                for (column, count) in values.enumerated() where count > 0 {
                    sums[row][column] = sums[row][column].addingReportingOverflow(count).partialValue
                }
            }
        }
        counts = sums
        self.classes = (0..<size).map { $0 < classes.count ? classes[$0] : "#\($0)" }
    }

    /// Per class the share of its rows that were predicted right; nil for a class without rows.
    var classAccuracies: [Double?] {
        counts.enumerated().map { index, row in
            let total = row.reduce(0, +)
            return total > 0 ? Double(row[index]) / Double(total) : nil
        }
    }

    /// The most frequent places off the diagonal, most frequent first.
    func confusions(_ limit: Int) -> [(reference: String, predicted: String, count: Int)] {
        var found: [(row: Int, column: Int, count: Int)] = []
        for (row, values) in counts.enumerated() {
            for (column, count) in values.enumerated() where count > 0 && row != column {
                found.append((row, column, count))
            }
        }
        found.sort { ($1.count, $0.row, $0.column) < ($0.count, $1.row, $1.column) }
        return found.prefix(limit).map { (classes[$0.row], classes[$0.column], $0.count) }
    }

    /// The same in words.
    func confusionTexts(_ limit: Int) -> [String] {
        confusions(limit).map { place in
            switch reference {
            case .truth: "\(place.reference) taken for \(place.predicted): \(place.count)"
            case .teacher: "\(place.reference) by the teacher, \(place.predicted) by the student: \(place.count)"
            }
        }
    }

    /// What those are called.
    var confusionName: String { reference == .truth ? "mistake" : "difference" }

    var showsNumbers: Bool { counts.count <= Self.numberLimit }

    /// The picture; the shade of a cell is the square root of its share of the row, so that rare mistakes are visible.
    func markup(id: String, role: String) -> Markup {
        let size = counts.count
        let labelLength = classes.map { min($0.unicodeScalars.count, 10) }.max() ?? 1
        let margin = 28 + Double(labelLength) * 7.4
        let side = size <= 12 ? 300.0 : 460
        let cell = side / Double(size)
        let origin = Point(x: margin, y: 4)
        var content = [
            SVG.rectangle(x: origin.x, y: origin.y, width: side, height: side, class: "cells")
        ]
        content += shades(origin, cell)
        if showsNumbers { content += numbers(origin, cell) }
        content += labels(origin, cell, side, labelLength)
        let right = counts.indices.reduce(0) { $0 + counts[$1][$1] }
        let total = counts.reduce(0) { $0 + $1.reduce(0, +) }
        var description = "\(NumberFormat.grouped(right)) of \(NumberFormat.grouped(total)) rows are on the diagonal."
        if let worst = confusionTexts(1).first { description += " Most frequent \(confusionName): \(worst)." }
        let bottom = labelLength > 2 ? margin : 42
        return SVG.picture(
            id: id,
            title: (reference == .truth ? "Confusion matrix of " : "Answers of the teacher and of ") + role,
            description: description, width: origin.x + side + 4,
            height: origin.y + side + bottom, content)
    }

    /// The cells, as one path per kind and shade.
    private func shades(_ origin: Point, _ cell: Double) -> [Markup] {
        let levels = 12
        var paths = [String](repeating: "", count: 2 * (levels + 1))
        for (row, values) in counts.enumerated() {
            let total = max(1, values.reduce(0, +))
            for (column, count) in values.enumerated() where count > 0 {
                let shade = Int(((Double(count) / Double(total)).squareRoot() * Double(levels)).rounded(.up))
                let x = SVG.coordinate(origin.x + Double(column) * cell)
                let y = SVG.coordinate(origin.y + Double(row) * cell)
                let width = SVG.coordinate(cell)
                paths[(row == column ? 0 : levels + 1) + min(max(shade, 1), levels)] +=
                    "M\(x) \(y)h\(width)v\(width)h-\(width)z"
            }
        }
        return paths.enumerated().filter { !$0.element.isEmpty }.map { index, path in
            let level = index % (levels + 1)
            return .element(
                "path",
                [
                    "d": path, "class": index <= levels ? "right" : "wrong",
                    "fill-opacity": NumberFormat.fixed(Double(level) / Double(levels), decimals: 2),
                ])
        }
    }

    private func numbers(_ origin: Point, _ cell: Double) -> [Markup] {
        var content: [Markup] = []
        let digits = counts.flatMap { $0.map { String($0).utf8.count } }.max() ?? 1
        let font = min(cell * 0.5, 12, cell * 0.92 / (Double(digits) * 0.62))
        for (row, values) in counts.enumerated() {
            let total = max(1, values.reduce(0, +))
            for (column, count) in values.enumerated() where count > 0 {
                let isDark = Double(count) / Double(total) > 0.3
                content.append(
                    .element(
                        "text",
                        [
                            "x": SVG.coordinate(origin.x + (Double(column) + 0.5) * cell),
                            "y": SVG.coordinate(origin.y + (Double(row) + 0.5) * cell + font * 0.36),
                            "text-anchor": "middle", "font-size": SVG.coordinate(font),
                            "class": isDark ? "count inverse" : "count",
                        ],
                        [.text(String(count))]))
            }
        }
        return content
    }

    private func labels(_ origin: Point, _ cell: Double, _ side: Double, _ length: Int) -> [Markup] {
        // Every k-th class, so that labels stand at least 13 pixels apart.
        let stride = [1, 2, 5, 10, 20, 50].first { Double($0) * cell >= 13 } ?? 100
        var content: [Markup] = []
        for index in Swift.stride(from: 0, to: classes.count, by: stride) {
            let middle = (Double(index) + 0.5) * cell
            let name = classes[index].shortened(to: 10)
            content.append(SVG.text(name, x: origin.x - 5, y: origin.y + middle + 4, anchor: "end"))
            content.append(
                length > 2
                    ? SVG.uprightText(name, x: origin.x + middle + 4, y: origin.y + side + 6, anchor: "end")
                    : SVG.text(name, x: origin.x + middle, y: origin.y + side + 16, anchor: "middle"))
        }
        let bottom = origin.y + side + (length > 2 ? origin.x - 6 : 34)
        let (rowTitle, columnTitle) = reference == .truth ? ("true", "predicted") : ("teacher", "student")
        content.append(SVG.text(columnTitle, x: origin.x + side / 2, y: bottom, anchor: "middle", class: "title"))
        content.append(
            SVG.uprightText(rowTitle, x: 12, y: origin.y + side / 2, anchor: "middle", class: "title"))
        return content
    }
}
