import Foundation
import RetortSupport
import Synchronization

/// Text to token ids and back, as the files of a Hugging Face model directory say it. Safe to use from several threads.
///
///     let tokenizer = try Tokenizer.load("models/gpt2")
///     let ids = try tokenizer.encode("Hello, world!").ids        // [15496, 11, 995, 0]
///     let text = try tokenizer.decode(ids)
public final class Tokenizer: Sendable {
    /// "byte-level BPE", "BPE", "Unigram" or "WordPiece".
    public let kind: String
    /// Tokens, added ones included.
    public let vocabularySize: Int
    /// The largest id + 1: rows that an embedding needs.
    public let idLimit: Int
    /// Tokens that are looked for in the text itself, by id.
    public let addedTokens: [AddedToken]
    /// What the file asks for; `encode` does neither unless told to.
    public let truncation: Truncation?
    public let padding: Padding?

    private let vocabulary: Vocabulary
    private let model: any TokenModel
    private let normalizer: (any Normalizer)?
    private let preTokenizer: (any PreTokenizer)?
    private let postProcessor: any PostProcessor
    private let decoder: (any TokenDecoder)?
    private let settings: TokenizerSettings
    private let addedByID: [Int32: AddedToken]
    /// Of each added token what it is in a decoded text: itself, normalized when it is looked for in normalized text.
    private let addedText: [Int32: [UInt8]]
    private let addedByContent: [ExactKey: Int32]
    /// Looked for before and after normalization.
    let rawTokens: AddedTokenFinder
    private let normalizedTokens: AddedTokenFinder
    private let scratches = Mutex<[EncodingScratch]>([])

    /// Loads a tokenizer: a model directory, or one of its files tokenizer.json, tokenizer.model, vocab.json (merges.txt beside it),
    /// vocab.txt. Of a directory the first of these counts that is there.
    /// - Throws: `RetortError` 65 with file, line and column (tokenizer.model: the byte offset) for damaged files and unknown components, 66 when nothing is there, 69
    ///   when text is split by a pattern and PCRE2 is not installed.
    public static func load(_ path: String) throws -> Tokenizer {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            throw RetortError.missingInput("there is no tokenizer at \(path.quoted(limit: 200))", help: whatThereIs)
        }
        let directory = isDirectory.boolValue ? path : parent(path)
        var parts = try read(isDirectory.boolValue ? try file(in: path) : path, directory)
        // Tokens that only the settings know.
        for token in parts.settings.addedTokens {
            if let place = parts.settings.cursor { try parts.add(token, at: place) }
        }
        return try Tokenizer(parts)
    }

    private static let whatThereIs =
        "give a directory with tokenizer.json, with tokenizer.model, with vocab.json and merges.txt, or with vocab.txt"

    private static func parent(_ path: String) -> String {
        let parent = (path as NSString).deletingLastPathComponent
        return parent.isEmpty ? "." : parent
    }

    private static func file(in directory: String) throws -> String {
        for name in ["tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"] {
            let path = directory + "/" + name
            if FileManager.default.fileExists(atPath: path) { return path }
        }
        throw RetortError.missingInput(
            "there is no tokenizer in \(directory.quoted(limit: 200))", help: whatThereIs)
    }

    private static func read(_ file: String, _ directory: String) throws -> TokenizerParts {
        var settings = try TokenizerSettings(in: directory)
        var parts: TokenizerParts
        if file.hasSuffix("vocab.json") || file.hasSuffix("merges.txt") {
            parts = try VocabularyFiles.readBytePairs(in: directory, settings)
        } else if file.hasSuffix(".model") {
            parts = try SentencePieceReader.read(file, directory, &settings)
        } else if file.hasSuffix(".txt") {
            parts = try VocabularyFiles.readWordPieces(file, directory, settings)
            settings.specialTokens.merge(VocabularyFiles.wordPieceRoles) { own, _ in own }
        } else {
            parts = try TokenizerFile.read(file)
        }
        parts.settings = settings
        return parts
    }

    init(_ parts: TokenizerParts) throws {
        kind = parts.kind
        model = parts.model
        vocabulary = parts.vocabulary
        normalizer = parts.normalizer
        preTokenizer = parts.preTokenizer
        postProcessor = parts.postProcessor
        decoder = parts.decoder
        truncation = parts.truncation
        padding = parts.padding
        settings = parts.settings
        let added = parts.addedTokens.sorted { $0.id < $1.id }
        addedTokens = added
        addedByID = Dictionary(uniqueKeysWithValues: added.map { ($0.id, $0) })
        addedByContent = Dictionary(uniqueKeysWithValues: added.map { (ExactKey($0.content), $0.id) })
        let vocabulary = parts.vocabulary
        vocabularySize = vocabulary.count + added.count { vocabulary.bytes($0.id) == nil }
        idLimit = max(vocabulary.idLimit, Int(added.last?.id ?? -1) + 1)
        let raw = added.filter { !$0.isNormalized }
        rawTokens = AddedTokenFinder(raw, texts: raw.map { Array($0.content.utf8) })
        let normalized = added.filter(\.isNormalized)
        let texts = try normalized.map { token in
            var text = Array(token.content.utf8)
            try parts.normalizer?.normalize(&text)
            return text
        }
        normalizedTokens = AddedTokenFinder(normalized, texts: texts)
        var addedText = Dictionary(uniqueKeysWithValues: raw.map { ($0.id, Array($0.content.utf8)) })
        for (token, text) in zip(normalized, texts) { addedText[token.id] = text }
        self.addedText = addedText
    }

    /// The id of a token, exactly as the vocabulary writes it ("Ġthe"); nil when there is none.
    public func id(of token: String) -> Int32? {
        addedByContent[ExactKey(token)] ?? vocabulary.find(token)
    }

    /// The token of an id, as the vocabulary writes it; nil when there is none.
    public func token(_ id: Int32) -> String? {
        addedText[id].map { String(decoding: $0, as: UTF8.self) } ?? vocabulary.string(id)
    }

    /// The roles a token can have.
    public static let roles = TokenizerSettings.roles

    /// The token that has a role (`bos`, `eos`, `unk`, `pad`, `cls`, `sep`, `mask`) in tokenizer_config.json; nil when none has or it is
    /// not in the vocabulary.
    public func special(_ role: String) -> (token: String, id: Int32)? {
        guard let token = settings.specialTokens[role], let id = id(of: token) else { return nil }
        return (token, id)
    }

    /// True when the files bring a chat template, known or not.
    public var hasChatTemplate: Bool { settings.chatTemplate != nil }

    /// The chat template of tokenizer_config.json or chat_template.jinja, recognized.
    /// - Throws: `RetortError` 65 when there is none, or it is none that this program knows.
    public func chatTemplate() throws -> ChatTemplate {
        guard let text = settings.chatTemplate else {
            throw RetortError.badData(
                "the tokenizer has no chat template", at: settings.cursor?.location,
                help: "name one, \(ChatTemplate.naming): \(ChatTemplate.names.joined(separator: ", "))")
        }
        return try ChatTemplate.recognize(text, in: settings.cursor)
    }

    /// The ids of a text.
    /// - `addSpecialTokens`: let the post-processor add its own ([CLS], `<s>`, …). Special tokens written in the text are recognized either way.
    /// - `truncation`: cut to a length.
    /// - Throws: `RetortError` 65 when a pattern exceeds its limits on this text or it is too long.
    public func encode(
        _ text: String, addSpecialTokens: Bool = true, truncation: Truncation? = nil
    ) throws -> Encoding {
        try process([Encoding(ids: ids(of: text))], addSpecialTokens, truncation)
    }

    /// The ids of a pair of texts, in one sequence.
    public func encode(
        _ first: String, _ second: String, addSpecialTokens: Bool = true, truncation: Truncation? = nil
    ) throws -> Encoding {
        try process(
            [Encoding(ids: ids(of: first)), Encoding(ids: ids(of: second), typeID: 1)], addSpecialTokens, truncation)
    }

    /// The ids of several texts, filled up to one length when `padding` says so.
    public func encode(
        _ texts: [String], addSpecialTokens: Bool = true, truncation: Truncation? = nil, padding: Padding? = nil
    ) throws -> [Encoding] {
        var encodings = try texts.map { try encode($0, addSpecialTokens: addSpecialTokens, truncation: truncation) }
        padding?.apply(to: &encodings)
        return encodings
    }

    /// The text of ids.
    /// - `skippingSpecialTokens`: leaves out added tokens that are special.
    /// - Throws: `RetortError` 65 for an id that no token has.
    public func decode(_ ids: [Int32], skippingSpecialTokens: Bool = false) throws -> String {
        var tokens: [[UInt8]] = []
        tokens.reserveCapacity(ids.count)
        for id in ids {
            if let added = addedByID[id], let text = addedText[id] {
                if !added.isSpecial || !skippingSpecialTokens { tokens.append(text) }
            } else if let token = vocabulary.bytes(id) {
                tokens.append(Array(token))
            } else {
                throw RetortError.badData(
                    "no token has the id \(id)", why: "the tokenizer's ids go from 0 to \(idLimit - 1)")
            }
        }
        guard let decoder else { return tokens.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ") }
        return String(decoding: try decoder.decode(tokens).flatMap { $0 }, as: UTF8.self)
    }

    func process(_ parts: [Encoding], _ addSpecialTokens: Bool, _ truncation: Truncation?) throws -> Encoding {
        var parts = parts
        try truncation?.apply(
            to: &parts, added: addSpecialTokens ? postProcessor.addedTokens(isPair: parts.count == 2) : 0)
        let processed = postProcessor.process(parts, addsSpecialTokens: addSpecialTokens)
        guard processed.count != 1 else { return processed[0] }
        return processed.reduce(Encoding()) { $0 + $1 }
    }

    private func ids(of text: String) throws -> [Int32] {
        try withScratch(text) { bytes, scratch in
            var ids: [Int32] = []
            ids.reserveCapacity(bytes.count / 3 + 8)
            try rawTokens.forEachPart(of: bytes) { part in
                switch part {
                case .token(let id, _): ids.append(id)
                case .text(let range):
                    try append(TextSlice(bytes: bytes, beginsText: true)[range], to: &ids, scratch)
                }
            }
            return ids
        }
    }

    /// Lends `body` the text's bytes and what encoding works in.
    /// - Throws: `RetortError` 65 for a text that is too long; what `body` throws.
    func withScratch<Value>(_ text: String, _ body: (Bytes, EncodingScratch) throws -> Value) throws -> Value {
        var text = text
        return try text.withUTF8 { bytes in
            guard bytes.count <= TokenizerLimit.textBytes else {
                throw RetortError.badData(
                    "a text is too long to encode at once",
                    why:
                        "it has \(NumberFormat.bytes(bytes.count)); the limit is \(NumberFormat.bytes(TokenizerLimit.textBytes))"
                )
            }
            let scratch = scratches.withLock { $0.popLast() } ?? EncodingScratch()
            defer { scratches.withLock { $0.append(scratch) } }
            return try body(bytes, scratch)
        }
    }

    /// Appends the ids of a text in which `rawTokens` were not found.
    func append(_ text: TextSlice, to ids: inout [Int32], _ scratch: EncodingScratch) throws {
        try normalize(text) { try appendParts($0, to: &ids, scratch) }
    }

    private func normalize(_ text: TextSlice, _ body: (TextSlice) throws -> Void) throws {
        guard let normalizer else { return try body(text) }
        var normalized = Array(text.bytes)
        try normalizer.normalize(&normalized, beginsText: text.beginsText)
        try normalized.withUnsafeBufferPointer { try body(TextSlice(bytes: $0, beginsText: text.beginsText)) }
    }

    private func appendParts(_ text: TextSlice, to ids: inout [Int32], _ scratch: EncodingScratch) throws {
        guard !normalizedTokens.isEmpty else { return try appendWords(text, to: &ids, scratch) }
        try normalizedTokens.forEachPart(of: text.bytes) { part in
            switch part {
            case .token(let id, _): ids.append(id)
            case .text(let range): try appendWords(text[range], to: &ids, scratch)
            }
        }
    }

    private func appendWords(_ text: TextSlice, to ids: inout [Int32], _ scratch: EncodingScratch) throws {
        // A normalizer may have left nothing, in front of which no pre-tokenizer puts a space.
        guard !text.bytes.isEmpty else { return }
        guard let preTokenizer else { return try appendWord(text.bytes, to: &ids, scratch) }
        try preTokenizer.split(text) { try appendWord($0.bytes, to: &ids, scratch) }
    }

    @inline(__always)
    private func appendWord(_ word: Bytes, to ids: inout [Int32], _ scratch: EncodingScratch) throws {
        guard !word.isEmpty else { return }
        guard word.count <= WordCache.longestWord else { return try model.append(word, to: &ids, &scratch.model) }
        let hash = ByteHash.hash(word)
        if scratch.cache.append(word, hash: hash, to: &ids) { return }
        let start = ids.count
        try model.append(word, to: &ids, &scratch.model)
        scratch.cache.insert(word, hash: hash, ids: ids[start...])
    }
}

/// What encoding remembers and works in. Used by one thread at a time, the one that took it from the tokenizer's pool.
final class EncodingScratch: @unchecked Sendable {
    fileprivate let cache = WordCache()
    fileprivate var model = ModelScratch()
}
