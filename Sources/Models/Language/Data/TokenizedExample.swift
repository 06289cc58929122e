/// A training example as tokens.
public struct TokenizedExample: Sendable, Equatable {
    public var tokens: [Int32]
    /// Of each token: it is to be predicted from those before it. False for the first, which nothing is before.
    public var isTarget: [Bool]
    /// Where its last answer does not begin between two tokens; nil where it does, and where nothing is asked.
    public var seam: Seam?

    /// The end of a prompt and the beginning of its answer in one token. Such a token is context where the answer is learned, but a model that
    /// is asked must not be given it: it tells how the answer begins.
    public struct Seam: Sendable, Equatable {
        /// Tokens of the example, in front of the first that is learned of the answer, that belong to both.
        public var shared: Int
        /// The prompt in tokens of its own, as `ExampleEncoder.prompt` has it.
        public var prompt: [Int32]

        public init(shared: Int, prompt: [Int32]) {
            self.shared = shared
            self.prompt = prompt
        }
    }

    /// - `isTarget`: as many as `tokens`.
    public init(tokens: [Int32], isTarget: [Bool]) {
        precondition(tokens.count == isTarget.count, "\(tokens.count) tokens, \(isTarget.count) of them marked")
        self.tokens = tokens
        self.isTarget = isTarget
        if !tokens.isEmpty { self.isTarget[0] = false }
    }

    public var count: Int { tokens.count }
    public var targetCount: Int { isTarget.count { $0 } }

    /// Its first tokens, the second of them learned.
    public func beginning(_ length: Int) -> TokenizedExample {
        TokenizedExample(
            tokens: Array(tokens.prefix(length)), isTarget: tokens.prefix(length).indices.map { $0 == 1 })
    }

    /// As many tokens at least: a prompt may have one alone.
    public func repeated(to least: Int) -> TokenizedExample {
        guard count < least, !tokens.isEmpty else { return self }
        let repeated = (0..<least).map { tokens[$0 % count] }
        return TokenizedExample(tokens: repeated, isTarget: repeated.map { _ in false })
    }

    /// The first tokens, or the last.
    func cut(to length: Int, from side: TextSide) -> TokenizedExample {
        guard count > length else { return self }
        var cut = TokenizedExample(
            tokens: Array(side == .right ? tokens.prefix(length) : tokens.suffix(length)),
            isTarget: Array(side == .right ? isTarget.prefix(length) : isTarget.suffix(length)))
        if let seam {
            let prompt = seam.prompt.dropFirst(side == .right ? 0 : count - length)
            if !prompt.isEmpty { cut.seam = Seam(shared: seam.shared, prompt: Array(prompt)) }
        }
        return cut
    }
}
