import Foundation
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

@Suite("tokenizers agree with the reference implementation")
struct TokenizerTests {
    @Test("small tokenizers of every kind", arguments: TokenizerFixtures.names)
    func small(_ name: String) throws {
        let tokenizer = try Tokenizer.load("\(TokenizerFixtures.folder)/\(name)")
        let expected = try TokenizerFixtures.json("\(TokenizerFixtures.folder)/\(name)/expected.json")
        let texts = try TokenizerFixtures.texts()
        func rows(_ key: String) throws -> [JSONCursor] { try expected.member(key).elements() }
        let (ids, special) = (try rows("ids"), try rows("special"))
        let (decoded, skipped) = (try rows("decoded"), try rows("decoded_skip"))
        try #require(texts.count == ids.count && texts.count > 40)
        for (index, text) in texts.enumerated() {
            let what = "text \(index), \(text.quoted())"
            let wanted = try TokenizerFixtures.ids(ids[index])
            guard expectSame(try tokenizer.encode(text, addSpecialTokens: false).ids, wanted, what) else { continue }
            let wantedSpecial = try TokenizerFixtures.ids(special[index])
            _ = expectSame(try tokenizer.encode(text).ids, wantedSpecial, what + " with special tokens")
            _ = expectSame(try tokenizer.decode(wanted), try decoded[index].string(), what + " decoded")
            _ = expectSame(
                try tokenizer.decode(wantedSpecial, skippingSpecialTokens: true), try skipped[index].string(),
                what + " skipped")
        }
        let (pairs, types) = (try rows("pair"), try rows("pair_types"))
        for index in pairs.indices {
            let encoding = try tokenizer.encode(texts[index], texts[index + 1])
            _ = expectSame(encoding.ids, try TokenizerFixtures.ids(pairs[index]), "pair \(index)")
            _ = expectSame(encoding.typeIDs, try TokenizerFixtures.ids(types[index]), "type ids of pair \(index)")
        }
    }

    @Test("a trained Llama's, 200 texts")
    func stories260K() throws {
        try compare("stories260K", with: TokenizerFixtures.folder + "/stories260K")
    }

    @Test(
        "published vocabularies, 200 texts each", .enabled(if: TokenizerFixtures.data != nil, "RETORT_DATA is not set"),
        arguments: [
            ("gpt2", "gpt2/tokenizer.json"), ("gpt2", "gpt2/vocab.json"), ("qwen2", "qwen2/tokenizer.json"),
            ("qwen2", "qwen2/vocab.json"), ("bert-base-uncased", "bert-base-uncased/tokenizer.json"),
            ("bert-base-uncased", "bert-base-uncased/vocab.txt"),
        ])
    func published(_ name: String, _ file: String) throws {
        try compare(name, with: try #require(TokenizerFixtures.data) + "/tokenizers/" + file)
    }

    private func compare(_ name: String, with path: String) throws {
        let tokenizer = try Tokenizer.load(path)
        let golden = try TokenizerFixtures.json(Project.golden("tokenizers/\(name).json"))
        #expect(tokenizer.vocabularySize >= (try golden.member("vocab_size").int()))
        let cases = try golden.member("cases").elements()
        try #require(cases.count == 200)
        for (index, entry) in cases.enumerated() {
            let text = try entry.member("text").string()
            let what = "case \(index), \(text.quoted())"
            let ids = try TokenizerFixtures.ids(entry.member("ids"))
            guard expectSame(try tokenizer.encode(text, addSpecialTokens: false).ids, ids, what) else { continue }
            let special = try entry.optional("ids_special").map(TokenizerFixtures.ids) ?? ids
            _ = expectSame(try tokenizer.encode(text).ids, special, what + " with special tokens")
            _ = expectSame(try tokenizer.decode(ids), try entry.member("decoded").string(), what + " decoded")
        }
    }

    @Test("normalization is that of Unicode 9: later marks stay where they are")
    func normalization() throws {
        func normalized(_ text: String, _ form: UnicodeNormalizer.Form) throws -> [UInt32] {
            var bytes = Array(text.utf8)
            try UnicodeNormalizer(form: form).normalize(&bytes)
            return String(decoding: bytes, as: UTF8.self).unicodeScalars.map(\.value)
        }
        // U+0323 (class 220) goes before U+0301 (230); U+10F50 (220, of Unicode 11) does not go before U+A677 (230).
        #expect(try normalized("a\u{301}\u{323}", .nfc) == [0x1EA1, 0x301])
        #expect(try normalized("a\u{301}\u{10F50}\u{323}", .nfd) == [0x61, 0x301, 0x10F50, 0x323])
        #expect(try normalized("\u{A677}\u{10F50}", .nfc) == [0xA677, 0x10F50])
        #expect(try normalized("x\u{FB01}\u{2460}y", .nfkc) == [0x78, 0x66, 0x69, 0x31, 0x79])
        #expect(try normalized("a\u{34C}\u{F75}", .nfc) == [0x61, 0xF71, 0xF74, 0x34C])
        #expect(try normalized("\u{AC01}", .nfkd) == [0x1100, 0x1161, 0x11A8])
    }

    @Test("what is remembered changes nothing; threads do not disturb each other")
    func repeated() async throws {
        let tokenizer = try Tokenizer.load(TokenizerFixtures.folder + "/llama3")
        let texts = try TokenizerFixtures.texts()
        let first = try texts.map { try tokenizer.encode($0).ids }
        let again = try await withThrowingTaskGroup(of: [[Int32]].self) { group in
            for _ in 0..<4 { group.addTask { try texts.map { try tokenizer.encode($0).ids } } }
            return try await group.reduce(into: [[[Int32]]]()) { $0.append($1) }
        }
        #expect(again.count == 4 && again.allSatisfy { $0 == first })
        // More different words than the cache keeps.
        let words = (0..<120_000).map { "w\($0)" }
        let joined = try tokenizer.encode(words.joined(separator: " "), addSpecialTokens: false).ids
        let fresh = try Tokenizer.load(TokenizerFixtures.folder + "/llama3")
        let parts = try words.enumerated().flatMap {
            try fresh.encode(($0.offset == 0 ? "" : " ") + $0.element, addSpecialTokens: false).ids
        }
        #expect(joined == parts)
    }

    @Test("vocabulary, special tokens, sizes")
    func lookups() throws {
        let tokenizer = try Tokenizer.load(TokenizerFixtures.folder + "/stories260K")
        #expect(tokenizer.kind == "BPE" && tokenizer.vocabularySize == 512 && tokenizer.idLimit == 512)
        #expect(tokenizer.id(of: "<s>") == 1 && tokenizer.token(2) == "</s>" && tokenizer.id(of: "none such") == nil)
        #expect(tokenizer.token(512) == nil && tokenizer.token(-1) == nil)
        #expect(
            tokenizer.special("bos")?.id == 1 && tokenizer.special("eos")?.token == "</s>"
                && tokenizer.special("pad") == nil)
        #expect(tokenizer.addedTokens.map(\.content) == ["<unk>", "<s>", "</s>"])
        let error = try #require(thrown(RetortError.self) { _ = try tokenizer.decode([1, 512]) })
        #expect(error.exit == .badData && error.what == "no token has the id 512")
    }
}
