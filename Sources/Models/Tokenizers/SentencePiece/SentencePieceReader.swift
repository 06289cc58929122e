import Foundation
import RetortSupport

/// Makes a tokenizer of a tokenizer.model and the settings beside it, as transformers' `LlamaTokenizer` and `GemmaTokenizer` do.
enum SentencePieceReader {
    private static let llama = "LlamaTokenizer"
    private static let classes = [llama, "GemmaTokenizer"]

    /// - Parameter settings: gets the roles that the model's own pieces have and no file says otherwise.
    /// - Throws: `RetortError` 65, 66.
    static func read(_ path: String, _ directory: String, _ settings: inout TokenizerSettings) throws -> TokenizerParts
    {
        let kind = try VocabularyFiles.kind(settings, among: classes)
        let file = try SentencePieceFile(path)
        try settings.readSpecialTokensMap(in: directory)
        for role in TokenizerSettings.roles where settings.specialTokens[role] == nil {
            settings.specialTokens[role] = file.name(role)
        }
        var parts: TokenizerParts
        switch file.modelType {
        case .bpe:
            let model = try SentencePieceMerges.model(file)
            parts = TokenizerParts(kind: "BPE", model: model, vocabulary: file.vocabulary)
            if SpaceBoundary.isUncrossed(in: file) { parts.preTokenizer = SpaceBoundary() }
        default:
            let model = try UnigramModel(file)
            parts = TokenizerParts(kind: "Unigram", model: model, vocabulary: file.vocabulary)
        }
        parts.normalizer = try normalizer(file, settings, isLlama: kind == llama)
        try VocabularyFiles.addTokens(directory, settings, to: &parts)
        // They are found in the text as it is.
        parts.findAddedTokensUnnormalized()
        parts.postProcessor = try postProcessor(file, settings, parts)
        parts.decoder = SentencePieceDecoder(file, shown: parts.addedTokens.map(\.content))
        return parts
    }

    private static func normalizer(
        _ file: SentencePieceFile, _ settings: TokenizerSettings, isLlama: Bool
    ) throws -> SentencePieceNormalizer {
        var spec = file.normalizer
        let isLegacy = try !isLlama || settings.cursor?.optional("legacy")?.bool() ?? true
        if !isLegacy {
            // The class puts the space in front by itself, once, whatever the model says.
            spec.addsDummyPrefix = try settings.cursor?.optional("add_prefix_space")?.bool() ?? true
        }
        return SentencePieceNormalizer(
            spec: spec, treatsSpaceAsSuffix: file.treatsSpaceAsSuffix, prefixesOnlyBeginning: !isLegacy,
            userDefined: file.userDefined)
    }

    /// `<s> A`, and `</s>` behind it where that is asked for. Without settings a BPE model is taken for a Llama's, a unigram model for none.
    private static func postProcessor(
        _ file: SentencePieceFile, _ settings: TokenizerSettings, _ parts: TokenizerParts
    ) throws -> any PostProcessor {
        let (bos, eos) = (
            try settings.cursor?.optional("add_bos_token"), try settings.cursor?.optional("add_eos_token")
        )
        func ids(_ role: String, _ asked: JSONCursor?, usually: Bool) throws -> [Int32] {
            guard try asked?.bool() ?? usually else { return [] }
            if let content = settings.specialTokens[role],
                let id = parts.addedID(content) ?? parts.vocabulary.find(content)
            {
                return [id]
            }
            if let asked { throw asked.failure("there is no \(role) token to add") }
            return []
        }
        let begin = try ids("bos", bos, usually: settings.tokenizerClass != nil || file.modelType == .bpe)
        let end = try ids("eos", eos, usually: false)
        func pieces(_ text: Int) -> [TemplateProcessing.Piece] {
            let typeID = Int32(text)
            return [.special(begin, typeID: typeID), .text(text, typeID: typeID), .special(end, typeID: typeID)]
        }
        return TemplateProcessing(single: pieces(0), pair: pieces(0) + pieces(1))
    }
}

/// Cuts a text before each `▁` that follows another character: where no piece crosses such a place, what stands on its two sides is merged by
/// itself, and a word met before need not be merged again.
struct SpaceBoundary: PreTokenizer {
    /// Whether no piece has a `▁` behind another character, and `▁` itself is a piece, so that a word never begins unknown.
    static func isUncrossed(in file: SentencePieceFile) -> Bool {
        guard file.normalizer.escapesSpaces, let id = file.vocabulary.find("\u{2581}"),
            file.pieces[Int(id)].type == .normal
        else { return false }
        return file.pieces.allSatisfy { piece in
            Array(piece.text.utf8).withUnsafeBufferPointer { text in
                var isFound = false
                forEachCut(in: text) { _ in isFound = true }
                return !isFound
            }
        }
    }

    func split(_ text: TextSlice, _ emit: (TextSlice) throws -> Void) throws {
        var start = 0
        try Self.forEachCut(in: text.bytes) { cut in
            try emit(text[start..<cut])
            start = cut
        }
        if start < text.bytes.count { try emit(text[start..<text.bytes.count]) }
    }

    @inline(__always)
    private static func forEachCut(in text: Bytes, _ body: (Int) throws -> Void) rethrows {
        var position = 1
        while position + 2 < text.count {
            if isSpace(text, position) {
                if position < 3 || !isSpace(text, position - 3) { try body(position) }
                position += 3
            } else {
                position += 1
            }
        }
    }

    @inline(__always)
    private static func isSpace(_ text: Bytes, _ position: Int) -> Bool {
        text[position] == 0xE2 && text[position + 1] == 0x96 && text[position + 2] == 0x81
    }
}
