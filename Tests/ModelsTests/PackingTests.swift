import RetortData
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

@Suite("examples in rows")
struct PackingTests {
    /// Examples of many lengths with tokens that no other has; every fifth token and the second are learned.
    private static func examples(_ lengths: [Int]) -> [TokenizedExample] {
        var next: Int32 = 1000
        return lengths.map { length in
            let tokens = (0..<length).map { _ in
                next += 1
                return next
            }
            return TokenizedExample(tokens: tokens, isTarget: tokens.indices.map { $0 == 1 || $0 % 5 == 0 })
        }
    }

    private static let lengths = (0..<157).map { 2 + ($0 * 31) % 61 }
    private static let many = examples(lengths)

    /// Every pair of a token and the one to be learned after it.
    private struct Pair: Hashable {
        let token: Int32
        let target: Int32
    }

    private static func pairs(_ examples: [TokenizedExample]) -> [Pair] {
        examples.flatMap { example in
            (1..<example.count).filter { example.isTarget[$0] }.map {
                Pair(token: example.tokens[$0 - 1], target: example.tokens[$0])
            }
        }
    }

    private static func pairs(_ batches: [LanguageBatch]) -> [Pair] {
        batches.flatMap { batch in
            zip(batch.tokens, batch.targets).filter { $0.1 >= 0 }.map { Pair(token: $0.0, target: $0.1) }
        }
    }

    private static func all(_ epoch: LanguageEpoch) -> [LanguageBatch] { (0..<epoch.steps).map { epoch.batch($0) } }

    @Test(
        "each token to be learned stands once behind its own, whatever the rows", arguments: Packing.allCases, [0, 1])
    func nothingLost(_ packing: Packing, _ epochNumber: Int) throws {
        let corpus = try TokenizedCorpus(Self.many)
        for length in packing == .split ? [2, 7, 64, 5000] : [63, 64, 100] {
            let batches = try LanguageBatches(corpus, batch: 4, packing: packing, length: length, pad: 3, seed: 5)
            let epoch = batches.epoch(epochNumber)
            let all = Self.all(epoch)
            let (found, wanted) = (Self.pairs(all), Self.pairs(Self.many))
            #expect(found.count == wanted.count && Set(found) == Set(wanted), "rows of \(length)")
            #expect(all.reduce(0) { $0 + $1.targetCount } == corpus.summary.targets)
            #expect(all.map(\.rows).reduce(0, +) == epoch.rows)
            for batch in all {
                #expect(batch.tokens.count == batch.rows * batch.length && batch.targets.count == batch.tokens.count)
                if packing != .none { #expect(batch.length == length) }
                for place in batch.tokens.indices where batch.valid?[place] == false {
                    #expect(batch.tokens[place] == 3 && batch.targets[place] == LanguageBatch.ignored)
                    #expect(batch.documents?[place] ?? -1 == -1)
                }
            }
        }
    }

    @Test("documents are stretches of one example, counted in their row")
    func documents() throws {
        let corpus = try TokenizedCorpus(Self.many)
        var home: [Int32: Int] = [:]
        for (number, example) in Self.many.enumerated() { for token in example.tokens { home[token] = number } }
        for packing in [Packing.examples, .split] {
            let epoch = try LanguageBatches(corpus, batch: 3, packing: packing, length: 70, seed: 1).epoch(0)
            for batch in Self.all(epoch) {
                let documents = try #require(batch.documents)
                for row in 0..<batch.rows {
                    let places = row * batch.length..<(row + 1) * batch.length
                    #expect(documents[places.lowerBound] == 0)
                    for place in places.dropFirst() {
                        let isSame = documents[place] == documents[place - 1]
                        let isPadding = batch.valid?[place] == false
                        guard !isPadding else {
                            #expect(documents[place] == -1)
                            continue
                        }
                        #expect(isSame || documents[place] == documents[place - 1] + 1)
                        #expect(isSame == (home[batch.tokens[place]] == home[batch.tokens[place - 1]]))
                    }
                }
            }
        }
    }

    @Test("rows written out by hand")
    func byHand() throws {
        let corpus = try TokenizedCorpus([
            TokenizedExample(tokens: [1, 2, 3], isTarget: [false, false, true]),
            TokenizedExample(tokens: [4, 5, 6, 7], isTarget: [true, true, true, true]),
            TokenizedExample(tokens: [8, 9], isTarget: [false, true]),
        ])
        let ignored = LanguageBatch.ignored
        let padded = try LanguageBatches(corpus, batch: 2, pad: 0, seed: nil).epoch(0)
        #expect(padded.steps == 2)
        #expect(
            padded.batch(0)
                == LanguageBatch(
                    rows: 2, length: 4, tokens: [1, 2, 3, 0, 4, 5, 6, 7],
                    targets: [ignored, 3, ignored, ignored, 5, 6, 7, ignored],
                    valid: [true, true, true, false, true, true, true, true], documents: nil))
        #expect(padded.batch(1).tokens == [8, 9] && padded.batch(1).valid == nil)
        #expect(try LanguageBatches(corpus, batch: 2, multiple: 8, seed: nil).epoch(0).batch(0).length == 8)

        let packed = try LanguageBatches(corpus, batch: 8, packing: .examples, length: 5, seed: nil).epoch(0)
        #expect(
            packed.batch(0)
                == LanguageBatch(
                    rows: 2, length: 5, tokens: [1, 2, 3, 8, 9, 4, 5, 6, 7, 0],
                    targets: [ignored, 3, ignored, 9, ignored, 5, 6, 7, ignored, ignored],
                    valid: [true, true, true, true, true, true, true, true, true, false],
                    documents: [0, 0, 0, 1, 1, 0, 0, 0, 0, -1]))
        #expect(packed.examples(0) == [0, 2, 1] && packed.fill == 0.9)
        #expect(packed.batch(0).rows(1..<2).tokens == [4, 5, 6, 7, 0])
        #expect(packed.batch(0).rows(0..<1).documents == [0, 0, 0, 1, 1])

        // 7 is learned behind 6, at the end of the second row, and would begin the third for nothing.
        let split = try LanguageBatches(corpus, batch: 8, packing: .split, length: 3, seed: nil).epoch(0)
        #expect(
            split.batch(0)
                == LanguageBatch(
                    rows: 3, length: 3, tokens: [1, 2, 3, 4, 5, 6, 8, 9, 0],
                    targets: [ignored, 3, ignored, 5, 6, 7, 9, ignored, ignored],
                    valid: [true, true, true, true, true, true, true, true, false],
                    documents: [0, 0, 0, 0, 0, 0, 0, 0, -1]))
    }

    @Test("the order is that of seed and epoch; a position is two numbers", arguments: Packing.allCases)
    func order(_ packing: Packing) throws {
        let corpus = try TokenizedCorpus(Self.many)
        func batches(_ seed: UInt64?) throws -> LanguageBatches {
            try LanguageBatches(corpus, batch: 5, packing: packing, length: 64, seed: seed)
        }
        let (one, same, other) = (try batches(1), try batches(1), try batches(2))
        #expect(Self.all(one.epoch(3)) == Self.all(same.epoch(3)))
        #expect(one.order(epoch: 0) != one.order(epoch: 1) && one.order(epoch: 0) != other.order(epoch: 0))
        #expect(one.order(epoch: 4).sorted() == (0..<157).map { Int32($0) })
        #expect(try batches(nil).order(epoch: 9) == (0..<157).map { Int32($0) })
        // From any step on the batches are those of a run that was never stopped.
        let wanted = (0..<3).flatMap { Self.all(one.epoch($0)) }
        for step in [0, 1, one.epoch(0).steps, one.epoch(0).steps + 3, wanted.count - 1] {
            let position = same.position(afterSteps: step)
            #expect(same.epoch(position.epoch).batch(position.step) == wanted[step], "step \(step)")
        }
    }

    @Test("what cannot be packed is refused")
    func refused() throws {
        let corpus = try TokenizedCorpus(Self.many)
        for (packing, length) in [(Packing.examples, 61), (.examples, nil), (.split, nil), (.split, 1)] {
            let failure = thrown(RetortError.self) {
                _ = try LanguageBatches(corpus, batch: 1, packing: packing, length: length, seed: 0)
            }
            #expect(failure?.exit == .recipe)
        }
        #expect(thrown(RetortError.self) { _ = try LanguageBatches(corpus, batch: 0, seed: 0) }?.exit == .recipe)
        #expect(
            thrown(RetortError.self) { _ = try LanguageBatches(corpus, batch: 1, multiple: 0, seed: 0) }?.exit
                == .recipe)
    }
}

@Suite("a corpus of tokens")
struct TokenizedCorpusTests {
    private struct Numbered: TextRecords {
        var count: Int
        var broken: Set<Int> = []

        func record(_ number: Int) throws -> TextRecord {
            if broken.contains(number) { throw RetortError.badData("record \(number) is broken") }
            // Now and then one that is too long, and one of which nothing is learned.
            if number % 10 == 3 { return TextRecord(.prompt("\(number)")) }
            let text = String(repeating: "\(number)", count: number % 10 == 7 ? 20 : 1 + number % 3)
            return TextRecord(.completion(prompt: "\(number)=", completion: text))
        }
    }

    @Test("the same for any number of threads, and what was left out is counted")
    func threads() throws {
        let tokenizer = try TinyTokenizer.make()
        let encoder = try ExampleEncoder(tokenizer, options: .init(maxLength: 24, truncation: .drop))
        let source = Numbered(count: 1000)
        var last = 0
        let one = try TokenizedCorpus(source, encoder) { last = $0 }
        #expect(last == 1000)
        for threads in [2, 3, 16] {
            let other = try TokenizedCorpus(source, encoder, threads: threads)
            #expect(other.digest == one.digest && other.summary == one.summary && other.records == one.records)
        }
        #expect(one.summary.records == 1000 && one.summary.withoutTarget == 100 && one.summary.tooLong == 99)
        #expect(one.summary.examples == one.count && one.count == 801)
        for number in [0, 100, 800] {
            let record = try source.record(Int(one.records[number]))
            #expect(try encoder.encode(record) == .example(one.example(number), isCut: false))
        }
        let lengths = (0..<one.count).map { one.length(of: $0) }.sorted()
        #expect(one.summary.tokens == lengths.reduce(0, +) && one.summary.longest == lengths.last)
        #expect(one.summary.medianLength == lengths[400] && one.summary.length99 == lengths[792])
        #expect(one.summary.targets == (0..<one.count).reduce(0) { $0 + one.example($1).targetCount })
        #expect(one.largestToken == 303)

        let cutting = try ExampleEncoder(tokenizer, options: .init(maxLength: 24))
        #expect(try TokenizedCorpus(source, cutting).summary.cut == 99)
        #expect(try TokenizedCorpus(source, cutting).digest != one.digest)
    }

    @Test("the first error in order, and no example left")
    func errors() throws {
        let encoder = try ExampleEncoder(TinyTokenizer.make(), options: .init(maxLength: 2, truncation: .drop))
        let first = thrown(RetortError.self) {
            _ = try TokenizedCorpus(Numbered(count: 1000, broken: [900, 301, 302]), encoder, threads: 8)
        }
        #expect(first?.what == "record 301 is broken")
        let none = thrown(RetortError.self) { _ = try TokenizedCorpus(Numbered(count: 20), encoder) }
        #expect(none?.exit == .badData && none?.why == "18 are longer than `max-length`, of 2 nothing would be learned")
        #expect(none?.location == nil)
        let long = TextRecord(
            .completion(prompt: "a", completion: "bcdefgh"), place: .init(file: "data.jsonl", line: 3, column: 1))
        let placed = thrown(RetortError.self) { _ = try TokenizedCorpus(TextRecordList([long]), encoder) }
        #expect(placed?.what == "no example is left of 1 records" && placed?.location?.file == "data.jsonl")
        #expect(thrown(RetortError.self) { _ = try TokenizedCorpus([TokenizedExample]()) }?.exit == .badData)
    }
}
