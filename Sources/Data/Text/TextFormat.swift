import RetortSupport

/// What the records of a file look like. A raw value is the name in a recipe (`format`).
///
/// The formats that are objects are read from JSON lines and from JSON arrays alike: the first character of the file says which it is.
public enum TextFormat: String, Sendable, CaseIterable {
    /// `{"messages": [{"role": …, "content": …}, …]}`, as OpenAI's API writes conversations.
    case messages
    /// `{"prompt": …, "completion": …}`.
    case completion = "prompt-completion"
    /// `{"prompt": …}` without an answer.
    case prompt
    /// `{"instruction": …, "input": …, "output": …}` (Taori et al., "Stanford Alpaca", 2023); `input` may be missing, `system` and
    /// `history` (pairs of strings) may be there.
    case alpaca
    /// `{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}, …]}`, perhaps with `system`.
    case shareGPT = "sharegpt"
    /// `{"text": …}`.
    case text
    /// `{"prompt": …, "chosen": …, "rejected": …}`: strings, or lists of messages, which may begin with the prompt.
    case preference
    /// ShareGPT with one `chosen` and one `rejected` turn beside `conversations`.
    case shareGPTPreference = "sharegpt-preference"
    /// Plain text: each line that is not blank.
    case lines
    /// Plain text: each line that is not blank is a prompt without an answer.
    case promptLines = "prompt-lines"
    /// Plain text: what stands between blank lines.
    case paragraphs
    /// Plain text: the whole file.
    case document

    /// False for JSON.
    public var isPlainText: Bool {
        switch self {
        case .lines, .promptLines, .paragraphs, .document: true
        default: false
        }
    }

    /// The keys that make a record one of this format; empty for plain text.
    var requiredKeys: [String] {
        switch self {
        case .messages: ["messages"]
        case .completion: ["prompt", "completion"]
        case .prompt: ["prompt"]
        case .alpaca: ["instruction", "output"]
        case .shareGPT: ["conversations"]
        case .text: ["text"]
        case .preference: ["chosen", "rejected"]
        case .shareGPTPreference: ["conversations", "chosen", "rejected"]
        case .lines, .promptLines, .paragraphs, .document: []
        }
    }

    /// Keys that make it another format.
    private var excludedKeys: [String] {
        switch self {
        case .prompt: ["completion", "chosen", "rejected"]
        case .shareGPT: ["chosen", "rejected"]
        case .preference: ["conversations"]
        default: []
        }
    }

    /// The formats that a record with these keys (by our names, not the file's) can be.
    static func matching(_ has: (String) -> Bool) -> [TextFormat] {
        allCases.filter {
            !$0.isPlainText && $0.requiredKeys.allSatisfy(has) && !$0.excludedKeys.contains(where: has)
        }
    }

    /// Every name that `TextOptions.fields` can rename.
    static let keys = [
        "messages", "role", "content", "prompt", "completion", "instruction", "input", "output", "system", "history",
        "conversations", "from", "value", "text", "chosen", "rejected",
    ]
}
