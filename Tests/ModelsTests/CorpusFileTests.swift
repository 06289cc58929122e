import Dispatch
import Foundation
import RetortData
import TestSupport
import Testing

@testable import RetortModels
@testable import RetortSupport

@Suite("a corpus of tokens in a file")
struct CorpusFileTests {
    private static func names(_ folder: ScratchFolder) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path)
    }

    private static let records = TextRecordList(
        (0..<1000).map { number in
            // Now and then one that is too long, and one of which nothing is learned.
            if number % 10 == 3 { return TextRecord(.prompt("\(number)")) }
            let text = String(repeating: "\(number)", count: number % 10 == 7 ? 20 : 1 + number % 3)
            return TextRecord(.completion(prompt: "\(number)=", completion: text))
        })

    private static func encoder() throws -> ExampleEncoder {
        try ExampleEncoder(TinyTokenizer.make(), options: .init(maxLength: 24, truncation: .drop))
    }

    // With the larger limit some tokens wait until the end.
    @Test("the same as in memory, in one write and in many; the file is gone while it is used", arguments: [0, 12_000])
    func same(limit: Int) throws {
        let (folder, encoder, opened) = (try ScratchFolder(), try Self.encoder(), Counter())
        let wanted = try TokenizedCorpus(Self.records, encoder)
        let found = try inFiles(folder.path, limit: limit, opened: opened) {
            try TokenizedCorpus(Self.records, encoder, threads: 3)
        }
        #expect(opened.value == 1)
        #expect(try Self.names(folder) == [])
        #expect(found.digest == wanted.digest && found.summary == wanted.summary && found.records == wanted.records)
        #expect(found.largestToken == 303 && wanted.largestToken == 303)
        let differing = (0..<wanted.count).filter { found.example($0) != wanted.example($0) }
        #expect(differing == [])
        for packing in Packing.allCases {
            let epochs = try [wanted, found].map {
                try LanguageBatches($0, batch: 5, packing: packing, length: 64, seed: 1).epoch(2)
            }
            #expect(epochs[0].steps == epochs[1].steps)
            let steps = (0..<epochs[0].steps).filter { epochs[0].batch($0) != epochs[1].batch($0) }
            #expect(steps == [], "\(packing)")
        }
    }

    @Test("few tokens open no file")
    func few() throws {
        let (folder, opened) = (try ScratchFolder(), Counter())
        let examples = [
            TokenizedExample(tokens: [1, 2, 3], isTarget: [false, true, true]),
            TokenizedExample(tokens: [4, 5], isTarget: [false, true]),
        ]
        for (limit, files) in [(20, 0), (19, 1)] {
            let corpus = try inFiles(folder.path, limit: limit, opened: opened) { try TokenizedCorpus(examples) }
            #expect(opened.value == files && corpus.largestToken == 5)
            #expect(corpus.example(0) == examples[0] && corpus.example(1) == examples[1])
        }
        #expect(Spill.current.limit == 64 << 20)
    }

    @Test("read by several threads at once")
    func readers() throws {
        let (folder, encoder, differing) = (try ScratchFolder(), try Self.encoder(), Counter())
        let wanted = try TokenizedCorpus(Self.records, encoder)
        let found = try inFiles(folder.path) { try TokenizedCorpus(Self.records, encoder) }
        DispatchQueue.concurrentPerform(iterations: 8) { thread in
            for step in 0..<wanted.count {
                let number = (step * 7 + thread) % wanted.count
                if found.example(number) != wanted.example(number) { differing.increment() }
            }
        }
        #expect(differing.value == 0)
    }

    @Test("what is made of a corpus: parts, better answers, prompts among examples")
    func derived() throws {
        let (folder, opened) = (try ScratchFolder(), Counter())
        let encoder = try ExampleEncoder(TinyTokenizer.make(), template: .named("chatml"))
        let preferences = TextRecordList(
            (1...40).map { number in
                TextRecord(
                    .preference(
                        prompt: [TextMessage(.user, "\(number)?")], chosen: [TextMessage(.assistant, "yes")],
                        rejected: [TextMessage(.assistant, "no")]))
            })
        func digests() throws -> [String] {
            let mixed = try PromptedCorpus(Self.records, encoder, asking: true, threads: 2)
            let pairs = try PromptedCorpus(preferences, encoder, asking: true, threads: 2)
            let parts = try #require(mixed.answered).parted(every: 3)
            let prompts = (0..<mixed.asked.count).filter { mixed.asked.example($0).targetCount == 0 }.count
            return [
                mixed.digest, "\(mixed.largestToken)", "\(prompts)", pairs.digest, pairs.asked.digest,
                parts.others.digest, parts.each.digest,
            ]
        }
        let wanted = try digests()
        #expect(wanted[2] == "100")
        #expect(try inFiles(folder.path, opened: opened, digests) == wanted)
        // Examples with answers; prompts, and both together; pairs, and the better ones; two parts.
        #expect(opened.value == 7)
        #expect(try Self.names(folder) == [])
    }

    @Test("no such folder: 73; a full disk: 74; both say what to do")
    func failures() throws {
        let (folder, encoder) = (try ScratchFolder(), try Self.encoder())
        let missing = thrown(RetortError.self) {
            try inFiles(folder.path("none")) { _ = try TokenizedCorpus(Self.records, encoder) }
        }
        #expect(missing?.exit == .cannotCreate && missing?.location?.file == folder.path("none"))
        #expect(missing?.help.contains("TMPDIR") == true)

        let (path, writes) = (folder.path, Counter())
        var failing = FileCalls.real
        failing.write = { descriptor, bytes in
            writes.increment()
            return writes.value < 3 ? FileCalls.real.write(descriptor, bytes) : -Int(ENOSPC)
        }
        let calls = failing
        let spill = Spill(limit: 0, open: { () throws(RetortError) in try ScratchFile(in: path, calls: calls) })
        let full = thrown(RetortError.self) {
            try Spill.$current.withValue(spill) { _ = try TokenizedCorpus(Self.records, encoder) }
        }
        #expect(full?.exit == .io && full?.why == "the disk is full" && full?.location?.file == path)
        #expect(full?.help.contains("TMPDIR") == true)
        #expect(writes.value == 3)
        #expect(try Self.names(folder) == [])
    }
}
