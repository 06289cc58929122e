import RetortSupport

/// What chat formats ask of a conversation's turns.
enum ChatTurns {
    /// The system turn, at the beginning if anywhere, and the others, of user and assistant.
    static func split(
        _ messages: [ChatMessage], default system: String? = nil
    ) throws -> (system: String?, turns: ArraySlice<ChatMessage>) {
        let hasSystem = messages[0].role == "system"
        let turns = hasSystem ? messages.dropFirst() : messages[...]
        for turn in turns { try check(turn, among: ["user", "assistant"], why: ", and system in front") }
        return (hasSystem ? messages[0].content : system, turns)
    }

    static func check(_ message: ChatMessage, among roles: [String], why: String = "") throws {
        guard roles.contains(message.role) else {
            throw RetortError.badData(
                "the chat template has no place for the role \(message.role.quoted()) here",
                why: "it writes \(roles.joined(separator: ", "))\(why)")
        }
    }

    /// Turns of system, user and assistant, in any order.
    static func check(_ messages: [ChatMessage]) throws {
        for message in messages { try check(message, among: ["system", "user", "assistant"]) }
    }

    static func checkAlternating(_ turns: ArraySlice<ChatMessage>) throws {
        guard !turns.isEmpty else {
            throw RetortError.badData(
                "the conversation is a system turn alone", why: "the chat template writes it into the user's")
        }
        for (index, turn) in turns.enumerated() where (turn.role == "user") != (index % 2 == 0) {
            throw RetortError.badData(
                "the turns do not alternate", why: "the chat template writes user, assistant, user, assistant, …")
        }
    }
}

extension String {
    /// Without the white space at both ends, as Python's `strip`.
    var stripped: String {
        let scalars = Array(unicodeScalars)
        func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar.isSpace || (0x1C...0x1F).contains(scalar.value) }
        guard let first = scalars.firstIndex(where: { !isSpace($0) }),
            let last = scalars.lastIndex(where: { !isSpace($0) })
        else { return "" }
        return String(String.UnicodeScalarView(scalars[first...last]))
    }
}
