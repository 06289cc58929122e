/// The letter that a text chooses: "The answer is (B) because …" → "B".
///
/// The first of these that there is: the last letter in `\boxed{}` or behind the word "answer"; a letter with which the text begins, as in
/// "b) …" or "C."; the last letter in parentheses; the last capital letter that stands alone and is no word of English (a, I).
enum ChoiceAnswer {
    static func find(in text: String, _ letters: ClosedRange<Character>) -> String? {
        if let boxed = lastBoxed(text), let letter = Candidates(String(boxed), letters).all.last { return letter.name }
        let candidates = Candidates(text, letters)
        let chosen =
            candidates.all.last { candidates.followsAnswer($0) } ?? candidates.all.first { candidates.begins($0) }
            ?? candidates.all.last { candidates.isEnclosed($0) }
            ?? candidates.all.last { $0.isCapital && !candidates.isWord($0) }
        return chosen?.name
    }
}

/// The letters of a text that stand alone.
private struct Candidates {
    struct Letter {
        let place: Int
        let isCapital: Bool
        let name: String
    }

    private let text: [Character]
    let all: [Letter]

    init(_ text: String, _ letters: ClosedRange<Character>) {
        let text = Array(text)
        func isAlone(_ place: Int) -> Bool {
            let before = place > 0 ? text[place - 1] : " "
            let after = place + 1 < text.count ? text[place + 1] : " "
            // Not the beginning of I'm.
            let isShortened =
                "'’".contains(after) && place + 2 < text.count && text[place + 2].isLetter
            return !before.isLetter && !before.isNumber && before != "_" && !after.isLetter && !after.isNumber
                && after != "_" && !isShortened
        }
        self.text = text
        all = text.indices.compactMap { place in
            guard let name = text[place].uppercased().first, letters.contains(name), text[place].isLetter,
                isAlone(place)
            else { return nil }
            return Letter(place: place, isCapital: text[place].isUppercase, name: String(name))
        }
    }

    private func character(_ place: Int) -> Character? { text.indices.contains(place) ? text[place] : nil }

    /// "answer is the letter (B", "Answer: B".
    func followsAnswer(_ letter: Letter) -> Bool {
        if isWord(letter), !letter.isCapital { return false }
        let fillers: Set<String> = ["is", "option", "choice", "letter", "the", "correct", "be", "would", "text"]
        let before = String(text[max(0, letter.place - 60)..<letter.place]).lowercased()
        // A sentence that ends between the two has nothing to do with it.
        guard
            !(before.split(separator: "answer", omittingEmptySubsequences: false).last.map({ $0.contains(".") })
                ?? false)
        else { return false }
        let words = before.split { !$0.isLetter }.map(String.init)
        return words.last { !fillers.contains($0) } == "answer"
    }

    /// The text's first word, with a bracket, a stop or the text's end behind it.
    func begins(_ letter: Letter) -> Bool {
        guard text[..<letter.place].allSatisfy({ $0.isWhitespace || "([*\"'".contains($0) }) else { return false }
        guard let after = character(letter.place + 1) else { return true }
        return ").:]*\"".contains(after) || after.isNewline
    }

    func isEnclosed(_ letter: Letter) -> Bool {
        character(letter.place - 1) == "(" && character(letter.place + 1) == ")"
    }

    /// "a cat", "I think": an article or a pronoun where a word of small letters follows.
    func isWord(_ letter: Letter) -> Bool {
        guard letter.name == "A" || letter.name == "I", character(letter.place + 1) == " " else { return false }
        return character(letter.place + 2).map { $0.isLetter && $0.isLowercase } ?? false
    }
}
