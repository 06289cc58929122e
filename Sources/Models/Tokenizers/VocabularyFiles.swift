import Foundation
import RetortSupport

/// Reads the files older models have in place of tokenizer.json: vocab.json with merges.txt, or vocab.txt. What they leave open
/// (how text is split) is settled by `tokenizer_class` in tokenizer_config.json.
enum VocabularyFiles {
    private static let bytePairClasses = ["GPT2Tokenizer", "RobertaTokenizer", "Qwen2Tokenizer"]
    private static let wordPieceClasses = ["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"]

    /// BERT's special tokens, where the settings name no others.
    static let wordPieceRoles = [
        "pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]",
    ]

    /// Qwen2's splitting into words.
    private static let qwen2Words =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    /// - Throws: `RetortError` 65, 66.
    static func readBytePairs(in directory: String, _ settings: TokenizerSettings) throws -> TokenizerParts {
        let kind = try kind(settings, among: bytePairClasses)
        let model = try BytePairReader.read(vocabulary: directory + "/vocab.json", merges: directory + "/merges.txt")
        var parts = TokenizerParts(kind: "byte-level BPE", model: model, vocabulary: model.vocabulary)
        parts.decoder = ByteLevelDecoder()
        if kind == "Qwen2Tokenizer" {
            parts.normalizer = UnicodeNormalizer(form: .nfc)
            parts.preTokenizer = PreTokenizerSequence(parts: [
                MatchSplit(matcher: try Pattern(qwen2Words, at: nil), behavior: .isolated),
                ByteLevelPreTokenizer(addsPrefixSpace: settings.addsPrefixSpace, pattern: nil, spells: false),
            ])
        } else {
            parts.preTokenizer = ByteLevelPreTokenizer(
                addsPrefixSpace: settings.addsPrefixSpace, pattern: try Pattern(ByteLevelPreTokenizer.words, at: nil),
                spells: false)
        }
        try addTokens(directory, settings, to: &parts)
        if kind == "RobertaTokenizer" {
            parts.postProcessor = TemplateProcessing.roberta(
                cls: try id("cls", "<s>", parts, settings), sep: try id("sep", "</s>", parts, settings))
        }
        return parts
    }

    /// - Throws: `RetortError` 65, 66.
    static func readWordPieces(_ path: String, _ directory: String, _ settings: TokenizerSettings) throws
        -> TokenizerParts
    {
        _ = try kind(settings, among: wordPieceClasses)
        let vocabulary = try VocabularyReader.readLines(path)
        let place = JSONCursor(.null, file: path)
        let unknown = settings.specialTokens["unk"] ?? "[UNK]"
        guard let unknownID = vocabulary.find(unknown) else {
            throw place.failure("the unknown token \(unknown.quoted()) is not in it")
        }
        guard let model = WordPieceModel(vocabulary, unknown: unknownID, prefix: "##", longestWord: 100) else {
            throw place.failure("its tokens have more than 8 MiB together, the limit")
        }
        var parts = TokenizerParts(kind: "WordPiece", model: model, vocabulary: vocabulary)
        parts.normalizer = BertNormalizer(
            cleansText: true, separatesIdeographs: settings.separatesIdeographs,
            stripsAccents: settings.stripsAccents ?? settings.lowercases, lowercases: settings.lowercases)
        parts.preTokenizer = BertSplit()
        parts.decoder = WordPieceDecoder(prefix: Array("##".utf8), cleansUp: true)
        try addTokens(directory, settings, to: &parts)
        for (role, name) in wordPieceRoles {
            let content = settings.specialTokens[role] ?? name
            if let id = vocabulary.find(content) { try parts.add(AddedToken(id: id, content: content), at: place) }
        }
        parts.postProcessor = TemplateProcessing.bert(
            cls: try id("cls", "[CLS]", parts, settings), sep: try id("sep", "[SEP]", parts, settings))
        return parts
    }

    /// The class the settings name, without "Fast"; the first of `known` when they name none.
    static func kind(_ settings: TokenizerSettings, among known: [String]) throws -> String {
        guard let name = settings.tokenizerClass, let cursor = settings.cursor else { return known[0] }
        let plain = name.hasSuffix("Fast") ? String(name.dropLast(4)) : name
        guard known.contains(plain) else {
            throw try cursor.member("tokenizer_class").failure(
                "how \(name.quoted()) splits text is not known",
                help: "give a tokenizer.json, which says it; known are \(known.joined(separator: ", "))")
        }
        return plain
    }

    /// added_tokens.json, `added_tokens_decoder`, and the tokens that have a role.
    static func addTokens(_ directory: String, _ settings: TokenizerSettings, to parts: inout TokenizerParts) throws {
        let place = settings.cursor ?? JSONCursor(.null, file: directory)
        for token in settings.addedTokens { try parts.add(token, at: place) }
        let path = directory + "/added_tokens.json"
        if FileManager.default.fileExists(atPath: path) {
            let cursor = try JSONCursor.read(
                path, limits: .init(bytes: TokenizerLimit.configBytes, depth: 4, values: 1 << 16))
            let roles = Set(settings.specialTokens.values.map { ExactKey($0) })
            for (content, id) in try cursor.members() {
                let isSpecial = roles.contains(ExactKey(content))
                guard content.utf8.count <= AddedToken.longest else { throw id.failure("its token is too long") }
                try parts.add(
                    AddedToken(
                        id: Int32(try id.int(in: 0...Vocabulary.Limit.size - 1)), content: content,
                        isNormalized: !isSpecial,
                        isSpecial: isSpecial), at: id)
            }
        }
        for role in TokenizerSettings.roles {
            guard let content = settings.specialTokens[role], let id = parts.vocabulary.find(content) else { continue }
            try parts.add(AddedToken(id: id, content: content), at: place)
        }
    }

    private static func id(
        _ role: String, _ usual: String, _ parts: TokenizerParts, _ settings: TokenizerSettings
    ) throws -> Int32 {
        let content = settings.specialTokens[role] ?? usual
        guard let id = parts.addedID(content) ?? parts.vocabulary.find(content) else {
            throw RetortError.badData(
                "the \(role) token \(content.quoted()) is not in the vocabulary",
                at: settings.cursor?.location)
        }
        return id
    }
}
