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

    /// Tokens kept of each text (5 and 6 long), for total lengths from 3 on.
    private static let kept = [
        [0, 0], [0, 1], [1, 1], [1, 2], [2, 2], [2, 3], [3, 3], [3, 4], [4, 4], [4, 5], [5, 5], [5, 6], [5, 6],
    ]
    /// The same with a short second text.
    private static let keptUneven = [
        [0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [3, 2], [4, 2], [5, 2], [6, 2], [7, 2],
    ]

    @Test("longest first: the reference's lengths, special tokens kept", arguments: [false, true])
    func longestFirst(_ isUneven: Bool) throws {
        let tokenizer = try tokenizer()
        let texts = isUneven ? ["the teacher teaching the student who was there", "a student"] : [first, second]
        let ids = try texts.map { try tokenizer.encode($0, addSpecialTokens: false).ids }
        for (index, counts) in (isUneven ? Self.keptUneven : Self.kept).enumerated() {
            for side in TextSide.allCases {
                let encoding = try tokenizer.encode(
                    texts[0], texts[1], truncation: Truncation(length: index + 3, side: side))
                #expect(encoding.isSpecial.count { $0 } == 3)
                for text in 0..<2 {
                    let kept = encoding.ids.indices
                        .filter { !encoding.isSpecial[$0] && encoding.typeIDs[$0] == text }.map { encoding.ids[$0] }
                    let wanted = side == .right ? ids[text].prefix(counts[text]) : ids[text].suffix(counts[text])
                    #expect(kept == Array(wanted), "length \(index + 3), text \(text), \(side)")
                }
            }
        }
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
        let whole = try tokenizer.encode(first, second)
        let second = cut.ids.indices.filter { cut.typeIDs[$0] == 1 }.map { cut.ids[$0] }
        #expect(cut.count == 12 && second == whole.ids.indices.filter { whole.typeIDs[$0] == 1 }.map { whole.ids[$0] })
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
