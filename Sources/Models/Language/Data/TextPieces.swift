import RetortSupport

/// Texts as an encoder reads them: each with the tokenizer's own special tokens round it, long ones in several pieces that have them too.
public enum TextPieces {
    /// - `length`: tokens of a piece at most, special ones included.
    /// - `joined`: all texts are put behind each other first, with the separator between them where the tokenizer has one and no piece ends:
    ///   then every piece but the last is full.
    /// - Returns: pieces in the order of the texts; their tokens are targets but for special ones, those that are written in the text too.
    /// - Throws: `RetortError` 65 for a text that the tokenizer cannot read; 78 for a length that leaves no room for text.
    public static func examples(_ texts: [String], _ tokenizer: Tokenizer, length: Int, joined: Bool) throws
        -> [TokenizedExample]
    {
        let around = try tokenizer.process([Encoding()], true, nil).count
        let room = length - around
        guard room > 0 else {
            throw RetortError.recipe(
                "texts of \(length) tokens", why: "the tokenizer puts \(around) of its own round each",
                help: "give max-length more")
        }
        let special = Set(Tokenizer.roles.compactMap { tokenizer.special($0)?.id })
        var examples: [TokenizedExample] = []
        func add(_ ids: ArraySlice<Int32>) throws {
            let whole = try tokenizer.process([Encoding(ids: Array(ids))], true, nil)
            examples.append(
                TokenizedExample(
                    tokens: whole.ids,
                    isTarget: zip(whole.ids, whole.isSpecial).map { !$1 && !special.contains($0) }))
        }
        let separator = joined ? tokenizer.special("sep")?.id : nil
        // What is not yet a whole piece.
        var stream: [Int32] = []
        for text in texts {
            if StopSignal.isRequested {
                throw RetortError.stopped("stopped while the data were encoded", why: "nothing was trained yet")
            }
            let ids = try tokenizer.encode(text, addSpecialTokens: false).ids
            guard !ids.isEmpty else { continue }
            if joined {
                if !stream.isEmpty, let separator { stream.append(separator) }
                stream += ids
                let whole = stream.count / room * room
                for start in stride(from: 0, to: whole, by: room) { try add(stream[start..<(start + room)]) }
                stream.removeFirst(whole)
            } else {
                for start in stride(from: 0, to: ids.count, by: room) {
                    try add(ids[start..<min(ids.count, start + room)])
                }
            }
        }
        if !stream.isEmpty { try add(stream[...]) }
        return examples
    }
}
