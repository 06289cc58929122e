/// A token that is looked for in the text itself, before anything else happens to it.
public struct AddedToken: Sendable, Equatable {
    public let id: Int32
    public let content: String
    /// Only where no word character stands beside it.
    public let isSingleWord: Bool
    /// Takes the spaces before it, after it.
    public let stripsLeft: Bool
    public let stripsRight: Bool
    /// Looked for after the text was normalized, and normalized itself.
    public let isNormalized: Bool
    /// Left out by `decode(skippingSpecialTokens:)`.
    public let isSpecial: Bool

    public init(
        id: Int32, content: String, isSingleWord: Bool = false, stripsLeft: Bool = false, stripsRight: Bool = false,
        isNormalized: Bool = false, isSpecial: Bool = true
    ) {
        self.id = id
        self.content = content
        self.isSingleWord = isSingleWord
        self.stripsLeft = stripsLeft
        self.stripsRight = stripsRight
        self.isNormalized = isNormalized
        self.isSpecial = isSpecial
    }

    /// Bytes of an added token's text.
    static let longest = 512
}

/// Finds added tokens in a text: from left to right, the longest at each place.
struct AddedTokenFinder: Sendable {
    /// A token, or the text between two.
    enum Part {
        /// Its id, and the bytes it takes, spaces included.
        case token(Int32, Range<Int>)
        case text(Range<Int>)
    }

    private let tokens: [AddedToken]
    private var trie = ByteTrie()

    /// - Parameter texts: what to look for, of each token; empty ones are passed over.
    init(_ tokens: [AddedToken], texts: [[UInt8]]) {
        self.tokens = tokens
        for (index, text) in texts.enumerated() where !text.isEmpty { trie.insert(text, value: Int32(index)) }
    }

    var isEmpty: Bool { trie.isEmpty }

    func forEachPart(of text: Bytes, _ body: (Part) throws -> Void) throws {
        var done = 0
        var position = trie.isEmpty ? text.count : 0
        while position < text.count {
            guard trie.begins(text[position]), let match = trie.longestMatch(in: text, from: position) else {
                position += 1
                continue
            }
            let token = tokens[Int(match.value)]
            var (start, end) = (position, match.end)
            position = end
            if token.isSingleWord, wordEnds(text, start) || wordBegins(text, end) { continue }
            if token.stripsLeft { start = spaceBegin(text, start, noLowerThan: done) }
            if token.stripsRight { end = spaceEnd(text, end) }
            if start > done { try body(.text(done..<start)) }
            // Spaces that the token before has taken are not taken again.
            let begin = max(start, done)
            try body(.token(token.id, begin..<max(begin, end)))
            // A token made of the spaces that this one takes is found all the same, as in the reference implementation.
            done = end
        }
        if done < text.count { try body(.text(done..<text.count)) }
    }

    private func wordEnds(_ text: Bytes, _ end: Int) -> Bool {
        guard end > 0 else { return false }
        return text.scalar(at: lastScalar(text, end)).scalar.isWord
    }

    private func wordBegins(_ text: Bytes, _ start: Int) -> Bool {
        start < text.count && text.scalar(at: start).scalar.isWord
    }

    private func spaceBegin(_ text: Bytes, _ end: Int, noLowerThan limit: Int) -> Int {
        var begin = end
        while begin > limit {
            let last = lastScalar(text, begin)
            guard last >= limit, text.scalar(at: last).scalar.isSpace else { break }
            begin = last
        }
        return begin
    }

    private func spaceEnd(_ text: Bytes, _ start: Int) -> Int {
        var end = start
        while end < text.count {
            let (scalar, length) = text.scalar(at: end)
            guard scalar.isSpace else { break }
            end += length
        }
        return end
    }

    private func lastScalar(_ text: Bytes, _ end: Int) -> Int {
        var begin = end - 1
        while begin > 0, text[begin] & 0xC0 == 0x80 { begin -= 1 }
        return begin
    }
}
