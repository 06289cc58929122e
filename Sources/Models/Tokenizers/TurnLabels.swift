import RetortSupport

/// A conversation of user and assistant with a fixed text in front of each turn and behind it.
struct TurnLabels: Sendable, Equatable {
    enum System: Sendable, Equatable {
        /// A piece of its own, in front; this one when a conversation has none.
        case apart(default: String?, behind: String)
        /// In front of what the user says first.
        case inFirstTurn
        /// In front of what the user says in the conversation's last turn; nowhere where that is the assistant's.
        case inLastTurn
        case refused
    }

    var system: System
    /// Between pieces, and in front of the prompt.
    var separator = ""
    var beforeUser: String
    var behindUser: String
    /// Asks for an answer.
    var beforeAnswer = ""
    /// What a model writes in front of an answer and at its end (nil: its token for an end).
    var answerStart = ""
    var answerEnd: String?
    var behindAnswer = ""
    var alternates = true
    var stripsPrompts = false
    var stripsAnswers = false

    func write(_ messages: [ChatMessage], _ addPrompt: Bool, bos: String, eos: String) throws -> WrittenChat {
        let (given, turns) = try ChatTurns.split(messages)
        if alternates { try ChatTurns.checkAlternating(turns) }
        if given != nil, system == .refused {
            throw RetortError.badData(
                "the chat template has no place for a system turn", why: "it writes user, assistant",
                help: "say it in the user's first turn")
        }
        var chat = WrittenChat()
        chat.add(bos)
        var isFirst = true
        if case .apart(let standard, let behind) = system, let text = given ?? standard {
            chat.add((stripsPrompts ? text.stripped : text) + behind)
            isFirst = false
        }
        for (index, turn) in zip(turns.indices, turns) {
            if !isFirst { chat.add(separator) }
            isFirst = false
            if turn.role == "user" {
                let content = stripsPrompts ? turn.content.stripped : turn.content
                chat.add(beforeUser + opening(given, index, of: turns) + content + behindUser)
            } else {
                let content = stripsAnswers ? turn.content.stripped : turn.content
                chat.add(beforeAnswer)
                chat.add(answerStart + content + (answerEnd ?? eos), by: turn)
                chat.add(behindAnswer)
            }
        }
        if addPrompt { chat.add(separator + beforeAnswer) }
        return chat
    }

    /// What of the system turn stands in a user's turn.
    private func opening(_ text: String?, _ index: Int, of turns: ArraySlice<ChatMessage>) -> String {
        let isThere =
            switch system {
            case .inFirstTurn: index == turns.startIndex
            case .inLastTurn: index == turns.endIndex - 1
            case .apart, .refused: false
            }
        return isThere ? text.map { $0 + "\n\n" } ?? "" : ""
    }
}

extension TurnLabels {
    /// Taori et al., "Stanford Alpaca", 2023.
    static let alpaca = TurnLabels(
        system: .apart(
            default:
                "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
            behind: ""),
        separator: "\n\n", beforeUser: "### Instruction:\n", behindUser: "", beforeAnswer: "### Response:",
        alternates: false)
    /// Alpaca as fine-tuning tools write it: the answer on a line of its own, one line between pieces.
    static let alpacaBetween = TurnLabels(
        system: .apart(default: nil, behind: ""), separator: "\n\n", beforeUser: "### Instruction:\n", behindUser: "",
        beforeAnswer: "### Response:\n", alternates: false)
    /// The same with the line behind each piece.
    static let alpacaBehind = TurnLabels(
        system: .apart(
            default: "Below are some instructions that describe some tasks. Write responses that appropriately "
                + "complete each request.", behind: "\n\n"),
        beforeUser: "### Instruction:\n", behindUser: "\n\n", beforeAnswer: "### Response:\n", behindAnswer: "\n\n",
        alternates: false)
    /// The same, with no system turn of its own.
    static let alpacaStripped = TurnLabels(
        system: .apart(default: nil, behind: "\n\n"), beforeUser: "### Instruction:\n", behindUser: "\n\n",
        beforeAnswer: "### Response:\n", behindAnswer: "\n\n", stripsPrompts: true, stripsAnswers: true)

    /// Chiang et al., "Vicuna", version 1.1, 2023.
    static let vicuna = TurnLabels(
        system: .apart(
            default: "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
                + "helpful, detailed, and polite answers to the user's questions.", behind: " "),
        beforeUser: "USER: ", behindUser: " ", beforeAnswer: "ASSISTANT:", answerStart: " ", alternates: false)
    /// A turn a line, with no system turn of its own.
    static let vicunaLines = TurnLabels(
        system: .apart(default: nil, behind: "\n\n"), beforeUser: "USER: ", behindUser: "\n",
        beforeAnswer: "ASSISTANT:", answerStart: " ", behindAnswer: "\n", stripsPrompts: true, stripsAnswers: true)

    /// Jiang et al., "Mistral 7B", 2023: Instruct v0.1 and v0.2, Mixtral.
    static let mistral = TurnLabels(
        system: .inFirstTurn, beforeUser: " [INST] ", behindUser: " [/INST]", answerStart: " ")
    /// As first published; v0.1 had a space `behind` answers.
    static func mistralFirst(behind: String) -> TurnLabels {
        TurnLabels(system: .refused, beforeUser: "[INST] ", behindUser: " [/INST]", behindAnswer: behind)
    }
    /// Instruct v0.3.
    static let mistral3 = TurnLabels(
        system: .inLastTurn, beforeUser: "[INST] ", behindUser: "[/INST]", answerStart: " ", stripsAnswers: true)
    /// Mistral Nemo.
    static let mistralNemo = TurnLabels(system: .inLastTurn, beforeUser: "[INST]", behindUser: "[/INST]")

    /// Gemma Team, "Gemma", 2024.
    static let gemma = TurnLabels(
        system: .refused, beforeUser: "<start_of_turn>user\n", behindUser: "<end_of_turn>\n",
        beforeAnswer: "<start_of_turn>model\n", answerEnd: "<end_of_turn>", behindAnswer: "\n", stripsPrompts: true,
        stripsAnswers: true)
}
