import RetortSupport

/// The three ways to write a conversation.
extension RecordReader {
    /// `messages`.
    func conversation(_ cursor: JSONCursor) throws(RetortError) -> [TextMessage] {
        // What a model may call belongs to its prompt; leaving it out would teach another task.
        if let tools = try cursor.optional("tools"), try !tools.elements().isEmpty {
            throw tools.failure("definitions of tools cannot be written by the chat templates here")
        }
        return try messages(cursor.member(name("messages")))
    }

    /// A list of `{"role": …, "content": …}`.
    func messages(_ cursor: JSONCursor) throws(RetortError) -> [TextMessage] {
        var messages: [TextMessage] = []
        for turn in try cursor.elements() { messages.append(try message(turn)) }
        guard !messages.isEmpty else { throw cursor.failure("it has no messages") }
        return messages
    }

    private func message(_ cursor: JSONCursor) throws(RetortError) -> TextMessage {
        let place = try cursor.member(name("role"))
        let text = try place.string()
        guard let role = TextMessage.Role(rawValue: text) else {
            throw place.failure(
                "there is no role \(text.quoted())",
                help: EditDistance.suggestion(for: text, among: TextMessage.Role.allCases.map(\.rawValue)))
        }
        for key in ["tool_calls", "function_call"] {
            if let call = try cursor.optional(key) {
                throw call.failure("calls of tools cannot be written by the chat templates here")
            }
        }
        let weight = try cursor.optional("weight")?.int(in: 0...1) ?? 1
        return TextMessage(role, try string(cursor, "content"), isLearned: weight == 1)
    }

    /// `instruction`, `input`, `output`: the input is the user's second paragraph.
    func alpaca(_ cursor: JSONCursor) throws(RetortError) -> [TextMessage] {
        var messages: [TextMessage] = []
        if let system = try optionalString(cursor, "system") { messages.append(TextMessage(.system, system)) }
        for turn in try cursor.optional(name("history"))?.elements() ?? [] {
            let pair = try turn.elements()
            guard pair.count == 2 else { throw turn.failure("it must be a question and an answer") }
            messages.append(TextMessage(.user, try pair[0].string()))
            messages.append(TextMessage(.assistant, try pair[1].string()))
        }
        let instruction = try string(cursor, "instruction")
        let input = try optionalString(cursor, "input")
        messages.append(TextMessage(.user, input.map { instruction + "\n\n" + $0 } ?? instruction))
        messages.append(TextMessage(.assistant, try string(cursor, "output")))
        return messages
    }

    private static let speakers: [String: TextMessage.Role] = [
        "human": .user, "user": .user, "gpt": .assistant, "assistant": .assistant, "model": .assistant,
        "system": .system, "tool": .tool, "observation": .tool,
    ]

    /// `conversations`, with `system` in front of them.
    func shareGPT(_ cursor: JSONCursor) throws(RetortError) -> [TextMessage] {
        let turns = try cursor.member(name("conversations"))
        var messages: [TextMessage] = []
        for turn in try turns.elements() { messages.append(try shareGPTTurn(turn)) }
        guard !messages.isEmpty else { throw turns.failure("it has no messages") }
        if let system = try optionalString(cursor, "system") {
            guard messages[0].role != .system else { throw turns.failure("it and the record both have a system turn") }
            messages.insert(TextMessage(.system, system), at: 0)
        }
        return messages
    }

    private func shareGPTTurn(_ cursor: JSONCursor) throws(RetortError) -> TextMessage {
        let place = try cursor.member(name("from"))
        let speaker = try place.string()
        guard let role = Self.speakers[speaker] else {
            throw place.failure(
                "there is no speaker \(speaker.quoted())",
                help: EditDistance.suggestion(for: speaker, among: Self.speakers.keys.sorted()))
        }
        return TextMessage(role, try string(cursor, "value"))
    }

    /// `chosen` or `rejected` beside ShareGPT's turns.
    func shareGPTAnswer(_ cursor: JSONCursor, _ key: String) throws(RetortError) -> TextMessage {
        let place = try cursor.member(name(key))
        let answer = try shareGPTTurn(place)
        guard answer.role == .assistant else { throw place.failure("it must be the assistant's turn") }
        return answer
    }
}
