import Foundation
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Models that SentencePiece has trained (scripts/tokenizers/sentencepiece_fixtures.py), found by their folders.
enum SentencePieceFixtures {
    static let folder = Project.root + "/Tests/Fixtures/sentencepiece"
    static let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted().filter {
        FileManager.default.fileExists(atPath: "\(folder)/\($0)/expected.json")
    }
    static let llamas = names.filter { $0.hasPrefix("llama-") }

    static func rows(_ cursor: JSONCursor) throws -> [[Int32]] {
        try cursor.elements().map(TokenizerFixtures.ids)
    }
}

@Suite("tokenizer.model agrees with SentencePiece")
struct SentencePieceTests {
    @Test("BPE and unigram models", arguments: SentencePieceFixtures.names.filter { !$0.hasPrefix("llama-") })
    func models(_ name: String) throws {
        let folder = SentencePieceFixtures.folder
        let tokenizer = try Tokenizer.load("\(folder)/\(name)")
        #expect(tokenizer.kind == (name.hasPrefix("bpe") ? "BPE" : "Unigram"))
        let texts = try TokenizerFixtures.json(folder + "/texts.json").elements().map { try $0.string() }
        let expected = try TokenizerFixtures.json("\(folder)/\(name)/expected.json")
        let ids = try SentencePieceFixtures.rows(expected.member("ids"))
        let decoded = try expected.member("decoded").elements().map { try $0.string() }
        try #require(texts.count == ids.count && texts.count == decoded.count && texts.count > 70)
        let unknown = tokenizer.special("unk")?.id
        for (index, text) in texts.enumerated() {
            let what = "\(name), text \(index), \(text.quoted())"
            _ = expectSame(try tokenizer.encode(text, addSpecialTokens: false).ids, ids[index], what)
            _ = expectSame(try tokenizer.decode(ids[index].filter { $0 != unknown }), decoded[index], what + " decoded")
        }
    }

    @Test(
        "as LlamaTokenizer: what is put round a text, added tokens, spaces behind them",
        arguments: SentencePieceFixtures.llamas)
    func llama(_ name: String) throws {
        let path = "\(SentencePieceFixtures.folder)/\(name)"
        let tokenizer = try Tokenizer.load(path)
        let expected = try TokenizerFixtures.json(path + "/expected.json")
        let texts = try expected.member("texts").elements().map { try $0.string() }
        let (ids, special) = (
            try SentencePieceFixtures.rows(expected.member("ids")),
            try SentencePieceFixtures.rows(expected.member("special"))
        )
        let skipped = try expected.member("decoded_skip").elements().map { try $0.string() }
        try #require(texts.count == ids.count && texts.count == special.count && texts.count > 70)
        for (index, text) in texts.enumerated() {
            let what = "text \(index), \(text.quoted())"
            _ = expectSame(try tokenizer.encode(text, addSpecialTokens: false).ids, ids[index], what)
            _ = expectSame(try tokenizer.encode(text).ids, special[index], what + " with special tokens")
            _ = expectSame(
                try tokenizer.decode(special[index], skippingSpecialTokens: true), skipped[index], what + " skipped")
        }
        let types = try SentencePieceFixtures.rows(expected.member("pair_types"))
        for (index, pair) in try SentencePieceFixtures.rows(expected.member("pair")).enumerated() {
            let encoding = try tokenizer.encode(texts[index], texts[index + 1])
            _ = expectSame(encoding.ids, pair, "pair \(index)")
            _ = expectSame(encoding.typeIDs, types[index], "type ids of pair \(index)")
        }
        #expect(tokenizer.special("bos")?.id == 1 && tokenizer.special("eos")?.id == 2)
        #expect(tokenizer.special("pad")?.id == 640 && tokenizer.idLimit == 642 && tokenizer.vocabularySize == 642)
    }

    @Test("the fixtures are all there")
    func found() {
        #expect(SentencePieceFixtures.names.count == 11 && SentencePieceFixtures.llamas.count == 2)
    }

    @Test(
        "without settings: roles by the pieces, bos before a text of a BPE model, nothing round one of a unigram model")
    func bare() throws {
        let gemma = try Tokenizer.load(SentencePieceFixtures.folder + "/bpe-gemma/tokenizer.model")
        let roles = Dictionary(
            uniqueKeysWithValues: Tokenizer.roles.compactMap { role in gemma.special(role).map { (role, $0.token) } })
        #expect(roles == ["bos": "<bos>", "eos": "<eos>", "unk": "<unk>", "pad": "<pad>"])
        #expect(try gemma.encode("a").ids == [2] + gemma.encode("a", addSpecialTokens: false).ids)
        #expect(try gemma.decode([2, 1]) == "<bos><eos>" && gemma.decode([2, 1], skippingSpecialTokens: true).isEmpty)
        let t5 = try Tokenizer.load(SentencePieceFixtures.folder + "/unigram-nmt-nfkc")
        #expect(t5.special("bos") == nil && t5.special("eos")?.id == 1)
        #expect(try t5.encode("a").ids == t5.encode("a", addSpecialTokens: false).ids)
    }

    @Test("settings decide: which class, which tokens are put round a text, who has which role")
    func settings() throws {
        let folder = try ScratchFolder()
        let model = SentencePieceFixtures.folder + "/bpe-llama/tokenizer.model"
        try FileManager.default.copyItem(atPath: model, toPath: folder.path("tokenizer.model"))
        func load(_ config: String) throws -> Tokenizer {
            try folder.write(config, to: "tokenizer_config.json")
            return try Tokenizer.load(folder.path)
        }
        let plain = try load("{}").encode("a", addSpecialTokens: false).ids
        #expect(try load(#"{"add_bos_token": false, "add_eos_token": true}"#).encode("a").ids == plain + [2])
        let other = try #require(thrown(RetortError.self) { _ = try load(#"{"tokenizer_class": "T5Tokenizer"}"#) })
        #expect(other.exit == .badData && other.why.contains("T5Tokenizer") && other.help.contains("LlamaTokenizer"))
        let none = try #require(
            thrown(RetortError.self) { _ = try load(#"{"eos_token": "none such", "add_eos_token": true}"#) })
        #expect(none.exit == .badData && none.why.contains("no eos token"))
        // The map fills what the settings leave open.
        try folder.write(#"{"eos_token": {"content": "<0x0A>"}, "pad_token": "</s>"}"#, to: "special_tokens_map.json")
        let mapped = try load(#"{"eos_token": "</s>"}"#)
        #expect(mapped.special("eos")?.id == 2 && mapped.special("pad")?.id == 2)
        #expect(try load("{}").special("eos")?.token == "<0x0A>")
        try folder.write(#"{"<new>": 640}"#, to: "added_tokens.json")
        #expect(try load("{}").encode("a<new>", addSpecialTokens: false).ids == plain + [640])
        // A tokenizer with other settings is another tokenizer.
        let digest = try LanguageModelDirectory.tokenizerDigest(folder.path)
        _ = try load(#"{"add_bos_token": false}"#)
        let changed = try LanguageModelDirectory.tokenizerDigest(folder.path)
        #expect(changed != digest)
        // tokenizer.json counts when both are there, and says all by itself.
        try folder.write(
            #"{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]]}}"#, to: "tokenizer.json")
        #expect(try Tokenizer.load(folder.path).kind == "Unigram")
        let whole = try LanguageModelDirectory.tokenizerDigest(folder.path)
        _ = try load("{}")
        #expect(try LanguageModelDirectory.tokenizerDigest(folder.path) == whole)
    }

    @Test("a long text of one letter, and one in which every place can be crossed")
    func long() throws {
        let tokenizer = try Tokenizer.load(SentencePieceFixtures.folder + "/unigram-bytes")
        let letters = try tokenizer.encode(String(repeating: "z", count: 200_000), addSpecialTokens: false).ids
        #expect(try tokenizer.decode(letters).utf8.count == 200_000)
        // "th" and "h…" overlap everywhere; sums pass the place where they begin anew.
        let text = String(repeating: "thhth th", count: 30_000)
        #expect(try tokenizer.decode(try tokenizer.encode(text, addSpecialTokens: false).ids) == text)
    }
}
