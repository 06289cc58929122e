import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// The same tokens under other ids: whether texts are cut alike, and how they are read.
@Suite("Tokens under other ids")
struct TokenRenumberingTests {
    private static let stories = TokenizerFixtures.folder + "/stories260K"
    private static let texts = [
        "Once upon a time, there was a cat.", "naïve café — 12,345 tokens\n\n  indented", "日本語 and 🙂 emoji",
        " leading space", "x", "",
    ]

    /// stories260K with its tokens in another order, and others.
    private func renumbered(
        _ name: String = "other", extra: [String] = [], added: [String] = [], front: String? = nil
    ) throws -> Tokenizer {
        let folder = try ScratchFolder()
        try RenumberedDirectory.write(
            Self.stories, to: folder.path(name), order: { $0.reversed() + extra + added }, added: added, front: front)
        return try Tokenizer.load(folder.path(name))
    }

    private func agreement(_ bridge: TokenBridge, _ texts: [String]) throws -> TokenAgreement {
        try texts.reduce(TokenAgreement()) {
            try $0 + TokenAgreement(bridge, of: bridge.source.encode($1).ids)
        }
    }

    @Test("the same tokenizer with its tokens in another order: all is the same but the ids")
    func order() throws {
        let (own, other) = (try Tokenizer.load(Self.stories), try renumbered())
        let bridge = try TokenBridge(from: own, to: other)
        #expect(!bridge.isIdentity && bridge.shared.count == 512)
        #expect(bridge.shared.teacherIDs == (0..<512).map { 511 - $0 })
        let found = try agreement(bridge, Self.texts)
        #expect(found.tokens > 60 && found.same == found.tokens && found.difference == nil, "\(found)")
        let renumbering = try TokenRenumbering(bridge)
        #expect(renumbering.isOneToOne && renumbering.knowsAll)
        for text in Self.texts {
            let ids = try own.encode(text).ids
            let read = renumbering.read(ids)
            #expect(try read.tokens == other.encode(text).ids)
            #expect(read.places == ids.indices.map(Int32.init))
        }
    }

    @Test("a token that the other lacks is read as what it writes; one that writes nothing is not read")
    func lacking() throws {
        let own = try renumbered("own", added: ["<|im_start|>", "<|sep|>"])
        let other = try Tokenizer.load(Self.stories)
        let bridge = try TokenBridge(from: own, to: other)
        let texts = ["<|im_start|>user\nHello<|sep|> there", "no marks in this"]
        let found = try agreement(bridge, texts)
        #expect(found.difference == nil && found.same == found.tokens && found.tokens > 10, "\(found)")
        let renumbering = try TokenRenumbering(bridge)
        #expect(!renumbering.knowsAll && !renumbering.isOneToOne && renumbering.shared.count == 512)
        let ids = try own.encode(texts[0]).ids
        let read = renumbering.read(ids)
        #expect(read.tokens.count > ids.count && read.places.count == ids.count)
        // What stands before each place is the same text.
        for (place, end) in zip(ids.indices, read.places) {
            let said = try own.decode(Array(ids[...place]))
            #expect(try other.decode(Array(read.tokens[...Int(end)])) == said, "\(place)")
        }
        // The other way round nothing is lacking.
        let back = try TokenRenumbering(TokenBridge(from: other, to: own))
        #expect(back.knowsAll && back.isOneToOne)

        // A mark of the one's own that writes nothing.
        let silent = try TinyTokenizer.make(
            added: ["<s>", "</s>", "<pad>"], settings: ["eos_token": "</s>", "pad_token": "<pad>"])
        let plain = try TinyTokenizer.make(added: ["<s>"], settings: [:])
        let quiet = try TokenRenumbering(TokenBridge(from: silent, to: plain))
        let marked = quiet.read([302, 97, 301, 98])
        #expect(marked.tokens == [97, 98] && marked.places == [-1, 0, 0, 1])
    }

    @Test("a text begins with what each tokenizer puts in front of it")
    func fronts() throws {
        let own = try Tokenizer.load(Self.stories)
        let other = try renumbered(added: ["<begin>"], front: "<begin>")
        let begin = try #require(other.id(of: "<begin>"))
        let renumbering = try TokenRenumbering(TokenBridge(from: own, to: other))
        #expect(renumbering.knowsAll && !renumbering.isOneToOne)
        let text = "Once upon a time"
        let read = renumbering.read(try own.encode(text).ids)
        #expect(try read.tokens == other.encode(text).ids && read.tokens[0] == begin && read.places[0] == 0)
        // What does not begin so is read as it is.
        let middle = try own.encode(text, addSpecialTokens: false).ids
        #expect(try renumbering.read(middle).tokens == other.encode(text, addSpecialTokens: false).ids)
        #expect(renumbering.read([Int32]()).places.isEmpty)
    }

    @Test("tokenizers that cut texts in different ways are found, with the place")
    func different() throws {
        func difference(_ a: Tokenizer, _ b: Tokenizer, _ texts: [String]) throws -> (String, String)? {
            try agreement(TokenBridge(from: a, to: b), texts).difference.map { ($0.source, $0.target) }
        }
        // The same tokens, merged in another order.
        let one = try TinyTokenizer.make(merges: [("a", "b"), ("b", "c")])
        let two = try TinyTokenizer.make(merges: [("b", "c"), ("a", "b")])
        let found = try #require(try difference(one, two, ["x", "abc"]))
        #expect(found.0 == "'ab|c'" && found.1 == "'a|bc'")
        #expect(try difference(one, two, ["ab bc"]) == nil)
        // A token more: texts that have it are not the same, and both know why.
        let more = try TinyTokenizer.make(merges: [("a", "b"), ("b", "c"), ("ab", "c")])
        let bridge = try TokenBridge(from: more, to: one)
        let counted = try agreement(bridge, ["abcx"])
        #expect(counted.difference == nil && counted.tokens == 2 && counted.same == 1)
        // One that writes another text than it read.
        let (cased, lower) = (
            try Tokenizer.load(TokenizerFixtures.folder + "/llama3"),
            try Tokenizer.load(TokenizerFixtures.folder + "/bert-uncased")
        )
        #expect(try difference(cased, lower, ["the cat Sat"]) != nil)
        // Two that were made from different texts: few tokens are the same, and every place that differs has one that the other lacks.
        let apart = try agreement(TokenBridge(from: Tokenizer.load(Self.stories), to: cased), Self.texts)
        #expect(Double(apart.same) < 0.9 * Double(apart.tokens), "\(apart)")
    }

    @Test(
        "published tokenizers: those of one family agree, those of two do not",
        .enabled(if: TokenizerFixtures.data != nil))
    func published() throws {
        let folder = try #require(TokenizerFixtures.data) + "/tokenizers/"
        let (qwen, gpt) = (try Tokenizer.load(folder + "qwen2"), try Tokenizer.load(folder + "gpt2"))
        let found = try agreement(TokenBridge(from: gpt, to: qwen), Self.texts)
        #expect(found.same < found.tokens, "digits are cut one by one, or by threes")
        let same = try agreement(TokenBridge(from: qwen, to: qwen), Self.texts)
        #expect(same.difference == nil && same.same == same.tokens && same.tokens > 30)
    }
}
