import RetortModels

/// How the answer is found in what a model writes around it.
public enum AnswerRule: Sendable {
    /// A number: what `\boxed{}` holds, else what follows `####`, else the last one in the text.
    case lastNumber
    /// The letter of one of several choices.
    case choice(letters: ClosedRange<Character> = "A"..."J")
    /// The last match of a regular expression that is not empty; `\K` in it forgets what stands before.
    case pattern(AnswerPattern)

    /// The answer in its plainest form; nil where there is none.
    /// - Throws: `RetortError` 65 when a pattern goes beyond its limits on this text.
    public func answer(in text: String) throws -> String? {
        switch self {
        case .lastNumber: NumberAnswer.find(in: text)
        case .choice(let letters): ChoiceAnswer.find(in: text, letters)
        case .pattern(let pattern): try pattern.lastMatch(in: text)
        }
    }

    /// Whether two texts give the same answer; without a rule, whether they are the same.
    /// - Throws: `RetortError` 65 when a pattern goes beyond its limits.
    static func isSame(_ said: String, _ wanted: String, by rule: AnswerRule?) throws -> Bool {
        guard let rule else { return AnswerMatch.isExact(said, wanted) }
        guard let wanted = try rule.answer(in: wanted), let said = try rule.answer(in: said) else { return false }
        return rule.agrees(said, with: wanted)
    }

    /// Whether an answer that was found is the one that is wanted.
    public func agrees(_ answer: String, with wanted: String) -> Bool {
        switch self {
        case .pattern: AnswerMatch.isExact(answer, wanted)
        // In their plainest form: a point is no punctuation here.
        case .lastNumber, .choice: answer == wanted
        }
    }
}

/// The contents of the last `\boxed{…}` whose braces close, inner braces included; nil without one. One pass over the text.
func lastBoxed(_ text: String) -> Substring? {
    let opening = "\\boxed"
    // Open braces: where the contents begin, for those of a box.
    var open: [String.Index?] = []
    var last: Range<String.Index>?
    var position = text.startIndex
    while position < text.endIndex {
        let next = text.index(after: position)
        if text[position] == "{" {
            open.append(text[..<position].hasSuffix(opening) ? next : nil)
        } else if text[position] == "}", let start = open.popLast() ?? nil {
            if last.map({ $0.lowerBound < start }) ?? true { last = start..<position }
        }
        position = next
    }
    return last.map { text[$0] }
}

extension Substring {
    /// Where `part` stands last.
    func lastRange(of part: String) -> Range<Index>? {
        guard !part.isEmpty else { return nil }
        var start = endIndex
        while start > startIndex {
            formIndex(before: &start)
            if self[start...].hasPrefix(part) { return start..<index(start, offsetBy: part.count) }
        }
        return nil
    }
}
