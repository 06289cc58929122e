import RetortSupport

/// A conversation as a model reads it, and where in it the assistant's words are.
struct WrittenChat: Sendable, Equatable {
    private(set) var text = ""
    /// Of each of the assistant's turns, in order: the bytes of what a model writes when it is asked for that turn, its content and
    /// what ends the turn.
    private(set) var answers: [Range<Int>] = []

    mutating func add(_ text: String) { self.text += text }

    /// Adds what a turn says.
    mutating func add(_ text: String, by message: ChatMessage) {
        let start = self.text.utf8.count
        self.text += text
        if message.role == "assistant" { answers.append(start..<self.text.utf8.count) }
    }
}

/// The ways to write a conversation.
enum ChatFormat: Sendable, Equatable {
    /// `<|im_start|>role … <|im_end|>`; a system turn in front when the conversation has none.
    case chatML(defaultSystem: String?)
    /// The same with no place for other roles (Qwen2.5, whose tool calls are not written here).
    case qwen25(defaultSystem: String)
    /// ChatML as fine-tuning tools write it: always a system turn, and the assistant's opening after every user turn.
    case chatMLPrompted(defaultSystem: String)
    /// `[INST] <<SYS>> … [/INST]` (Touvron et al., "Llama 2", 2023).
    case llama2
    /// `<|start_header_id|>role<|end_header_id|>` (Llama 3 model card, 2024); the first release always ends with the prompt.
    /// Begins with `begin`, else with the tokenizer's own token.
    case llama3(begin: String?, alwaysPrompts: Bool)
    /// `<|role|>` (Tunstall et al., "Zephyr", 2023).
    case zephyr
    /// `### Instruction:` (Taori et al., "Stanford Alpaca", 2023).
    case alpaca
    /// `USER: … ASSISTANT: …` (Chiang et al., "Vicuna", version 1.1, 2023).
    case vicuna

    static let llama3Begin = "<|begin_of_text|>"
    static let qwenSystem = "You are a helpful assistant."
    static let qwen25System = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    private static let alpacaSystem =
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    private static let vicunaSystem =
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite "
        + "answers to the user's questions."

    func write(_ messages: [ChatMessage], _ addPrompt: Bool, bos: String, eos: String) throws -> WrittenChat {
        guard !messages.isEmpty else { throw RetortError.badData("a conversation has no turns") }
        switch self {
        case .chatML(let system): return chatML(messages, system, addPrompt)
        case .qwen25(let system):
            for message in messages { try check(message, among: ["system", "user", "assistant"]) }
            return chatML(messages, system, addPrompt)
        case .chatMLPrompted(let system): return try chatMLPrompted(messages, system)
        case .llama2: return try llama2(messages, bos: bos, eos: eos)
        case .llama3(let begin, let alwaysPrompts):
            return llama3(messages, addPrompt || alwaysPrompts, bos: begin ?? bos)
        case .zephyr: return try zephyr(messages, addPrompt, eos: eos)
        case .alpaca: return try alpaca(messages, addPrompt, bos: bos, eos: eos)
        case .vicuna: return try vicuna(messages, addPrompt, bos: bos, eos: eos)
        }
    }

    private func chatML(_ messages: [ChatMessage], _ system: String?, _ addPrompt: Bool) -> WrittenChat {
        var chat = WrittenChat()
        if let system, messages[0].role != "system" { chat.add("<|im_start|>system\n\(system)<|im_end|>\n") }
        for message in messages {
            chat.add("<|im_start|>\(message.role)\n")
            chat.add("\(message.content)<|im_end|>", by: message)
            chat.add("\n")
        }
        if addPrompt { chat.add("<|im_start|>assistant\n") }
        return chat
    }

    private func chatMLPrompted(_ messages: [ChatMessage], _ defaultSystem: String) throws -> WrittenChat {
        let (system, turns) = try split(messages, default: defaultSystem)
        var chat = WrittenChat()
        chat.add("<|im_start|>system\n\(system ?? "")<|im_end|>\n")
        for turn in turns {
            if turn.role == "user" {
                chat.add("<|im_start|>user\n\(turn.content)<|im_end|>\n<|im_start|>assistant\n")
            } else {
                chat.add("\(turn.content)<|im_end|>", by: turn)
                chat.add("\n")
            }
        }
        return chat
    }

    private func llama2(_ messages: [ChatMessage], bos: String, eos: String) throws -> WrittenChat {
        let (system, turns) = try split(messages, default: nil)
        var chat = WrittenChat()
        for (index, turn) in turns.enumerated() {
            guard (turn.role == "user") == (index % 2 == 0) else {
                throw RetortError.badData(
                    "the turns do not alternate", why: "Llama 2 writes user, assistant, user, assistant, …")
            }
            var content = turn.content
            if index == 0, let system { content = "<<SYS>>\n\(system)\n<</SYS>>\n\n\(content)" }
            content = content.stripped
            chat.add(turn.role == "user" ? "\(bos)[INST] \(content) [/INST]" : " \(content) \(eos)", by: turn)
        }
        return chat
    }

    private func llama3(_ messages: [ChatMessage], _ addPrompt: Bool, bos: String) -> WrittenChat {
        var chat = WrittenChat()
        chat.add(bos)
        for message in messages {
            chat.add("<|start_header_id|>\(message.role)<|end_header_id|>\n\n")
            chat.add("\(message.content.stripped)<|eot_id|>", by: message)
        }
        if addPrompt { chat.add("<|start_header_id|>assistant<|end_header_id|>\n\n") }
        return chat
    }

    private func zephyr(_ messages: [ChatMessage], _ addPrompt: Bool, eos: String) throws -> WrittenChat {
        var chat = WrittenChat()
        for message in messages {
            try check(message, among: ["system", "user", "assistant"])
            chat.add("<|\(message.role)|>\n")
            chat.add("\(message.content)\(eos)", by: message)
            chat.add("\n")
        }
        if addPrompt { chat.add("<|assistant|>\n") }
        return chat
    }

    private func alpaca(
        _ messages: [ChatMessage], _ addPrompt: Bool, bos: String, eos: String
    ) throws -> WrittenChat {
        let (system, turns) = try split(messages, default: Self.alpacaSystem)
        var chat = WrittenChat()
        chat.add(bos + (system ?? ""))
        for turn in turns {
            chat.add(turn.role == "user" ? "\n\n### Instruction:\n" : "\n\n### Response:")
            chat.add(turn.role == "user" ? turn.content : "\(turn.content)\(eos)", by: turn)
        }
        if addPrompt { chat.add("\n\n### Response:") }
        return chat
    }

    private func vicuna(
        _ messages: [ChatMessage], _ addPrompt: Bool, bos: String, eos: String
    ) throws -> WrittenChat {
        let (system, turns) = try split(messages, default: Self.vicunaSystem)
        var chat = WrittenChat()
        chat.add(bos + (system ?? "") + " ")
        for turn in turns {
            if turn.role == "user" {
                chat.add("USER: \(turn.content) ")
            } else {
                chat.add("ASSISTANT:")
                chat.add(" \(turn.content)\(eos)", by: turn)
            }
        }
        if addPrompt { chat.add("ASSISTANT:") }
        return chat
    }

    /// The system turn, at the beginning if anywhere, and the others, of user and assistant.
    private func split(
        _ messages: [ChatMessage], default system: String?
    ) throws -> (system: String?, turns: ArraySlice<ChatMessage>) {
        let hasSystem = messages[0].role == "system"
        let turns = hasSystem ? messages.dropFirst() : messages[...]
        for turn in turns { try check(turn, among: ["user", "assistant"]) }
        return (hasSystem ? messages[0].content : system, turns)
    }

    private func check(_ message: ChatMessage, among roles: [String]) throws {
        guard roles.contains(message.role) else {
            throw RetortError.badData(
                "the chat template has no place for the role \(message.role.quoted()) here",
                why: "it writes \(roles.joined(separator: ", "))"
                    + (roles.contains("system") ? "" : ", and system in front"))
        }
    }
}

extension String {
    /// Without the white space at both ends, as Python's `strip`.
    fileprivate var stripped: String {
        let scalars = Array(unicodeScalars)
        func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar.isSpace || (0x1C...0x1F).contains(scalar.value) }
        guard let first = scalars.firstIndex(where: { !isSpace($0) }),
            let last = scalars.lastIndex(where: { !isSpace($0) })
        else { return "" }
        return String(String.UnicodeScalarView(scalars[first...last]))
    }
}
