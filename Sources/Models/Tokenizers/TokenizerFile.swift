import RetortSupport

/// Reads tokenizer.json.
enum TokenizerFile {
    private static let modelTypes = ["BPE", "Unigram", "WordPiece"]
    /// Added tokens of one file.
    private static let mostAddedTokens = 1 << 16

    /// - Throws: `RetortError` 65 with the place for anything unknown or damaged, 66 when it is not there, 69 when it needs PCRE2 and
    ///   that is missing.
    static func read(_ path: String) throws -> TokenizerParts {
        let cursor = try JSONCursor.read(path, limits: .init(bytes: TokenizerLimit.fileBytes))
        try cursor.expectKeys([
            "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
            "decoder", "model",
        ])
        if let version = try cursor.optional("version"), try version.string() != "1.0" {
            throw version.failure("this program reads version 1.0")
        }
        var preTokenizer = try cursor.optional("pre_tokenizer").map(PreTokenizerReader.read)
        var parts = try model(cursor.member("model"), &preTokenizer)
        parts.preTokenizer = preTokenizer
        parts.normalizer = try cursor.optional("normalizer").map(NormalizerReader.read)
        parts.decoder = try cursor.optional("decoder").map(DecoderReader.read)
        parts.truncation = try cursor.optional("truncation").map(Truncation.init)
        parts.padding = try cursor.optional("padding").map(Padding.init)
        try addTokens(cursor.optional("added_tokens"), to: &parts)
        if let processor = try cursor.optional("post_processor") {
            parts.postProcessor = try PostProcessorReader.read(processor)
            if let id = parts.postProcessor.ids.first(where: { !parts.isKnown($0) }) {
                throw processor.failure("it adds the id \(id), which no token has")
            }
        }
        return parts
    }

    private static func model(_ cursor: JSONCursor, _ preTokenizer: inout (any PreTokenizer)?) throws -> TokenizerParts
    {
        switch try type(cursor) {
        case "BPE":
            let unspelled = preTokenizer.flatMap(unspelled)
            let (model, readsBytes) = try BytePairReader.read(cursor, spelledInBytes: unspelled != nil)
            if readsBytes { preTokenizer = unspelled }
            return TokenizerParts(
                kind: unspelled == nil ? "BPE" : "byte-level BPE", model: model, vocabulary: model.vocabulary)
        case "Unigram":
            let model = try UnigramModel(cursor)
            return TokenizerParts(kind: "Unigram", model: model, vocabulary: model.vocabulary)
        default:
            let model = try WordPieceModel(cursor)
            return TokenizerParts(kind: "WordPiece", model: model, vocabulary: model.vocabulary)
        }
    }

    /// Old files leave the type out.
    private static func type(_ cursor: JSONCursor) throws -> String {
        guard let type = try cursor.optional("type") else {
            return try cursor.optional("merges") != nil ? "BPE" : "WordPiece"
        }
        let name = try type.string()
        guard modelTypes.contains(name) else {
            throw type.failure(
                "the model \(name.quoted()) is not known", help: EditDistance.suggestion(for: name, among: modelTypes))
        }
        return name
    }

    /// The same pre-tokenizer without the spelling in the byte alphabet at its end; nil when it does not end with that.
    private static func unspelled(_ preTokenizer: any PreTokenizer) -> (any PreTokenizer)? {
        if var byteLevel = preTokenizer as? ByteLevelPreTokenizer {
            byteLevel.spells = false
            return byteLevel
        }
        guard let sequence = preTokenizer as? PreTokenizerSequence, let last = sequence.parts.last,
            let bare = unspelled(last)
        else {
            return nil
        }
        return PreTokenizerSequence(parts: sequence.parts.dropLast() + [bare])
    }

    private static func addTokens(_ cursor: JSONCursor?, to parts: inout TokenizerParts) throws {
        guard let cursor else { return }
        let elements = try cursor.elements()
        guard elements.count <= mostAddedTokens else {
            throw cursor.failure("it has more than \(mostAddedTokens) tokens, the limit")
        }
        var seen = Set<Int32>()
        for element in elements {
            let id = Int32(try element.member("id").int(in: 0...Vocabulary.Limit.size - 1))
            guard seen.insert(id).inserted else { throw element.failure("the id \(id) is there already") }
            try parts.add(AddedTokenReader.read(element, id: id), at: element)
        }
    }
}
