/// Kinds of characters as the reference implementation has them, whose tables are partly those of Unicode 8 and 9.
extension Unicode.Scalar {
    /// White_Space.
    var isSpace: Bool {
        value < 0x80 ? value == 0x20 || (0x09...0x0D).contains(value) : properties.isWhitespace
    }

    /// What `\w` stands for: letters and what counts as such, marks, decimal digits, connectors, joiners.
    var isWord: Bool {
        if value < 0x80 { return isASCIILetterOrDigit || value == 0x5F }
        if properties.isAlphabetic || properties.isJoinControl { return true }
        switch properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
        default: return false
        }
    }

    /// Decimal digits, letter numbers and other numbers.
    var isNumber: Bool {
        if value < 0x80 { return (0x30...0x39).contains(value) }
        switch properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: return true
        default: return false
        }
    }

    /// Punctuation, and all ASCII that is neither letter, digit, space nor control.
    var isPunctuation: Bool {
        if value < 0x80 { return value > 0x20 && value < 0x7F && !isASCIILetterOrDigit }
        // Two that changed their category after Unicode 8.
        if value == 0x166D || value == 0x111C9 { return true }
        switch properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            return isOfUnicode8
        default: return false
        }
    }

    /// Controls, formats and private use.
    var isControl: Bool {
        if value < 0x80 { return value < 0x20 || value == 0x7F }
        switch properties.generalCategory {
        case .control, .privateUse: return true
        case .format: return isOfUnicode8
        default: return false
        }
    }

    var isNonspacingMark: Bool {
        if value < 0x300 { return false }
        if value == 0x1734 { return true }
        return properties.generalCategory == .nonspacingMark && isOfUnicode8 && value != 0x111C9
    }

    /// Marks of all kinds, of Unicode 9.
    var isMark: Bool {
        if value < 0x300 { return false }
        // Two that are letters today.
        if value == 0x1CF2 || value == 0x1CF3 { return true }
        switch properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: return isOfUnicode(upTo: 9)
        default: return false
        }
    }

    /// Ideographs, in the ranges of BERT's own tokenizer.
    var isChinese: Bool {
        switch value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B81F, 0x2B920...0x2CEAF, 0xF900...0xFAFF,
            0x2F800...0x2FA1F:
            true
        default: false
        }
    }

    private var isASCIILetterOrDigit: Bool {
        (0x30...0x39).contains(value) || (0x41...0x5A).contains(value) || (0x61...0x7A).contains(value)
    }

    private var isOfUnicode8: Bool { isOfUnicode(upTo: 8) }

    /// True when the character was assigned in this major version of Unicode or before.
    func isOfUnicode(upTo version: Int) -> Bool { (properties.age?.major ?? 99) <= version }
}
