import RetortSupport

/// Texts as an encoder reads them: each with the tokenizer's own special tokens round it, long ones in several pieces that have them too.
public enum TextPieces {
    /// A corpus of pieces, made while the texts are read, so that neither are ever all in memory.
    /// - `length`: tokens of a piece at most, special ones included.
    /// - `joined`: all texts are put behind each other first, with the separator between them where the tokenizer has one and no piece ends:
    ///   then every piece but the last is full.
    /// - `texts`: hands on one text after the other.
    /// - Returns: pieces in the order of the texts; their tokens are targets but for special ones, those that are written in the text too.
    /// - Throws: `RetortError` 65 for a text that the tokenizer cannot read and when there is no piece; 73 and 74 when many tokens find no room
    ///   in the folder of temporary files; 75 when a signal asked to stop; 78 for a length that leaves no room for text; what `texts` throws.
    public static func corpus(
        _ tokenizer: Tokenizer, length: Int, joined: Bool,
        _ texts: (_ take: (_ text: String) throws -> Void) throws -> Void
    ) throws -> TokenizedCorpus {
        let around = try tokenizer.process([Encoding()], true, nil).count
        let room = length - around
        guard room > 0 else {
            throw RetortError.recipe(
                "texts of \(length) tokens", why: "the tokenizer puts \(around) of its own round each",
                help: "give max-length more")
        }
        let special = Set(Tokenizer.roles.compactMap { tokenizer.special($0)?.id })
        let builder = CorpusBuilder()
        var count = 0
        func add(_ ids: ArraySlice<Int32>) throws {
            let whole = try tokenizer.process([Encoding(ids: Array(ids))], true, nil)
            let piece = TokenizedExample(
                tokens: whole.ids, isTarget: zip(whole.ids, whole.isSpecial).map { !$1 && !special.contains($0) })
            try builder.add(piece.targetCount > 0 ? .example(piece, isCut: false) : .withoutTarget, record: count)
            count += 1
        }
        let separator = joined ? tokenizer.special("sep")?.id : nil
        // What is not yet a whole piece.
        var stream: [Int32] = []
        try texts { text in
            if StopSignal.isRequested {
                throw RetortError.stopped("stopped while the data were encoded", why: "nothing was trained yet")
            }
            let ids = try tokenizer.encode(text, addSpecialTokens: false).ids
            guard !ids.isEmpty else { return }
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
        return try TokenizedCorpus(builder)
    }
}
