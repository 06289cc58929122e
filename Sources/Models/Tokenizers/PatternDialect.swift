/// Rewrites the words of Oniguruma (Ruby's syntax, Unicode) that PCRE2 would read as something else, and refuses what it has no words for.
///
/// | written | Oniguruma | PCRE2 with UCP |
/// | --- | --- | --- |
/// | `\s` | White_Space | also U+180E |
/// | `\w` | letters, marks, digits, connectors | letters, digits, `_` |
/// | `\h` | a hexadecimal digit | a horizontal space |
/// | `\u3040` | the character | an error |
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

    /// What cannot be rewritten.
    struct Refusal: Error {
        let why: String
    }

    static func translate(_ pattern: String) throws(Refusal) -> String {
        let scalars = Array(pattern.unicodeScalars)
        var result = ""
        var isInClass = false
        var index = 0
        func next(_ offset: Int) -> Unicode.Scalar? {
            index + offset < scalars.count ? scalars[index + offset] : nil
        }
        while index < scalars.count {
            let scalar = scalars[index]
            if scalar == "\\", let letter = next(1) {
                index += 2
                if let members = self.members(letter) {
                    result += isInClass ? members : "[" + members + "]"
                } else if !isInClass, let members = self.members(lowercased(letter)) {
                    result += "[^" + members + "]"
                } else if isInClass, letter == "W" || letter == "H" {
                    throw Refusal(why: "\\\(letter) in a class is not supported")
                } else if letter == "p" || letter == "P", let name = property(scalars, index) {
                    result += "\\\(letter){\(name.text)}"
                    index = name.end
                } else if letter == "u", let digits = fourDigits(scalars, index) {
                    result += "\\x{\(digits)}"
                    index += 4
                } else {
                    result += "\\"
                    result.unicodeScalars.append(letter)
                }
                continue
            }
            if isInClass {
                if scalar == "[", next(1) != ":" { throw Refusal(why: "a class inside a class is not supported") }
                if scalar == "&", next(1) == "&" { throw Refusal(why: "&& in a class is not supported") }
                if scalar == "]" { isInClass = false }
                if scalar == "[", let end = scalars[index...].firstIndex(of: "]") {
                    // [:alpha:]
                    result += String(String.UnicodeScalarView(scalars[index...end]))
                    index = end + 1
                    continue
                }
            } else if scalar == "[" {
                isInClass = true
                // "]" right after the opening stands for itself.
                let opening = next(1) == "^" ? 2 : 1
                if next(opening) == "]" {
                    result += opening == 2 ? "[^\\]" : "[\\]"
                    index += opening + 1
                    continue
                }
            } else if scalar == "(", next(1) == "?", setsMultiline(scalars, index + 2) {
                throw Refusal(why: "the option m, which Ruby and PCRE2 understand differently, is not supported")
            }
            result.unicodeScalars.append(scalar)
            index += 1
        }
        return result
    }

    private static func fourDigits(_ scalars: [Unicode.Scalar], _ start: Int) -> String? {
        guard start + 4 <= scalars.count else { return nil }
        let digits = scalars[start..<start + 4]
        return digits.allSatisfy(\.properties.isASCIIHexDigit) ? String(String.UnicodeScalarView(digits)) : nil
    }

    /// True for `(?m`, `(?im-x`, …
    private static func setsMultiline(_ scalars: [Unicode.Scalar], _ start: Int) -> Bool {
        let letters = scalars[min(start, scalars.count)...].prefix { ("a"..."z").contains($0) || $0 == "-" }
        let end = start + letters.count
        return letters.contains("m") && end < scalars.count && (scalars[end] == ":" || scalars[end] == ")")
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
