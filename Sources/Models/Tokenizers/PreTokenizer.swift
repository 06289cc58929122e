import RetortSupport

/// Splits text into the words that the model sees one by one, and may rewrite them.
protocol PreTokenizer: Sendable {
    /// Hands on the words of `text`, none of them empty, in order.
    func split(_ text: TextSlice, _ emit: (TextSlice) throws -> Void) throws
}

/// One pre-tokenizer after the other.
struct PreTokenizerSequence: PreTokenizer {
    let parts: [any PreTokenizer]

    func split(_ text: TextSlice, _ emit: (TextSlice) throws -> Void) throws { try run(0, text, emit) }

    private func run(_ index: Int, _ text: TextSlice, _ emit: (TextSlice) throws -> Void) throws {
        guard index < parts.count else { return try emit(text) }
        try parts[index].split(text) { try run(index + 1, $0, emit) }
    }
}

/// Splits at what a matcher finds.
struct MatchSplit<Matcher: TextMatcher>: PreTokenizer {
    let matcher: Matcher
    let behavior: SplitBehavior
    var inverted = false

    func split(_ text: TextSlice, _ emit: (TextSlice) throws -> Void) throws {
        try behavior.split(text, at: matcher, inverted: inverted, emit)
    }
}

/// Runs of word characters and runs of what is neither word character nor space.
struct WhitespaceSplit: PreTokenizer {
    private enum Kind { case space, word, other }

    func split(_ text: TextSlice, _ emit: (TextSlice) throws -> Void) throws {
        var start = 0
        var kind = Kind.space
        var position = 0
        while position < text.bytes.count {
            let (scalar, length) = text.bytes.scalar(at: position)
            let next = scalar.isWord ? Kind.word : scalar.isSpace ? .space : .other
            if next != kind {
                if kind != .space { try emit(text[start..<position]) }
                (start, kind) = (position, next)
            }
            position += length
        }
        if kind != .space { try emit(text[start..<position]) }
    }
}

/// BERT's words: split at spaces, every punctuation mark a word of its own.
struct BertSplit: PreTokenizer {
    func split(_ text: TextSlice, _ emit: (TextSlice) throws -> Void) throws {
        var start = 0
        var position = 0
        while position < text.bytes.count {
            let (scalar, length) = text.bytes.scalar(at: position)
            let isSpace = scalar.isSpace
            if isSpace || scalar.isPunctuation {
                if start < position { try emit(text[start..<position]) }
                if !isSpace { try emit(text[position..<position + length]) }
                start = position + length
            }
            position += length
        }
        if start < position { try emit(text[start..<position]) }
    }
}
