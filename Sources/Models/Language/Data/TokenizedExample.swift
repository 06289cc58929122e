/// A training example as tokens.
public struct TokenizedExample: Sendable, Equatable {
    public var tokens: [Int32]
    /// Of each token: it is to be predicted from those before it. False for the first, which nothing is before.
    public var isTarget: [Bool]

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
        return TokenizedExample(
            tokens: Array(side == .right ? tokens.prefix(length) : tokens.suffix(length)),
            isTarget: Array(side == .right ? isTarget.prefix(length) : isTarget.suffix(length)))
    }
}
