import RetortData
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// What is learned of a source, and what of it is asked.
@Suite("Examples with answers, and prompts")
struct PromptedCorpusTests {
    private static func record(_ content: TextRecord.Content, _ line: Int) -> TextRecord {
        TextRecord(content, place: TextRecord.Place(file: "data.jsonl", line: line, column: 1))
    }

    private static let turns = [
        TextMessage(.user, "2+2?"), TextMessage(.assistant, "4"), TextMessage(.user, "3*3?"),
    ]

    private static let records: [TextRecord] = [
        .prompt("Tell me."), .completion(prompt: "2+2=", completion: "4"), .conversation(turns),
        .conversation(Array(turns[..<1])), .conversation(Array(turns[..<2])), .text("abc"),
    ].enumerated().map { record($0.element, $0.offset + 1) }

    private func encoder(_ options: ExampleOptions = ExampleOptions()) throws -> ExampleEncoder {
        try ExampleEncoder(try TinyTokenizer.make(), template: .named("chatml"), options: options)
    }

    @Test("what ends with a question is asked as a whole; the rest keeps its answer; the file's order stays")
    func parts() throws {
        let encoder = try encoder()
        let corpus = try PromptedCorpus(TextRecordList(Self.records), encoder, asking: true)
        let answered = try #require(corpus.answered)
        #expect(answered.records == [1, 2, 4, 5] && answered.summary.withoutTarget == 2)
        #expect(corpus.asked.records == [0, 1, 2, 3, 4, 5] && corpus.prompts == 3)
        #expect(corpus.firstQuestion?.line == 1)
        for number in [0, 2, 3] {
            let prompt = corpus.asked.example(number)
            #expect(try prompt.targetCount == 0 && prompt.tokens == encoder.prompt(Self.records[number]))
        }
        for (number, same) in [(1, 0), (4, 2), (5, 3)] {
            #expect(corpus.asked.example(number) == answered.example(same))
        }
        // The conversation is learned where its answers are wanted.
        #expect(answered.example(1).targetCount > 0)
        #expect(corpus.digest != answered.digest && corpus.longest == corpus.asked.summary.longest)
    }

    @Test("what nobody asks is not read twice; prompts alone have no answers")
    func alone() throws {
        let corpus = try PromptedCorpus(TextRecordList(Self.records), encoder(), asking: false)
        #expect(corpus.asked === corpus.answered && corpus.prompts == 0 && corpus.firstQuestion?.line == 1)
        let prompts = (1...300).map { Self.record(.prompt("Say \($0)."), $0) }
        let one = try PromptedCorpus(TextRecordList(prompts), encoder(), asking: false)
        #expect(one.answered == nil && one.asked.count == 300 && one.prompts == 300)
        let several = try PromptedCorpus(TextRecordList(prompts), encoder(), asking: true, threads: 3)
        #expect(several.digest == one.digest)
        let complete = TextRecordList([Self.records[1]])
        #expect(
            try PromptedCorpus(complete, encoder(), asking: true).digest == TokenizedCorpus(complete, encoder()).digest)
    }

    @Test("of preferences both answers or none; what is answered is the better one")
    func pairs() throws {
        let records = (1...40).map { number in
            Self.record(
                .preference(
                    prompt: [TextMessage(.user, "\(number)?")], chosen: [TextMessage(.assistant, "yes")],
                    rejected: [TextMessage(.assistant, number == 3 ? String(repeating: "no", count: 60) : "no")]),
                number)
        }
        let encoder = try encoder(.init(maxLength: 100, truncation: .drop))
        let corpus = try PromptedCorpus(TextRecordList(records), encoder, asking: true, threads: 3)
        let pairs = try #require(corpus.pairs)
        #expect(pairs.group == 2 && pairs.groups == 39 && pairs.summary.tooLong == 1 && pairs.summary.records == 40)
        #expect(pairs.records.prefix(6) == [0, 0, 1, 1, 3, 3])
        let answered = try #require(corpus.answered)
        #expect(answered === corpus.asked && answered.count == 39 && answered.group == 1 && corpus.prompts == 0)
        for number in 0..<39 {
            #expect(answered.example(number) == pairs.example(2 * number))
            let (chosen, rejected) = try encoder.pair(records[Int(pairs.records[2 * number])])
            #expect(chosen == .example(pairs.example(2 * number), isCut: false))
            #expect(rejected == .example(pairs.example(2 * number + 1), isCut: false))
        }
        #expect(corpus.digest == pairs.digest && corpus.digest != answered.digest)

        // Shuffled, in batches and alone: a pair stays a pair, and each comes once.
        let batches = try LanguageBatches(pairs, batch: 4, seed: 5)
        let (epoch, next) = (batches.epoch(0), batches.epoch(1))
        #expect(epoch.steps == 10 && epoch.rows == 78 && batches.position(afterSteps: 13) == (1, 3))
        let order = (0..<epoch.steps).flatMap(epoch.examples)
        #expect(order.sorted() == Array(0..<78) && order != Array(0..<78) && order != (0..<10).flatMap(next.examples))
        for place in stride(from: 0, to: 78, by: 2) {
            #expect(order[place] % 2 == 0 && order[place + 1] == order[place] + 1)
        }
        #expect(epoch.batch(0).rows == 8 && epoch.batch(9).rows == 6)
        #expect(
            thrown(RetortError.self) { _ = try LanguageBatches(pairs, batch: 1, packing: .split, length: 8, seed: 0) }?
                .exit == .recipe)
    }

    @Test("a prompt that is too long is left out, or loses its beginning; an empty one is an error")
    func lengths() throws {
        let records = TextRecordList([
            Self.record(.prompt("abcdefgh"), 1), Self.record(.prompt("ab"), 2), Self.record(.prompt(""), 3),
        ])
        func corpus(_ policy: LongExamplePolicy, _ count: Int) throws -> PromptedCorpus {
            try PromptedCorpus(
                TextRecordList(Array(records.records[..<count])),
                ExampleEncoder(TinyTokenizer.make(), options: .init(maxLength: 4, truncation: policy)), asking: true)
        }
        for policy in [LongExamplePolicy.right, .drop] {
            let asked = try corpus(policy, 2).asked
            #expect(asked.records == [1] && asked.summary.tooLong == 1)
        }
        let left = try corpus(.left, 2).asked
        #expect(left.example(0).tokens == "efgh".utf8.map(Int32.init) && left.summary.cut == 1)
        let nothing = thrown(RetortError.self) { _ = try corpus(.drop, 1) }
        #expect(nothing?.exit == .badData && nothing?.why.contains("longer than `max-length`") == true)
        #expect(nothing?.location?.file == records.records[0].place?.file && nothing?.location != nil)
        let empty = thrown(RetortError.self) { _ = try corpus(.left, 3) }
        #expect(empty?.exit == .badData && empty?.location?.line == 3, "\(String(describing: empty))")
    }
}
