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
    /// The same with no place for other roles (Qwen2.5 and later, whose tool calls are not written here).
    case qwen25(defaultSystem: String?)
    /// ChatML as fine-tuning tools write it: always a system turn, and the assistant's opening after every user turn.
    case chatMLPrompted(defaultSystem: String)
    /// ChatML with `<think>` in front of what was said (Yang et al., "Qwen3", 2025). `opensReasoning`: the prompt has the opening.
    case qwen3(opensReasoning: Bool)
    /// `[INST] <<SYS>> … [/INST]` (Touvron et al., "Llama 2", 2023).
    case llama2
    /// `<|start_header_id|>role<|end_header_id|>` (Llama 3 model card, 2024); the first release always ends with the prompt.
    /// Begins with `begin`, else with the tokenizer's own token.
    case llama3(begin: String?, alwaysPrompts: Bool)
    /// Llama 3.1 to 3.3: always a system turn, with dates in it (Llama 3.1 model card, 2024).
    case llama31
    /// `<|role|>` (Tunstall et al., "Zephyr", 2023).
    case zephyr
    /// `<｜User｜> … <｜Assistant｜>` (DeepSeek-AI, "DeepSeek-R1", 2025). `opensReasoning`: the prompt ends with `<think>`.
    case deepSeekR1(opensReasoning: Bool)
    /// Alpaca, Vicuna, Mistral, Gemma.
    case labelled(TurnLabels)

    static let llama3Begin = "<|begin_of_text|>"
    static let qwenSystem = "You are a helpful assistant."
    static let qwen25System = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    static let smolLM2System = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    /// The date in Llama 3.1's template, and the one in 3.2's where there is no clock.
    private static let llama31Dates = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"

    func write(_ messages: [ChatMessage], _ addPrompt: Bool, bos: String, eos: String) throws -> WrittenChat {
        guard !messages.isEmpty else { throw RetortError.badData("a conversation has no turns") }
        switch self {
        case .chatML(let system): return chatML(messages, system, addPrompt)
        case .qwen25(let system):
            try ChatTurns.check(messages)
            return chatML(messages, system, addPrompt)
        case .chatMLPrompted(let system): return try chatMLPrompted(messages, system)
        case .qwen3(let opens): return try qwen3(messages, addPrompt, opensReasoning: opens)
        case .llama2: return try llama2(messages, bos: bos, eos: eos)
        case .llama3(let begin, let alwaysPrompts):
            return llama3(messages[...], addPrompt || alwaysPrompts, start: begin ?? bos)
        case .llama31: return try llama31(messages, addPrompt, bos: bos)
        case .zephyr: return try zephyr(messages, addPrompt, eos: eos)
        case .deepSeekR1(let opens):
            return try deepSeekR1(messages, addPrompt, bos: bos, opensReasoning: opens)
        case .labelled(let labels): return try labels.write(messages, addPrompt, bos: bos, eos: eos)
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
        let (system, turns) = try ChatTurns.split(messages, default: defaultSystem)
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
        let (system, turns) = try ChatTurns.split(messages)
        try ChatTurns.checkAlternating(turns)
        var chat = WrittenChat()
        for (index, turn) in turns.enumerated() {
            var content = turn.content
            if index == 0, let system { content = "<<SYS>>\n\(system)\n<</SYS>>\n\n\(content)" }
            content = content.stripped
            chat.add(turn.role == "user" ? "\(bos)[INST] \(content) [/INST]" : " \(content) \(eos)", by: turn)
        }
        return chat
    }

    private func llama3(_ messages: ArraySlice<ChatMessage>, _ addPrompt: Bool, start: String) -> WrittenChat {
        var chat = WrittenChat()
        chat.add(start)
        for message in messages {
            chat.add("<|start_header_id|>\(message.role)<|end_header_id|>\n\n")
            chat.add("\(message.content.stripped)<|eot_id|>", by: message)
        }
        if addPrompt { chat.add("<|start_header_id|>assistant<|end_header_id|>\n\n") }
        return chat
    }

    private func llama31(_ messages: [ChatMessage], _ addPrompt: Bool, bos: String) throws -> WrittenChat {
        try ChatTurns.check(messages)
        let hasSystem = messages[0].role == "system"
        let system = Self.llama31Dates + (hasSystem ? messages[0].content.stripped : "")
        return llama3(
            hasSystem ? messages.dropFirst() : messages[...], addPrompt,
            start: "\(bos)<|start_header_id|>system<|end_header_id|>\n\n\(system)<|eot_id|>")
    }

    private func zephyr(_ messages: [ChatMessage], _ addPrompt: Bool, eos: String) throws -> WrittenChat {
        try ChatTurns.check(messages)
        var chat = WrittenChat()
        for message in messages {
            chat.add("<|\(message.role)|>\n")
            chat.add("\(message.content)\(eos)", by: message)
            chat.add("\n")
        }
        if addPrompt { chat.add("<|assistant|>\n") }
        return chat
    }
}
