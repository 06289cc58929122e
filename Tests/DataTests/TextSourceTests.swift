import Foundation
import RetortData
import RetortSupport
import Testing

@Suite("text sources: files read by number")
struct TextSourceTests {
    /// Texts of many lengths, so that records lie across the pieces in which a file is read.
    private static let texts: [String] = (0..<700).map { number in
        String(repeating: "\(number) tête-à-tête {[\"\\,", count: 1 + (number * 7919) % 400)
            + (number % 3 == 0 ? "\n" : "")
    }

    private static func lines(_ texts: [String]) -> [UInt8] {
        texts.flatMap { JSON.object([(key: "text", value: .string($0))]).bytes() + [0x0A] }
    }

    private static func array(_ texts: [String]) -> [UInt8] {
        JSON.array(texts.map { JSON.object([(key: "text", value: .string($0))]) }).bytes(.pretty)
    }

    @Test("lines and arrays, plain, gzip and zstd: the same records in any order", arguments: [false, true])
    func byNumber(_ isArray: Bool) throws {
        let content = isArray ? Self.array(Self.texts) : Self.lines(Self.texts)
        try #require(content.count > 3 << 20)
        var digests: Set<String> = []
        for packed in [
            content, gzip(content), zstd(content), gzip(Array(content[..<5000])) + gzip(Array(content[5000...])),
        ] {
            let (source, file) = try TextSource.of(packed)
            try #require(source.count == Self.texts.count)
            for step in 0..<source.count {
                let number = (step * 397) % source.count
                #expect(try source.record(number).content == .text(Self.texts[number]))
            }
            let place = try #require(try source.record(600).place)
            #expect(place == source.place(of: 600))
            #expect(place.line == (isArray ? 2 + 600 * 3 : 601) && place.column == (isArray ? 3 : 1))
            digests.insert(source.summary.digest)
            withExtendedLifetime(file) {}
        }
        #expect(digests.count == 1)
    }

    @Test("several files follow each other, an empty one among them; another order is another source")
    func files() throws {
        let parts = try [0..<3, 3..<3, 3..<10].map { try TemporaryFile(Self.lines(Array(Self.texts[$0]))) }
        let source = try TextSource.open(parts.map(\.path))
        #expect(source.count == 10 && source.paths == parts.map(\.path))
        #expect(try source.all().map(\.content) == Self.texts[..<10].map { .text($0) })
        #expect(source.place(of: 3) == TextRecord.Place(file: parts[2].path, line: 1, column: 1))
        #expect(try TextSource.open(parts.reversed().map(\.path)).summary.digest != source.summary.digest)
        #expect(error { _ = try TextSource.open([]) }?.exit == .recipe)
        withExtendedLifetime(parts) {}
    }

    @Test("bad records are an error at their place, or skipped and counted")
    func badRecords() throws {
        let text = """
            {"text": "a"}
            {"text": "b",}
            {"text": 3}

              {"txt": "c"}
            {"text": "d"}
            [1]
            {"text": "e", "text": "f"}
            {"text": "\\ud800"}
            """
        let failure = try #require(openingError(text))
        #expect(failure.location?.line == 2 && failure.location?.column == 13)
        #expect(failure.why.contains("2 | {\"text\": \"b\",}\n"), "\(failure)")

        let (source, file) = try TextSource.of(text, TextOptions(onBadLine: .skip))
        #expect(try source.all().map(\.content) == [.text("a"), .text("d")])
        #expect(source.summary.badRecords == 6 && source.summary.records == 2 && source.summary.blankLines == 1)
        #expect(source.summary.reasons.count == 5)
        #expect(source.summary.reasons[1].contains(":3:10: the value of 'text' is wrong: it must be a string"))
        #expect(source.summary.reasons[2].contains(":5:3: the key 'text' is missing"))
        #expect(!source.summary.reasons.joined().contains("^"))
        withExtendedLifetime(file) {}

        // The format may come later than the first line, but what it is must be clear.
        #expect(try contents("{bad\n{\"text\": \"a\"}\n", TextOptions(onBadLine: .skip)) == [.text("a")])
        #expect(openingError("{\"x\": 1}\n{\"text\": \"a\"}\n", TextOptions(onBadLine: .skip))?.exit == .badData)
        let none = openingError("{bad\n{worse\n", TextOptions(onBadLine: .skip))
        #expect(none?.why.contains("2 were left out") == true)
        // Nothing at all: which kind of it.
        #expect(openingError(" \n\n")?.why == "there is nothing but white space")
        #expect(openingError("[]\n")?.why == "its JSON array has no elements")
        // In an array too, as long as it can be cut.
        let array = "[{\"text\": \"a\"},\n {\"text\": tru},\n {\"text\": \"b\"}]"
        #expect(try contents(array, TextOptions(onBadLine: .skip)) == [.text("a"), .text("b")])
        let inArray = openingError(array)
        #expect(inArray?.location?.line == 2 && inArray?.location?.column == 11)
    }

    @Test("a file that changes under its reader gives an error, not a crash")
    func changed() throws {
        let file = try TemporaryFile(Self.lines(Array(Self.texts[..<9])))
        let source = try TextSource.open([file.path])
        let handle = try #require(FileHandle(forWritingAtPath: file.path))
        try handle.truncate(atOffset: 30)
        #expect(error { _ = try source.record(8) }?.exit == .badData)
    }

    private static let data = ProcessInfo.processInfo.environment["RETORT_DATA"]

    @Test("published files", .enabled(if: data != nil, "RETORT_DATA is not set"))
    func published() throws {
        let folder = try #require(Self.data)
        let alpaca = try TextSource.open([folder + "/llama-factory-demo/alpaca_en_demo.json"])
        #expect(alpaca.format == .alpaca && alpaca.count == 999)
        let pairs = try TextSource.open([folder + "/llama-factory-demo/dpo_en_demo.json"])
        #expect(pairs.format == .shareGPTPreference && pairs.count == 300)
        for record in try pairs.all() {
            guard case .preference(let prompt, let chosen, _) = record.content else {
                Issue.record("no preference")
                continue
            }
            #expect(prompt.last?.role == .user && chosen.count == 1 && chosen[0].role == .assistant)
        }
        let problems = try TextSource.open(
            [folder + "/gsm8k/train_1000.jsonl", folder + "/gsm8k/test_200.jsonl"],
            TextOptions(fields: ["prompt": "question", "completion": "answer"], keep: ["answer"]))
        #expect(problems.format == .completion && problems.count == 1200)
        #expect(try problems.record(1199).kept["answer"] != nil)
        #expect(problems.place(of: 1000).line == 1)
        let plays = [folder + "/tinyshakespeare/input.txt"]
        #expect(try TextSource.open(plays, TextOptions(format: .paragraphs)).count == 7222)
        #expect(try TextSource.open(plays, TextOptions(format: .document)).record(0).content.utf8Count == 1_115_394)
    }
}

extension TextRecord.Content {
    fileprivate var utf8Count: Int {
        guard case .text(let text) = self else { return 0 }
        return text.utf8.count
    }
}
