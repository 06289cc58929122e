import RetortData
import RetortSupport

/// Makes examples of records: tokens, and which of them are to be learned.
///
/// An example is written as one text and encoded as one text, so that its tokens are those a model sees when it reads the whole. A token is
/// learned when all of it belongs to an answer: the assistant's content and what ends its turn, a completion and its end. A token that
/// straddles the beginning of an answer is not one that a model could write there, for it is given the prompt's tokens; it is context.
/// Safe to use from several threads.
public struct ExampleEncoder: Sendable {
    /// What became of a record.
    public enum Outcome: Sendable, Equatable {
        case example(TokenizedExample, isCut: Bool)
        /// Left out, as `ExampleOptions.truncation` says.
        case tooLong(tokens: Int)
        /// Nothing of it would be learned, perhaps because that was cut off.
        case withoutTarget
    }

    public let tokenizer: Tokenizer
    public let options: ExampleOptions
    /// nil: conversations are written in the tokenizer's own, prompts and completions as plain text.
    private let template: ChatTemplate?
    /// The tokenizer's own, or why there is none.
    private let own: Result<ChatTemplate, RetortError>
    private let end: Int32?

    /// - `template`: how conversations are written; prompts and completions then are conversations of two turns. nil: conversations in the
    ///   tokenizer's own template, prompts and completions as plain text.
    /// - Throws: `RetortError` 78 for an impossible length, and where examples shall have an end and the tokenizer has no end token.
    public init(
        _ tokenizer: Tokenizer, template: ChatTemplate? = nil, options: ExampleOptions = ExampleOptions()
    ) throws {
        if let length = options.maxLength, length < 2 {
            throw RetortError.recipe("max-length is \(length)", why: "an example needs two tokens, one to learn")
        }
        end = tokenizer.special("eos")?.id
        guard end != nil || !options.appendsEnd else {
            throw RetortError.recipe(
                "the tokenizer has no end token",
                why: "tokenizer_config.json names no eos_token that is in the vocabulary",
                help: "Add it there, or say `appends-end: false`: a model trained so does not learn to stop.")
        }
        self.tokenizer = tokenizer
        self.template = template
        self.options = options
        do {
            own = .success(try tokenizer.chatTemplate())
        } catch let error as RetortError {
            own = .failure(error)
        }
    }

    /// The example of a record.
    /// - Throws: `RetortError` 65, with the record's place, for turns that the template cannot write and for a preference, which is two
    ///   examples (`pair`).
    public func encode(_ record: TextRecord) throws -> Outcome {
        try placed(record) {
            switch record.content {
            case .text(let text): return outcome(try plain(prompt: nil, text).example)
            case .completion(let prompt, let completion):
                guard template != nil else {
                    return outcome(try seamed(record, plain(prompt: prompt, completion)))
                }
                let turns = [TextMessage(.user, prompt), TextMessage(.assistant, completion)]
                return outcome(try seamed(record, chat(turns, learning: 1...)))
            case .prompt: return .withoutTarget
            case .conversation(let turns): return outcome(try seamed(record, chat(turns, learning: 0...)))
            case .preference:
                throw RetortError.badData(
                    "a preference is two examples, and one is asked for",
                    help: "Read the better answers alone as conversations or as prompts with completions.")
            }
        }
    }

    /// The better and the worse example of a preference. What is learned in them is the answer alone, not what the assistant says in the
    /// prompt they share.
    /// - Throws: `RetortError` 65, with the record's place, for another record and for turns that the template cannot write.
    public func pair(_ record: TextRecord) throws -> (chosen: Outcome, rejected: Outcome) {
        try placed(record) {
            guard case .preference(let prompt, let chosen, let rejected) = record.content else {
                throw RetortError.badData("the record is no preference", help: "It needs `chosen` and `rejected`.")
            }
            return (
                outcome(try chat(prompt + chosen, learning: prompt.count...).example),
                outcome(try chat(prompt + rejected, learning: prompt.count...).example)
            )
        }
    }

    /// The tokens that an answer to the record follows: of a conversation all turns before the assistant's last, of a preference and of a
    /// completion the prompt, of a text the whole. Not cut to `maxLength`.
    /// - Throws: `RetortError` 65, with the record's place, for turns that the template cannot write.
    public func prompt(_ record: TextRecord) throws -> [Int32] {
        try placed(record) {
            var turns: [TextMessage]
            switch record.content {
            case .text(let text): return try tokenizer.encode(text).ids
            case .prompt(let prompt), .completion(let prompt, _):
                guard template != nil else { return try tokenizer.encode(prompt + options.separator).ids }
                turns = [TextMessage(.user, prompt)]
            case .conversation(let all): turns = all
            case .preference(let prompt, _, _): turns = prompt
            }
            while turns.last?.role == .assistant { turns.removeLast() }
            return try tokenizer.encode(messages(turns), template: written(), addGenerationPrompt: true).ids
        }
    }

    /// A record that ends where an answer is to begin: the tokens that one follows, none of them learned. nil for a record that has its answer,
    /// and for a text.
    ///
    /// One that is too long is left out unless its beginning may be cut off: a prompt without its end asks something else.
    /// - Throws: `RetortError` 65, with the record's place, for turns that the template cannot write and for a prompt without tokens.
    public func question(_ record: TextRecord) throws -> Outcome? {
        guard record.content.isQuestion else { return nil }
        let tokens = try prompt(record)
        guard !tokens.isEmpty else {
            throw RetortError.badData(
                "the prompt is empty", at: record.place?.location,
                why: "the tokenizer puts no token in front of a text")
        }
        let whole = TokenizedExample(tokens: tokens, isTarget: tokens.map { _ in false })
        guard let limit = options.maxLength, whole.count > limit else { return .example(whole, isCut: false) }
        guard options.truncation == .left else { return .tooLong(tokens: whole.count) }
        return .example(whole.cut(to: limit, from: .left), isCut: true)
    }

    /// Errors of the encoding say which record it was.
    private func placed<Value>(_ record: TextRecord, _ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch var error as RetortError {
            if error.location == nil, error.exit == .badData { error.location = record.place?.location }
            throw error
        }
    }

    private func written() throws -> ChatTemplate { try template ?? own.get() }

    private func messages(_ turns: [TextMessage]) -> [ChatMessage] {
        turns.map { ChatMessage(role: $0.role.rawValue, content: $0.content) }
    }

    /// The example of a record that asks something, which knows what a model is to be given where tokens belong to question and answer both.
    private func seamed(_ record: TextRecord, _ made: (example: TokenizedExample, shared: Int)) throws
        -> TokenizedExample
    {
        var example = made.example
        if made.shared > 0 { example.seam = .init(shared: made.shared, prompt: try prompt(record)) }
        return example
    }

    /// - Parameter learning: the turns of which the assistant's are learned.
    /// - Returns: the example, and how many tokens across the beginning of its last turn, which is an answer to another's.
    private func chat(_ turns: [TextMessage], learning: PartialRangeFrom<Int>) throws -> (
        example: TokenizedExample, shared: Int
    ) {
        let chat = try written().format.write(
            messages(turns), false, bos: tokenizer.special("bos")?.token ?? "",
            eos: tokenizer.special("eos")?.token ?? "")
        let (ids, borders) = try tokenizer.encode(
            chat.text, places: chat.answers.flatMap { [$0.lowerBound, $0.upperBound] })
        if options.targets == .everything {
            return (TokenizedExample(tokens: ids, isTarget: [Bool](repeating: true, count: ids.count)), 0)
        }
        var shared = 0
        var isTarget = [Bool](repeating: false, count: ids.count)
        let answers = turns.indices.filter { turns[$0].role == .assistant }
        for (index, turn) in answers.enumerated() where learning.contains(turn) && turns[turn].isLearned {
            if options.targets == .lastAnswer, index + 1 < answers.count { continue }
            let (start, end) = (borders[2 * index].after, borders[2 * index + 1].before)
            for token in start..<max(start, end) { isTarget[token] = true }
            let isAsked = turn == turns.count - 1 && turn > 0 && turns[turn - 1].role != .assistant
            if isAsked { shared = start - borders[2 * index].before }
        }
        return (TokenizedExample(tokens: ids, isTarget: isTarget), shared)
    }

    /// A prompt and its completion, or a text, with the tokenizer's own special tokens round them.
    /// - Returns: the example, and how many tokens across the beginning of the completion.
    private func plain(prompt: String?, _ text: String) throws -> (example: TokenizedExample, shared: Int) {
        let head = prompt.map { $0 + options.separator } ?? ""
        let (ids, borders) = try tokenizer.encode(head + text, places: [head.utf8.count])
        let whole = try tokenizer.process([Encoding(ids: ids)], true, nil)
        var tokens = whole.ids
        // The tokenizer's own in front of the text, where it has some.
        let front = ids.isEmpty ? 0 : whole.isSpecial.prefix { $0 }.count
        if options.appendsEnd, let end, tokens.last != end { tokens.append(end) }
        let isWhole = prompt == nil || options.targets == .everything
        let first = isWhole ? 0 : front + borders[0].after
        let example = TokenizedExample(tokens: tokens, isTarget: tokens.indices.map { $0 >= first })
        return (example, isWhole ? 0 : borders[0].after - borders[0].before)
    }

    private func outcome(_ example: TokenizedExample) -> Outcome {
        var cut = example
        if let limit = options.maxLength, example.count > limit {
            switch options.truncation {
            case .right: cut = example.cut(to: limit, from: .right)
            case .left: cut = example.cut(to: limit, from: .left)
            case .drop: return .tooLong(tokens: example.count)
            }
        }
        return cut.targetCount > 0 ? .example(cut, isCut: cut.count < example.count) : .withoutTarget
    }
}
