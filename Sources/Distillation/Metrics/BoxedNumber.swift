/// The LaTeX that stands in `\boxed{}` around a number: `1{,}234`, `\frac{1}{2}`, `3\tfrac12`, `12\text{ cm}^2`, `90^\circ`.
enum BoxedNumber {
    /// Fractions as `1/2`, digits without the spaces between them, no words of units.
    static func plain(_ content: Substring) -> String {
        let spaced = [("{,}", ","), ("\\!", ""), ("\\,", ""), ("^{\\circ}", ""), ("^\\circ", "")].reduce(
            String(content)
        ) {
            $0.replacing($1.0, with: $1.1)
        }
        let unworded = withoutWords(spaced)
        // A number that stands among the words.
        return fractions(NumberAnswer.numbers(unworded[...]).isEmpty ? spaced : unworded)
    }

    /// Whether there is more to a text than its number: a root, a power, a constant, a quotient of other things.
    static func isMore(_ plain: String) -> Bool {
        ["\\sqrt", "\\pi", "^"].contains(where: plain.contains) || fractionNames.contains(where: plain.contains)
    }

    private static let fractionNames = ["\\frac", "\\dfrac", "\\tfrac", "\\cfrac"]

    /// Without `\text{…}` and its like, and the power of a unit behind them.
    private static func withoutWords(_ text: String) -> String {
        var kept = ""
        var rest = text[...]
        while let first = rest.first {
            guard let name = ["\\text", "\\mathrm", "\\mbox", "\\textrm"].first(where: { rest.hasPrefix($0 + "{") }),
                let (_, behind) = argument(rest.dropFirst(name.count))
            else {
                kept.append(first)
                rest.removeFirst()
                continue
            }
            rest = behind
            if rest.first == "^", let (power, behind) = argument(rest.dropFirst()), Int(power) != nil { rest = behind }
        }
        return kept
    }

    /// Quotients of two numbers as `1/2`, one behind a whole number as their sum; others stay.
    private static func fractions(_ text: String) -> String {
        var kept = ""
        var rest = text[...]
        while let first = rest.first {
            guard let name = fractionNames.first(where: rest.hasPrefix),
                let (above, middle) = argument(rest.dropFirst(name.count)),
                let (below, behind) = argument(middle), let a = number(above), let b = number(below)
            else {
                kept.append(first)
                rest.removeFirst()
                continue
            }
            let whole = kept.reversed().prefix { $0.isASCII && $0.isNumber }.reversed()
            if !whole.isEmpty, let top = mixed(String(whole), a, b) {
                kept.removeLast(whole.count)
                kept += "\(top)/\(b)"
            } else {
                kept += "\(a)/\(b)"
            }
            rest = behind
        }
        return kept
    }

    /// whole · below + above.
    private static func mixed(_ whole: String, _ above: String, _ below: String) -> Int? {
        guard let n = Int(whole), let a = Int(above), let b = Int(below), a >= 0 else { return nil }
        let (product, overflows) = n.multipliedReportingOverflow(by: b)
        let (sum, overflowsToo) = product.addingReportingOverflow(a)
        return overflows || overflowsToo ? nil : sum
    }

    /// A text that is a number and nothing else.
    private static func number(_ text: Substring) -> String? {
        let found = NumberAnswer.numbers(text)
        guard found.count == 1, !text.contains(where: { $0.isLetter || $0 == "\\" || $0 == "^" || $0 == "/" }) else {
            return nil
        }
        return found[0]
    }

    /// What a command is given: `{…}` without its braces, or one character; and what stands behind it.
    private static func argument(_ text: Substring) -> (Substring, behind: Substring)? {
        let text = text.drop { $0 == " " }
        guard text.first == "{" else { return text.first.map { _ in (text.prefix(1), text.dropFirst()) } }
        var depth = 0
        for index in text.indices {
            if text[index] == "{" { depth += 1 }
            if text[index] == "}" { depth -= 1 }
            if depth == 0 {
                return (text[text.index(after: text.startIndex)..<index], text[text.index(after: index)...])
            }
        }
        return nil
    }
}
