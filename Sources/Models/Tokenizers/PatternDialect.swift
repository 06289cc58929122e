/// Rewrites the words of Oniguruma (Ruby's syntax, Unicode) that PCRE2 would read as something else.
///
/// | written | Oniguruma | PCRE2 with UCP |
/// | --- | --- | --- |
/// | `\s` | White_Space | also U+180E |
/// | `\w` | letters, marks, digits, connectors | letters, digits, `_` |
/// | `\h` | a hexadecimal digit | a horizontal space |
/// | `\p{Han}` | the script | also what is used with the script |
enum PatternDialect {
    private static let space = #"\t-\r\x{85}\p{Z}"#
    private static let word = #"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}"#
    private static let hexadecimal = "0-9a-fA-F"
    /// Properties of PCRE2 that are no scripts and have three letters or more.
    private static let properties: Set<String> = [
        "Any", "Alphabetic", "Lowercase", "Uppercase", "White_Space", "Emoji", "Ideographic", "Xan", "Xwd", "Xsp",
        "Xps",
        "Extended_Pictographic",
    ]

    static func translate(_ pattern: String) -> String {
        let scalars = Array(pattern.unicodeScalars)
        var result = ""
        var depth = 0
        var index = 0
        while index < scalars.count {
            let scalar = scalars[index]
            guard scalar == "\\", index + 1 < scalars.count else {
                if scalar == "[" { depth += 1 }
                if scalar == "]", depth > 0 { depth -= 1 }
                result.unicodeScalars.append(scalar)
                index += 1
                // "]" right after the opening stands for itself.
                if scalar == "[" {
                    if index < scalars.count, scalars[index] == "^" {
                        result += "^"
                        index += 1
                    }
                    if index < scalars.count, scalars[index] == "]" {
                        result += "\\]"
                        index += 1
                    }
                }
                continue
            }
            let letter = scalars[index + 1]
            index += 2
            if let members = self.members(letter) {
                result += depth > 0 ? members : "[" + members + "]"
            } else if depth == 0, let members = self.members(lowercased(letter)) {
                result += "[^" + members + "]"
            } else if letter == "p" || letter == "P", let name = property(scalars, index) {
                result += "\\\(letter){\(name.text)}"
                index = name.end
            } else {
                result += "\\"
                result.unicodeScalars.append(letter)
            }
        }
        return result
    }

    private static func members(_ letter: Unicode.Scalar) -> String? {
        switch letter {
        case "s": space
        case "w": word
        case "h": hexadecimal
        default: nil
        }
    }

    private static func lowercased(_ letter: Unicode.Scalar) -> Unicode.Scalar {
        switch letter {
        case "S": "s"
        case "W": "w"
        case "H": "h"
        default: "-"
        }
    }

    /// The name in braces at `start`, a script marked as one.
    private static func property(_ scalars: [Unicode.Scalar], _ start: Int) -> (text: String, end: Int)? {
        guard start < scalars.count, scalars[start] == "{",
            let close = scalars[start...].firstIndex(of: "}")
        else { return nil }
        var name = String(String.UnicodeScalarView(scalars[start + 1..<close]))
        var negation = ""
        if name.hasPrefix("^") {
            name.removeFirst()
            negation = "^"
        }
        let isPlain = name.unicodeScalars.allSatisfy { $0.isASCII && ($0.properties.isAlphabetic || $0 == "_") }
        if isPlain, name.utf8.count >= 3, !properties.contains(name) { name = "sc:" + name }
        return (negation + name, close + 1)
    }
}
