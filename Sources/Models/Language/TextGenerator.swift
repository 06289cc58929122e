import RetortKernels
import RetortRuntime
import RetortSupport

/// A language model with its tokenizer: text in, text out.
public struct TextGenerator {
    public let model: any LanguageModel
    public let tokenizer: Tokenizer
    /// Tokens that end a text.
    public let ends: Set<Int32>

    /// What came of a prompt.
    public struct Answer: Sendable {
        public let prompt: String
        public let text: String
        public let tokens: [Int32]
        public let finish: TextFinish

        public var json: JSON {
            [
                "prompt": .string(prompt), "text": .string(text), "tokens": .array(tokens.map { .int(Int($0)) }),
                "finish": .string(finish.rawValue),
            ]
        }
    }

    /// - `dtype`: what the model's matrices are stored as, f32 or bf16.
    /// - Throws: `RetortError` 65 or 66 for the directory; 65 where the tokenizer has ids that the model does not know.
    public init(_ folder: String, dtype: DType = .f32, on device: Device) throws {
        try self.init(
            try LanguageModelDirectory.load(folder, on: device, trains: false, dtype: dtype).model,
            try Tokenizer.load(folder), from: folder)
    }

    /// Of a model that is there.
    /// - `folder`: where it comes from: its files say what ends a text.
    /// - Throws: `RetortError` 65 where the tokenizer has ids that the model does not know.
    public init(_ model: any LanguageModel, _ tokenizer: Tokenizer, from folder: String) throws {
        self.model = model
        self.tokenizer = tokenizer
        guard tokenizer.idLimit <= model.vocabulary else {
            throw RetortError.badData(
                "the tokenizer has ids up to \(tokenizer.idLimit - 1), the model \(model.vocabulary) tokens",
                at: .init(file: folder))
        }
        ends = try EndTokens.of(folder, tokenizer, vocabulary: model.vocabulary)
    }

    /// The tokens of a prompt.
    /// - `template`: makes it what the user says, and lets the assistant answer; nil: the text as it is.
    /// - Throws: `RetortError` 65 for a prompt without a token, or one that is longer than the model's context.
    public func prompt(_ text: String, template: ChatTemplate? = nil) throws -> [Int32] {
        let turns = [ChatMessage(role: "user", content: text)]
        let ids = try template.map { try tokenizer.encode(turns, template: $0, addGenerationPrompt: true).ids }
        return try checked(ids ?? tokenizer.encode(text).ids)
    }

    /// - Throws: `RetortError` 65 for a prompt without a token, or one that is longer than the model's context.
    func checked(_ ids: [Int32], at place: RetortError.Location? = nil) throws -> [Int32] {
        guard !ids.isEmpty else {
            throw RetortError.badData(
                "the prompt is empty", at: place, why: "the tokenizer puts no token in front of a text")
        }
        guard ids.count <= model.maxPositions else {
            throw RetortError.badData(
                "the prompt has \(ids.count) tokens, the model \(model.maxPositions) positions", at: place)
        }
        return ids
    }

    /// Continues a text.
    /// - `cacheType`: see `WritingOptions`.
    /// - `onText`: called with each piece as soon as its characters are complete.
    /// - Throws: as `prompt`; `RetortError` 75 when a signal asked to stop.
    public func write(
        _ prompt: String, template: ChatTemplate? = nil, count: Int, sampling: TokenSampling,
        ignoringEnd: Bool = false, cacheType: DType? = nil, onText: (String) throws -> Void = { _ in }
    ) throws -> Answer {
        let ids = try self.prompt(prompt, template: template)
        let opening = try tokenizer.decode(ids, skippingSpecialTokens: true)
        var written: [Int32] = []
        var shown = ""
        let options = WritingOptions(
            count: count, sampling: sampling, ends: ignoringEnd ? [] : ends, cacheType: cacheType,
            vocabulary: tokenizer.idLimit)
        let tokens = try model.generate([ids], options) { _, token in
            written.append(token)
            let text = try continuation(of: opening, ids, written)
            // A character may take several tokens; its beginning decodes to a replacement character.
            guard text.unicodeScalars.last != "\u{FFFD}", let more = text.behind(shown) else { return }
            try onText(more)
            shown = text
        }[0]
        let text = try continuation(of: opening, ids, tokens)
        if let more = text.behind(shown) { try onText(more) }
        return Answer(prompt: prompt, text: text, tokens: tokens, finish: TextFinish(tokens, options))
    }

    /// What new tokens say behind a prompt.
    func text(_ written: [Int32], behind prompt: [Int32]) throws -> String {
        try continuation(of: tokenizer.decode(prompt, skippingSpecialTokens: true), prompt, written)
    }

    /// What new tokens add to a text: decoded with those before, for decoders treat the beginning of a text in their own way.
    private func continuation(of opening: String, _ ids: [Int32], _ written: [Int32]) throws -> String {
        let all = try tokenizer.decode(ids + written, skippingSpecialTokens: true)
        return try all.behind(opening) ?? tokenizer.decode(written, skippingSpecialTokens: true)
    }
}

extension String {
    /// What stands behind a beginning, by bytes: a combining mark may come after the letter it joins; nil for another beginning.
    fileprivate func behind(_ beginning: String) -> String? {
        utf8.starts(with: beginning.utf8) ? String(decoding: utf8.dropFirst(beginning.utf8.count), as: UTF8.self) : nil
    }
}
