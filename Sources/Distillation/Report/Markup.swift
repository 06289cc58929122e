import RetortSupport

/// A piece of HTML or SVG as a tree. Rendering escapes every text and attribute and closes every element, so that a
/// name from an untrusted file can never become markup.
///
/// A string literal is text: `.element("p", ["class": "note"], ["5 seeds"])`.
enum Markup: ExpressibleByStringInterpolation {
    case text(String)
    case element(String, KeyValuePairs<String, String> = [:], [Markup] = [])
    /// Text that is written as it is: for our own style sheet only.
    case verbatim(String)

    init(stringLiteral value: String) {
        self = .text(value)
    }

    /// The markup as text.
    var rendered: String {
        var text = ""
        render(into: &text)
        return text
    }

    private func render(into output: inout String) {
        switch self {
        case .text(let text):
            output += text.escapedForMarkup
        case .verbatim(let text):
            output += text
        case .element(let name, let attributes, let children):
            output += "<" + name
            for (key, value) in attributes {
                output += " " + key + "=\"" + value.escapedForMarkup + "\""
            }
            if Self.voidElements.contains(name) {
                output += " />"
                return
            }
            output += ">"
            for child in children { child.render(into: &output) }
            output += "</" + name + ">"
            if Self.blocks.contains(name) { output += "\n" }
        }
    }

    /// HTML elements that have no content and no end tag.
    private static let voidElements: Set<String> = ["br", "img", "meta"]
    /// Elements after which the page's source gets a line break.
    private static let blocks: Set<String> = [
        "dd", "figure", "figcaption", "h1", "h2", "h3", "header", "head", "li", "main", "p", "path", "section", "style",
        "svg", "table", "title", "tr",
    ]
}

extension String {
    /// The text with markup characters as entities, and control characters and direction overrides made visible.
    var escapedForMarkup: String {
        var escaped = ""
        for scalar in displayable.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            // Not allowed in XML.
            case "\u{FFFE}", "\u{FFFF}": escaped += "\u{FFFD}"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// The first `limit` scalars, the last one `…` when something was cut off.
    func shortened(to limit: Int) -> String {
        let scalars = unicodeScalars
        guard scalars.count > limit else { return self }
        return String(String.UnicodeScalarView(scalars.prefix(max(limit - 1, 0)))) + "…"
    }

    /// The text with a no-break space before each percent sign, so that a line never starts with one.
    var withUnitsAttached: String {
        split(separator: " %", omittingEmptySubsequences: false).joined(separator: "\u{A0}%")
    }
}
