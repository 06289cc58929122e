import Foundation

extension Gallery {
    /// Whether any model shows where it looks.
    var hasMaps: Bool {
        shown.contains {
            $0.answers.contains { $0.attention != nil || $0.tokenAttention != nil || $0.activation != nil }
        }
    }

    private var shown: [Picture] { Array(pictures.prefix(Self.mapped)) }

    /// Each picture once, as a background that all maps of it lie on. Digits and letters only, so it can stand in a style sheet.
    var pictureStyle: String {
        shown.enumerated().map { ".look\($0.offset) { background-image: url(\(address(of: $0.element))); }\n" }.joined()
    }

    /// A table for each kind of map: a row for each model that has such maps, a column for each picture.
    func mapTables(classes: [String]) -> [(title: String, explanation: String, table: Markup)] {
        let kinds: [(String, String, (Answer) -> HeatMap?)] = [
            (
                "Attention of the last stage",
                "Mean over channels of the squared output of the deepest stage that has 4 × 4 places or more: what attention transfer compares.",
                \.attention
            ),
            (
                "Attention of the class token",
                "What the last layer's class token attends to, mean over heads; without one, what all places attend to, mean over them.",
                \.tokenAttention
            ),
            (
                "Class activation of the true class",
                "The classifier at each place of the last stage, for the true class: what speaks for it.", \.activation
            ),
        ]
        return kinds.compactMap { title, explanation, map in
            let roles = (shown.first?.answers ?? []).map(\.role).filter { role in
                shown.contains { $0.answers.contains { $0.role == role && map($0) != nil } }
            }
            return roles.isEmpty ? nil : (title, explanation, table(roles, classes, map))
        }
    }

    private func table(_ roles: [String], _ classes: [String], _ map: (Answer) -> HeatMap?) -> Markup {
        func name(_ label: Int) -> String { classes.indices.contains(label) ? classes[label] : String(label) }
        let heads = shown.enumerated().map { number, picture in
            Markup.element(
                "th", ["scope": "col"],
                [.element("div", ["class": "look look\(number)"]), .text(name(picture.label).shortened(to: 12))])
        }
        let rows = roles.map { role in
            let cells = shown.enumerated().map { number, picture -> Markup in
                guard let found = picture.answers.first(where: { $0.role == role }).flatMap(map) else {
                    return .element("td", [:], ["–"])
                }
                let veil = Markup.element(
                    "img",
                    [
                        "src": "data:image/png;base64," + found.png.base64EncodedString(),
                        "alt": "\(role) on test row \(picture.row)", "width": "52", "height": "52",
                    ])
                return .element("td", [:], [.element("div", ["class": "look look\(number)"], [veil])])
            }
            return Markup.element("tr", [:], [.element("th", ["scope": "row"], [.text(role)])] + cells)
        }
        let head = Markup.element("tr", [:], [.element("th", ["scope": "col"], ["arm"])] + heads)
        return .element(
            "div", ["class": "scroll", "role": "region", "aria-label": "Maps", "tabindex": "0"],
            [
                .element(
                    "table", ["class": "maps"], [.element("thead", [:], [head]), .element("tbody", [:], rows)])
            ])
    }
}
