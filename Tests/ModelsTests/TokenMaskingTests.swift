import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

@Suite("Masked tokens")
struct TokenMaskingTests {
    private let rule = MaskingRule(rate: 0.15, maskShare: 0.8, randomShare: 0.1, mask: 4, vocabulary: 1000)

    /// 40 texts of 500 tokens, special at both ends; no token is below 10.
    private func texts() -> [TokenizedExample] {
        (0..<40).map { text in
            let tokens = (0..<500).map { Int32(10 + (text * 131 + $0 * 17) % 990) }
            return TokenizedExample(tokens: tokens, isTarget: tokens.indices.map { $0 > 0 && $0 < 499 })
        }
    }

    @Test("as many as the rule says are chosen, hidden, replaced and kept; special ones never")
    func shares() throws {
        let masking = TokenMasking(rule, seed: 7)
        var (chosen, hidden, replaced, kept, open) = (0, 0, 0, 0, 0)
        var others = Set<Int32>()
        for (sample, text) in texts().enumerated() {
            let masked = masking(text.tokens, mayChoose: text.isTarget, sample: sample)
            for place in text.tokens.indices {
                let (before, after, target) = (text.tokens[place], masked.tokens[place], masked.targets[place])
                guard target != LanguageBatch.ignored else {
                    #expect(after == before, "what is not guessed stays as it is")
                    if text.isTarget[place] { open += 1 }
                    continue
                }
                #expect(text.isTarget[place] && target == before)
                chosen += 1
                if after == 4 {
                    hidden += 1
                } else if after == before {
                    kept += 1
                } else {
                    replaced += 1
                    others.insert(after)
                }
            }
        }
        /// Within five deviations of a binomial.
        func expect(_ count: Int, of all: Int, _ share: Double) {
            let deviation = (Double(all) * share * (1 - share)).squareRoot()
            #expect(abs(Double(count) - Double(all) * share) < 5 * deviation, "\(count) of \(all), wanted \(share)")
        }
        #expect(chosen + open == 40 * 498)
        expect(chosen, of: chosen + open, 0.15)
        expect(hidden, of: chosen, 0.8)
        expect(replaced, of: chosen, 0.1)
        expect(kept, of: chosen, 0.1)
        #expect(others.allSatisfy { (0..<1000).contains($0) } && others.count > replaced * 3 / 4)
    }

    @Test("a text is masked by seed and sample, not by its batch, its padding or its neighbours")
    func keyed() throws {
        let short = [7, 30, 12, 30, 21].enumerated().map { index, length in
            TokenizedExample(
                tokens: (0..<length).map { Int32(10 + index * 100 + $0) }, isTarget: (0..<length).map { $0 > 0 })
        }
        let corpus = try TokenizedCorpus(short)
        /// Of each example what is seen and what is asked in an epoch, whatever rows it stands in.
        func rows(batch: Int, epoch: Int, seed: UInt64 = 3) throws -> [[Int32]: [Int32]] {
            let batches = try LanguageBatches(
                corpus, batch: batch, pad: 0, seed: 5, masking: TokenMasking(rule.with(rate: 0.5), seed: seed))
            let plan = batches.epoch(epoch)
            var found: [[Int32]: [Int32]] = [:]
            for step in 0..<plan.steps {
                let (rows, examples) = (plan.batch(step), plan.examples(step))
                for (row, number) in examples.enumerated() {
                    let places = row * rows.length..<(row + 1) * rows.length
                    let length = corpus.length(of: Int(number))
                    #expect(rows.targets[places].dropFirst(length).allSatisfy { $0 == LanguageBatch.ignored })
                    #expect(rows.tokens[places].dropFirst(length).allSatisfy { $0 == 0 })
                    let valid = rows.valid.map { Array($0[places]) } ?? [Bool](repeating: true, count: length)
                    #expect(valid.prefix(length).allSatisfy { $0 } && !valid.dropFirst(length).contains(true))
                    found[corpus.example(Int(number)).tokens] =
                        Array(rows.tokens[places].prefix(length)) + rows.targets[places].prefix(length)
                }
            }
            return found
        }
        let alone = try rows(batch: 1, epoch: 0)
        #expect(alone.count == 5)
        for batch in [2, 5] { #expect(try rows(batch: batch, epoch: 0) == alone) }
        #expect(try rows(batch: 1, epoch: 1) != alone, "another epoch, other masks")
        #expect(try rows(batch: 1, epoch: 0, seed: 4) != alone)
        // Drawn with replacement: the same text twice in a batch is two samples.
        let batches = try LanguageBatches(
            corpus, batch: 2, pad: 0, seed: 5, masking: TokenMasking(rule.with(rate: 0.5), seed: 3))
        let twice = batches.batch(of: [1, 1], firstSample: 8)
        #expect(twice.targets.prefix(30) != twice.targets.suffix(30)[...])
        #expect(batches.batch(of: [1], firstSample: 9).targets == Array(twice.targets.suffix(30)))
        #expect(
            thrown(RetortError.self) {
                _ = try LanguageBatches(
                    corpus, batch: 2, packing: .split, length: 8, seed: 1, masking: TokenMasking(rule, seed: 3))
            }?.exit == .recipe)
    }

    @Test("words are chosen as a whole or not at all")
    func words() throws {
        // Every third token begins a word, the two behind it go on.
        let tokens = [Int32(1)] + (0..<3000).map { Int32(10 + $0 % 3) } + [Int32(2)]
        let isTarget = tokens.map { $0 >= 10 }
        var whole = rule.with(rate: 0.3)
        whole.continuesWord = (0..<1000).map { $0 == 11 || $0 == 12 }
        let masked = TokenMasking(whole, seed: 1)(tokens, mayChoose: isTarget, sample: 0)
        var (chosen, mixed) = (0, 0)
        for word in stride(from: 1, to: 3001, by: 3) {
            let guessed = masked.targets[word..<(word + 3)].map { $0 != LanguageBatch.ignored }
            #expect(guessed == [true, true, true] || guessed == [false, false, false])
            guard guessed[0] else { continue }
            chosen += 1
            // Each token of a word has a fate of its own.
            let fates = (word..<(word + 3)).map { masked.tokens[$0] == 4 }
            if fates.contains(true), fates.contains(false) { mixed += 1 }
        }
        #expect(abs(chosen - 300) < 75 && mixed > chosen / 5, "\(chosen) \(mixed)")
        let single = TokenMasking(rule.with(rate: 0.3), seed: 1)(tokens, mayChoose: isTarget, sample: 0)
        #expect(single.targets != masked.targets)
    }

    @Test("long texts become pieces with the tokenizer's own tokens round each; joined ones are full")
    func pieces() throws {
        let folder = try ScratchFolder()
        let letters = "abcdefghijklmnopqrstuvwxyz".map(String.init)
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        try folder.write((special + letters + letters.map { "##" + $0 }).joined(separator: "\n"), to: "vocab.txt")
        let tokenizer = try Tokenizer.load(folder.path)
        let texts = ["abcdefghij", "k", "x 7 y", ""]
        let inner = try texts.map { try tokenizer.encode($0, addSpecialTokens: false).ids }
        let (cls, sep) = (try #require(tokenizer.id(of: "[CLS]")), try #require(tokenizer.id(of: "[SEP]")))
        func pieces(length: Int = 6, joined: Bool) throws -> [TokenizedExample] {
            let corpus = try TextPieces.corpus(tokenizer, length: length, joined: joined) { take in
                for text in texts { try take(text) }
            }
            return (0..<corpus.count).map { corpus.example($0) }
        }
        let apart = try pieces(joined: false)
        #expect(apart.map(\.count) == [6, 6, 4, 3, 5])
        for piece in apart {
            #expect(piece.tokens.first == cls && piece.tokens.last == sep)
            #expect(!piece.isTarget[0] && !(piece.isTarget.last ?? true))
        }
        #expect(apart.prefix(3).flatMap { $0.tokens.dropFirst().dropLast() } == inner[0])
        // A token that nobody knows is not to be guessed: "7" is [UNK].
        #expect(apart[4].isTarget == [false, true, false, true, false])
        let joined = try pieces(joined: true)
        #expect(joined.dropLast().allSatisfy { $0.count == 6 })
        // Between the second text and the third a piece ends: that separates them.
        #expect(joined.flatMap { $0.tokens.dropFirst().dropLast() } == inner[0] + [sep] + inner[1] + inner[2])
        // The separator between two texts is special as well.
        for piece in joined {
            #expect(zip(piece.tokens, piece.isTarget).allSatisfy { !$1 || $0 > 4 })
        }
        let words = try #require(tokenizer.continuesWord)
        #expect(words.count { $0 } == 26 && !words[5] && words[5 + 26])
        let error = thrown(RetortError.self) { _ = try pieces(length: 2, joined: false) }
        #expect(error?.exit == .recipe && error?.why.contains("2 of its own") == true)
    }
}

extension MaskingRule {
    fileprivate func with(rate: Double) -> MaskingRule {
        var rule = self
        rule.rate = rate
        return rule
    }
}
