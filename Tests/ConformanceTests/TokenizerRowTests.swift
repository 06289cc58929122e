import RetortSupport
import TestSupport
import Testing

@testable import RetortConformance

@Suite("bench: tokenizers") struct TokenizerRowTests {
    @Test func proseIsTheSameEverywhere() {
        let text = BenchText.prose(4000)
        #expect(text == BenchText.prose(4000))
        #expect(text.utf8.count == 4000 && text.utf8.allSatisfy { $0 < 0x80 })
        #expect(BenchText.prose(5000).hasPrefix(text))
        let words = BenchText.words(of: text)
        #expect(words.count > 100 && words[0].count > words[words.count - 1].count)
        #expect(words.allSatisfy { $0.bytes.first == UInt8(ascii: " ") && $0.bytes.count > 1 })
    }

    @Test func theMostFrequentPairIsMergedFirst() {
        let words = [("abab", 3), ("bab", 1), ("ba", 1)].map { (bytes: Array($0.utf8), count: $1) }
        let learned = LearnedMerges(words, count: 2)
        // ab comes seven times, ba five times; abab then is ab ab.
        #expect(learned.tokens.dropFirst(256).map { String(decoding: $0, as: UTF8.self) } == ["ab", "abab"])
        #expect(learned.merges.map(\.left) == [97, 256])
        #expect(LearnedMerges([(bytes: [1, 2], count: 1)], count: 9).merges.isEmpty)
    }

    /// What is timed is a tokenizer that loses nothing.
    @Test(arguments: MadeTokenizer.allCases) func madeTokenizersAreRight(_ made: MadeTokenizer) throws {
        let tokenizer = try made.make(MadeTokenizer.learn(from: 20_000, words: 200, merges: 40))
        #expect(try made.isRight(tokenizer, BenchText.prose(3000)))
        #expect(try made.isRight(tokenizer, String(repeating: "a", count: 33)))
        let rows = try TokenizerRows.rows(
            made.rawValue, tokenizer, BenchText.prose(500), isRight: true, 0, QuietWait(budget: 0) { 0 })
        #expect(rows.map(\.kernel) == ["tokenize_\(made.rawValue)", "tokenize_\(made.rawValue)_letter"])
        #expect(rows.allSatisfy { $0.shape == "500" && $0.isRight && $0.more["mb_per_second"] ?? 0 > 0 })
        #expect(rows[1].more["letter_ratio"] ?? 0 > 0)
    }

    @Test func texts() throws {
        let folder = try ScratchFolder()
        try folder.write("", to: "empty.txt")
        let quiet = QuietWait(budget: 0) { 0 }
        for path in [folder.path + "/empty.txt", folder.path + "/none.txt"] {
            #expect(throws: RetortError.self) {
                try TokenizerRows.measure(tokenizer: nil, text: path, minimumTime: 0, quiet) { _ in }
            }
        }
        #expect(throws: RetortError.self) {
            try TokenizerRows.measure(tokenizer: folder.path, text: nil, minimumTime: 0, quiet) { _ in }
        }
    }
}
