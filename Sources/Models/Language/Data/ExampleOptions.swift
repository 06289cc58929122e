import RetortSupport

/// What becomes of an example that is too long. A raw value is the name in a recipe (`truncation`).
public enum LongExamplePolicy: String, Sendable, CaseIterable {
    /// Its end is cut off, and with it what would teach a model to stop there.
    case right
    /// Its beginning is cut off.
    case left
    /// It is left out and counted.
    case drop
}

/// Which tokens are learned. A raw value is the name in a recipe (`targets`).
public enum ExampleTargets: String, Sendable, CaseIterable {
    /// What the assistant says, in each of its turns; what completes a prompt. All of a text.
    case answers
    /// The assistant's last turn alone.
    case lastAnswer = "last-answer"
    /// All tokens, prompts and markers included.
    case everything
}

/// How records become examples. Each property is a recipe's key of the same name, words joined by a hyphen.
public struct ExampleOptions: Sendable, Equatable {
    /// Tokens that an example may have, at least 2; nil: any number.
    public var maxLength: Int?
    public var truncation: LongExamplePolicy
    public var targets: ExampleTargets
    /// Between the prompt and its completion when they are no conversation; belongs to the prompt.
    public var separator: String
    /// Put the tokenizer's end token behind texts and completions, so that a model learns to stop. What ends a turn of a conversation
    /// is in its template.
    public var appendsEnd: Bool

    public init(
        maxLength: Int? = nil, truncation: LongExamplePolicy = .right, targets: ExampleTargets = .answers,
        separator: String = "", appendsEnd: Bool = true
    ) {
        self.maxLength = maxLength
        self.truncation = truncation
        self.targets = targets
        self.separator = separator
        self.appendsEnd = appendsEnd
    }
}
