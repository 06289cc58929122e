/// An assistant's turn apart: what it thought, between `<think>` and `</think>`, and what it said.
struct ReasoningTurn {
    /// Without the line feeds round it; empty where nothing was thought.
    private(set) var thought = ""
    /// What stands behind the thought, line feeds included; all of a turn without one.
    private(set) var said: String
    private(set) var isCut = false

    static let opening = "<think>\n"

    /// Cut as Qwen3's template does: what is behind the last `</think>` was said, what is in front of the first one, behind the last
    /// `<think>` in there, was thought.
    init(_ content: String) {
        let bytes = Array(content.utf8)
        said = content
        guard let first = Self.place(of: "</think>", in: bytes[...], .first),
            let last = Self.place(of: "</think>", in: bytes[...], .last)
        else { return }
        var head = Self.trimmed(bytes[..<first.lowerBound], left: false)
        if let begin = Self.place(of: "<think>", in: head, .last) { head = head[begin.upperBound...] }
        thought = String(decoding: Self.trimmed(head), as: UTF8.self)
        said = String(decoding: bytes[last.upperBound...], as: UTF8.self)
        isCut = true
    }

    /// Without line feeds in front.
    static func trimmed(_ text: String) -> String {
        String(decoding: trimmed(Array(text.utf8)[...], right: false), as: UTF8.self)
    }

    private enum Which { case first, last }

    private static func place(of mark: String, in bytes: ArraySlice<UInt8>, _ which: Which) -> Range<Int>? {
        let mark = Array(mark.utf8)
        guard bytes.count >= mark.count else { return nil }
        let starts = bytes.startIndex...(bytes.endIndex - mark.count)
        func isThere(_ start: Int) -> Bool { bytes[start..<start + mark.count].elementsEqual(mark) }
        let start = which == .first ? starts.first(where: isThere) : starts.last(where: isThere)
        return start.map { $0..<$0 + mark.count }
    }

    private static func trimmed(
        _ bytes: ArraySlice<UInt8>, left: Bool = true, right: Bool = true
    ) -> ArraySlice<UInt8> {
        var bytes = bytes
        if left { bytes = bytes.drop { $0 == UInt8(ascii: "\n") } }
        while right, bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        return bytes
    }
}

extension ChatFormat {
    /// Reasoning is kept behind the last question alone. The conversation's last turn always has some, perhaps nothing: a model writes the
    /// empty block too, unless the prompt opens it.
    func qwen3(_ messages: [ChatMessage], _ addPrompt: Bool, opensReasoning: Bool) throws -> WrittenChat {
        try ChatTurns.check(messages)
        func isToolAnswer(_ text: String) -> Bool {
            text.utf8.starts(with: "<tool_response>".utf8)
                && text.utf8.reversed().starts(with: "</tool_response>".utf8.reversed())
        }
        let asked = messages.lastIndex { $0.role == "user" && !isToolAnswer($0.content) } ?? messages.count
        var chat = WrittenChat()
        for (index, message) in messages.enumerated() {
            chat.add("<|im_start|>\(message.role)\n")
            var text = message.content
            if message.role == "assistant" {
                let turn = ReasoningTurn(text)
                if index > asked, index == messages.count - 1 || !turn.thought.isEmpty {
                    text = "\(turn.thought)\n</think>\n\n\(ReasoningTurn.trimmed(turn.said))"
                    if opensReasoning { chat.add(ReasoningTurn.opening) } else { text = ReasoningTurn.opening + text }
                } else if turn.isCut {
                    text = ReasoningTurn.trimmed(turn.said)
                }
            }
            chat.add("\(text)<|im_end|>", by: message)
            chat.add("\n")
        }
        if addPrompt { chat.add("<|im_start|>assistant\n\(opensReasoning ? ReasoningTurn.opening : "")") }
        return chat
    }

    /// The last system turn stands in front; reasoning is written nowhere.
    func deepSeekR1(
        _ messages: [ChatMessage], _ addPrompt: Bool, bos: String, opensReasoning: Bool
    ) throws -> WrittenChat {
        try ChatTurns.check(messages)
        var chat = WrittenChat()
        chat.add(bos + (messages.last { $0.role == "system" }?.content ?? ""))
        for message in messages {
            if message.role == "user" { chat.add("<｜User｜>\(message.content)") }
            if message.role == "assistant" {
                chat.add("<｜Assistant｜>")
                chat.add("\(ReasoningTurn(message.content).said)<｜end▁of▁sentence｜>", by: message)
            }
        }
        if addPrompt { chat.add("<｜Assistant｜>\(opensReasoning ? ReasoningTurn.opening : "")") }
        return chat
    }
}
