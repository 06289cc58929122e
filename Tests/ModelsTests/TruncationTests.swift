import RetortModels
import RetortSupport
import TestSupport
import Testing

/// The numbers were made with Hugging Face's `tokenizers` 0.23.3 (`enable_truncation`, `enable_padding`).
@Suite("truncation and padding")
struct TruncationTests {
    private func tokenizer() throws -> Tokenizer { try Tokenizer.load(TokenizerFixtures.folder + "/bert-cased") }

    private let first = "the teacher teaching the student"
    private let second = "the student studying them there then"

    @Test("longest first keeps special tokens and shortens the longer text", arguments: 3...20)
    func longestFirst(_ length: Int) throws {
        let tokenizer = try tokenizer()
        let (a, b) = (
            try tokenizer.encode(first, addSpecialTokens: false).ids,
            try tokenizer.encode(second, addSpecialTokens: false).ids
        )
        let encoding = try tokenizer.encode(first, second, truncation: Truncation(length: length))
        #expect(encoding.count == min(length, a.count + b.count + 3))
        let kept = encoding.ids.indices.filter { !encoding.isSpecial[$0] }
        let (firstKept, secondKept) = (
            kept.filter { encoding.typeIDs[$0] == 0 }, kept.filter { encoding.typeIDs[$0] == 1 }
        )
        #expect(firstKept.map { encoding.ids[$0] } == Array(a.prefix(firstKept.count)))
        #expect(secondKept.map { encoding.ids[$0] } == Array(b.prefix(secondKept.count)))
        // The shorter is cut only when both are as short as each other, but for one.
        if firstKept.count < a.count { #expect(abs(firstKept.count - secondKept.count) <= 1) }
        let left = try tokenizer.encode(first, truncation: Truncation(length: length, side: .left))
        #expect(left.ids.dropFirst().dropLast() == a.suffix(length - 2))
    }

    @Test("a text that may not be cut")
    func impossible() throws {
        let tokenizer = try tokenizer()
        let only = Truncation(length: 8, strategy: .onlySecond)
        let short = try #require(thrown(RetortError.self) { _ = try tokenizer.encode(first, "a", truncation: only) })
        #expect(short.exit == .badData)
        let none = try #require(
            thrown(RetortError.self) { _ = try tokenizer.encode(first, truncation: Truncation(length: 1)) })
        #expect(none.what == "truncating to 1 tokens leaves no room")
        let cut = try tokenizer.encode(first, second, truncation: Truncation(length: 12, strategy: .onlyFirst))
        #expect(cut.count == 12 && cut.ids.suffix(7).first == (try tokenizer.encode(first, second).ids.suffix(7).first))
    }

    @Test("padding to the longest, to a length, to a multiple")
    func padding() throws {
        let tokenizer = try tokenizer()
        let texts = [first, "a", second]
        let lengths = try texts.map { try tokenizer.encode($0).count }
        let longest = try #require(lengths.max())
        let padded = try tokenizer.encode(texts, padding: Padding(id: 0))
        #expect(padded.map(\.count) == [longest, longest, longest])
        #expect(padded.map { $0.isAttended.filter { $0 }.count } == lengths)
        #expect(padded[1].ids.suffix(longest - lengths[1]).allSatisfy { $0 == 0 })
        let left = try tokenizer.encode(
            texts, padding: Padding(length: .fixed(30), side: .left, multiple: 8, id: 5, typeID: 1))
        #expect(left.map(\.count) == [32, 32, 32] && left[1].ids.prefix(32 - lengths[1]).allSatisfy { $0 == 5 })
        #expect(left[0].typeIDs.first == 1 && left[0].isSpecial.first == true && left[0].isAttended.first == false)
    }
}
