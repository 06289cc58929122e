import RetortSupport

/// Whether a short answer is the one that was wanted, by the rules of SQuAD's evaluation (Rajpurkar et al. 2016, arXiv:1606.05250).
public enum AnswerMatch {
    /// Lower-case, without ASCII punctuation, without the articles a, an, the, with single spaces.
    public static func normalized(_ text: String) -> String {
        let scalars = text.lowercased().unicodeScalars.filter { !isPunctuation($0) }
        // Articles are words between anything that is no letter or digit; what else is kept stays as it is.
        var rest = scalars[...]
        var spaced = String.UnicodeScalarView()
        while let first = rest.first {
            let run = rest.prefix { isWordPart($0) == isWordPart(first) }
            let isArticle = ["a", "an", "the"].contains { run.elementsEqual($0.unicodeScalars) }
            if isArticle { spaced.append(" ") } else { spaced.append(contentsOf: run) }
            rest = rest.dropFirst(run.count)
        }
        return spaced.split { $0.properties.isWhitespace }.map { String($0) }.joined(separator: " ")
    }

    /// Whether both are the same, normalized.
    public static func isExact(_ prediction: String, _ reference: String) -> Bool {
        normalized(prediction).hasSameBytes(as: normalized(reference))
    }

    /// The harmonic mean of precision and recall of the words, normalized, each counted as often as it stands; of two empty answers 1.
    public static func tokenF1(_ prediction: String, _ reference: String) -> Double {
        func words(_ text: String) -> [ExactKey] { normalized(text).split(separator: " ").map { ExactKey(String($0)) } }
        let (said, wanted) = (words(prediction), words(reference))
        guard !said.isEmpty, !wanted.isEmpty else { return said.isEmpty && wanted.isEmpty ? 1 : 0 }
        var left = Dictionary(wanted.map { ($0, 1) }, uniquingKeysWith: +)
        var same = 0
        for word in said {
            guard let count = left[word], count > 0 else { continue }
            left[word] = count - 1
            same += 1
        }
        return 2 * Double(same) / Double(said.count + wanted.count)
    }

    private static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: true
        default: false
        }
    }

    private static func isWordPart(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
            .letterNumber, .otherNumber:
            true
        default: false
        }
    }
}
