import RetortModels
import RetortSupport
import TestSupport
import Testing

/// Texts in the tokens of two tokenizers.
@Suite("Token bridges")
struct TokenBridgeTests {
    private func group(_ source: Range<Int>, _ target: Range<Int>) -> TokenBridge.Group {
        TokenBridge.Group(source: source, target: target)
    }

    @Test("groups end where both tokenizers have a border; tokens that write nothing are in none")
    func groups() throws {
        let joined = try TinyTokenizer.make(merges: [("a", "b"), ("ab", "c"), ("d", "e")])
        let other = try TinyTokenizer.make(merges: [("b", "c"), ("e", "f")])
        let bridge = try TokenBridge(from: joined, to: other)
        let ids = try joined.encode("<s>abcdefx</s>").ids
        #expect(ids.count == 6, "<s> abc de f x </s>")
        let found = try bridge.translate(ids)
        // a bc d ef x
        #expect(found.tokens == (try other.encode("abcdefx").ids) && found.tokens.count == 5)
        #expect(found.groups == [group(1..<2, 0..<2), group(2..<4, 2..<4), group(4..<5, 4..<5)])
        #expect(try bridge.translate([]).groups.isEmpty)
        #expect(try !bridge.isIdentity && TokenBridge(from: joined, to: joined).isIdentity)
        // Those of 256 bytes, and the added tokens.
        #expect(bridge.shared.count == 260 && bridge.shared.studentIDs == bridge.shared.teacherIDs)
    }

    @Test(
        "every text is covered, whatever its tokens",
        arguments: [
            ("llama2-legacy", "llama3"), ("llama3", "stories260K"), ("stories260K", "roberta"),
            ("roberta", "llama2-metaspace"),
        ])
    func covers(_ names: (String, String)) throws {
        let root = Project.root + "/Tests/Fixtures/tokenizers/"
        let (one, two) = (try Tokenizer.load(root + names.0), try Tokenizer.load(root + names.1))
        let bridge = try TokenBridge(from: one, to: two)
        for text in [
            "Once upon a time, there was a cat.", "naïve café — 12,345 tokens\n\n  indented", "日本語 and 🙂 emoji",
            " leading space", "x",
        ] {
            let ids = try one.encode(text, addSpecialTokens: true).ids
            guard try one.decode(ids, skippingSpecialTokens: true) == text else { continue }
            let found = try bridge.translate(ids)
            // A tokenizer may put a space before the text as a token of its own, which writes nothing.
            func writing(_ tokenizer: Tokenizer) throws -> Int {
                let ids = try tokenizer.encode(text, addSpecialTokens: false).ids
                return try ids.count - (tokenizer.decode([ids[0]]).isEmpty ? 1 : 0)
            }
            let covered = found.groups.reduce(0) { $0 + $1.source.count }
            let target = try two.encode(text, addSpecialTokens: false).ids
            guard try two.decode(target, skippingSpecialTokens: true) == text else { continue }
            #expect(try covered == writing(one), "\(names) \(text)")
            #expect(try found.groups.reduce(0) { $0 + $1.target.count } == writing(two), "\(names) \(text)")
            for (group, next) in zip(found.groups, found.groups.dropFirst()) {
                #expect(
                    group.source.upperBound == next.source.lowerBound
                        && group.target.upperBound == next.target.lowerBound)
            }
            // What a group's tokens write is the same text.
            for group in found.groups.dropFirst() {
                let (a, b) = (Array(ids[group.source]), Array(found.tokens[group.target]))
                let (said, meant) = (
                    try one.decode([ids[group.source.lowerBound - 1]] + a),
                    try two.decode([found.tokens[group.target.lowerBound - 1]] + b)
                )
                let length = min(said.utf8.count, meant.utf8.count)
                if !said.contains("\u{FFFD}"), !meant.contains("\u{FFFD}") {
                    #expect(said.utf8.suffix(length).elementsEqual(meant.utf8.suffix(length)), "\(said) \(meant)")
                }
            }
        }
    }

    @Test("a character that is not whole ends the comparison; so does a text that is written otherwise")
    func ends() throws {
        let joined = try TinyTokenizer.make(merges: [("a", "b")])
        let other = try TinyTokenizer.make()
        let bridge = try TokenBridge(from: joined, to: other)
        // "ab", and the first byte of a character of two.
        let found = try bridge.translate([256, 0xC3])
        #expect(found.groups == [group(0..<1, 0..<2)] && found.tokens.count == 2)
        let lower = try Tokenizer.load(Project.root + "/Tests/Fixtures/tokenizers/bert-uncased")
        let llama = try Tokenizer.load(Project.root + "/Tests/Fixtures/tokenizers/llama3")
        let cut = try TokenBridge(from: llama, to: lower).translate(llama.encode("the cat Sat").ids)
        #expect(cut.groups.count == 2, "\(cut.groups)")
    }
}
