import RetortRuntime

/// Token sequences with what a model is to predict at each token.
public struct LanguageBatch: Sendable {
    public let rows: Int
    public let length: Int
    /// Row-major `[rows, length]`.
    public let tokens: [Int32]
    /// Row-major like `tokens`: the token that follows where it is to be predicted, else −100.
    public let targets: [Int32]
    /// Row-major like `tokens`: false for padding; nil: all count.
    public let valid: [Bool]?
    /// Row-major like `tokens`: a number for each document of a packed row, which attention does not leave; nil: one document a row.
    public let documents: [Int32]?

    public init(
        rows: Int, length: Int, tokens: [Int32], targets: [Int32], valid: [Bool]? = nil, documents: [Int32]? = nil
    ) {
        self.rows = rows
        self.length = length
        self.tokens = tokens
        self.targets = targets
        self.valid = valid
        self.documents = documents
    }

    /// How many tokens are to be predicted.
    public var targetCount: Int { targets.count { $0 != Self.ignored } }

    /// The label of a token whose successor is not to be predicted.
    public static let ignored: Int32 = -100
}
