import RetortSupport

extension RecordReader {
    /// `prompt`, `chosen`, `rejected`. Answers that are lists of messages may begin with the prompt, which may then be missing.
    func preference(_ cursor: JSONCursor) throws(RetortError) -> TextRecord.Content {
        let (chosen, rejected) = (try cursor.member(name("chosen")), try cursor.member(name("rejected")))
        let prompt = try cursor.optional(name("prompt"))
        if case .string = chosen.value {
            guard let prompt else { throw try cursor.member(name("prompt")).failure("it is null") }
            return .preference(
                prompt: try turns(prompt, .user), chosen: [TextMessage(.assistant, try chosen.string())],
                rejected: [TextMessage(.assistant, try rejected.string())])
        }
        var (better, worse) = (try messages(chosen), try messages(rejected))
        let opening = try prompt.map { (prompt) throws(RetortError) in try turns(prompt, .user) }
        let shared = opening ?? zip(better, worse).prefix { $0 == $1 }.map(\.0)
        for (place, isBetter) in [(chosen, true), (rejected, false)] {
            var answer = isBetter ? better : worse
            if answer.starts(with: shared) { answer.removeFirst(shared.count) }
            guard answer.first?.role == .assistant, !shared.isEmpty else {
                throw place.failure(
                    "it is not an answer to the prompt",
                    help: "It must be the assistant's turns, or the prompt's messages and then the assistant's.")
            }
            if isBetter { better = answer } else { worse = answer }
        }
        return .preference(prompt: shared, chosen: better, rejected: worse)
    }

    /// A string, said by `role`, or messages.
    private func turns(_ cursor: JSONCursor, _ role: TextMessage.Role) throws(RetortError) -> [TextMessage] {
        if case .string(let text) = cursor.value { return [TextMessage(role, text)] }
        return try messages(cursor)
    }
}
