import Foundation
import RetortData
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

@Suite("Texts of encoders in temporary files")
struct EncoderSpillTests {
    /// Runs a recipe twice, once with texts and tokens in files.
    /// - Parameters:
    ///   - files: how many of them there are.
    ///   - more: whether there may be more.
    private func check(_ small: SmallEncoders, files: Int, more: Bool = false, _ overrides: [String]) throws {
        let (place, opened) = (try ScratchFolder(), Counter())
        let all = ["seeds=[0]", "train.steps=4"] + overrides
        let wanted = try small.losses("memory", all)
        let found = try inFiles(place.path, opened: opened) { try small.losses("file", all) }
        #expect(found == wanted && wanted.contains { !$0.isEmpty })
        #expect(more ? opened.value >= files : opened.value == files)
        #expect(try FileManager.default.contentsOfDirectory(atPath: place.path) == [])
        #expect(try small.weights("file") == small.weights("memory"))
        let digests = try ["file", "memory"].map {
            try JSONCursor.read(small.folder.path($0 + "/manifest.json")).member("data_sha256").string()
        }
        #expect(digests[0] == digests[1])
    }

    // Texts; the teacher's tokens and the student's.
    @Test("sentences: the run is the same, bit for bit", arguments: TestBackend.fast)
    func sentences(_ backend: TestBackend) throws { try check(SmallEncoders(backend), files: 3, []) }

    @Test("who reads as the teacher does shares its tokens")
    func shared() throws {
        let alike = ["student.tokenizer=teacher", "student.model.positions=40"]
        try check(SmallEncoders(.cpu), files: 2, alike)
        try check(SmallEncoders(.cpu), files: 3, [alike[0]])
    }

    // Texts; tokens and types of both.
    @Test("pairs of labelled texts: the run is the same, bit for bit", arguments: TestBackend.fast)
    func pairs(_ backend: TestBackend) throws {
        try check(TextClassificationRunTests().small(backend), files: 5, ["data.pair=more"])
    }

    // Nobody but the file's scores teaches.
    @Test("retrieval: the run is the same, bit for bit", arguments: TestBackend.fast)
    func retrieval(_ backend: TestBackend) throws { try check(RetrievalRunTests.small(backend), files: 2, []) }

    // The corpora to learn from and to measure on; those of a rehearsal.
    @Test("masked texts: the run is the same, bit for bit", arguments: TestBackend.fast)
    func masked(_ backend: TestBackend) throws {
        try check(MaskedRunTests.small(backend), files: 2, more: true, ["teacher.train.steps=10"])
    }

    // Texts; the model's tokens.
    @Test("what classifiers and encoders of sentences are measured on is in files too", arguments: TestBackend.fast)
    func measured(_ backend: TestBackend) throws {
        let (place, files) = (try LetterEncoder(), try ScratchFolder())
        let texts = LetterEncoder.texts
        try place.folder.write(
            "text,label\n" + texts.indices.map { "\(texts[$0]),\($0 % 3)\n" }.joined(), to: "classes.csv")
        try place.folder.write(
            "sentence1,sentence2,score\n" + texts.indices.map { "\(texts[$0]),\(texts[9 - $0]),\($0)\n" }.joined(),
            to: "pairs.csv")
        for data in ["classes.csv", "pairs.csv"] {
            func metrics() throws -> [String: Double] {
                try evaluate(
                    encoder: place.folder.path, teacher: nil, on: EncoderEvaluationData(place.folder.path(data)),
                    device: backend.device()
                ).results.arms[0].seeds[0].metrics
            }
            let opened = Counter()
            #expect(try inFiles(files.path, opened: opened, metrics) == metrics())
            #expect(opened.value == 2, "\(data)")
            try place.change("BertForSequenceClassification", "BertModel")
        }
    }

    @Test("texts by number: each once, in order, parts that look alike apart")
    func texts() throws {
        let place = try ScratchFolder()
        let all = [["a"], [""], ["a", "b"], ["a1:b"], ["1:a"], ["é"], ["e\u{301}"], ["", ""], ["12:", ":"], ["a\n"]]
        func make() throws -> (numbers: [Int32], texts: TextSet) {
            let builder = TextSetBuilder()
            let numbers = try (all + all.reversed()).map { try builder.number(of: $0) }
            return (numbers, try builder.finish())
        }
        let (memory, file) = (try make(), try inFiles(place.path) { try make() })
        let order = (0..<Int32(all.count)).map { $0 }
        for one in [memory, file] {
            #expect(one.numbers == order + order.reversed())
            #expect(one.texts.count == all.count && all.indices.allSatisfy { one.texts[$0] == all[$0] })
            // As in runs that were made before.
            var hash = ContentHash()
            for parts in all {
                for part in parts { hash.update(Array("\(part.utf8.count):".utf8) + Array(part.utf8)) }
                hash.update([0x0A])
            }
            #expect(one.texts.digest == hash.hexadecimal)
        }
    }
}
