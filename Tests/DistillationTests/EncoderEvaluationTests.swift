import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A small BERT of random weights whose vocabulary is letters.
struct LetterEncoder {
    let folder: ScratchFolder
    static let texts = ["ab cd", "ef", "gh ij kl mn", "o", "pq rs", "tuv", "wx yz ab", "c d e f", "ka", "zz z"]

    init() throws {
        folder = try ScratchFolder()
        for file in ["config.json", "model.safetensors"] {
            try FileManager.default.copyItem(
                atPath: Project.golden("models/bert_cls/" + file), toPath: folder.path(file))
        }
        let letters = "abcdefghijklmnopqrstuvwxyz".map(String.init)
        let vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + letters.map { "##" + $0 }
        try folder.write(vocabulary.joined(separator: "\n") + "\n", to: "vocab.txt")
    }

    /// What is found likeliest, text by text, without padding.
    func predictions(_ device: Device, pair: String? = nil) throws -> [Int] {
        let model = try EncoderDirectory.load(folder.path, on: device).model
        let tokenizer = try Tokenizer.load(folder.path)
        return try Self.texts.map { text in
            let encoding = try pair.map { try tokenizer.encode(text, $0) } ?? tokenizer.encode(text)
            let batch = try EncoderBatch([encoding], padding: 0)
            let logits = try Autograd.withoutGradients { try model.forward(batch).logits?.values() ?? [] }
            return logits.firstIndex(of: logits.max() ?? 0) ?? -1
        }
    }

    func change(_ old: String, _ new: String) throws {
        let text = try String(contentsOfFile: folder.path("config.json"), encoding: .utf8)
        try folder.write(text.replacing(old, with: new), to: "config.json")
    }
}

@Suite("Evaluation of encoders")
struct EncoderEvaluationTests {
    @Test("a classifier's accuracy, macro-F1 and confusion", arguments: TestBackend.fast)
    func classifier(_ backend: TestBackend) throws {
        let place = try LetterEncoder()
        let device = try backend.device()
        let said = try place.predictions(device)
        // The last three labels are wrong.
        let labels = said.enumerated().map { $0 < 7 ? $1 : ($1 + 1) % 3 }
        let lines = zip(LetterEncoder.texts, labels).map { "{\"text\": \"\($0)\", \"label\": \"LABEL_\($1)\"}\n" }
        try place.folder.write(lines.joined(), to: "rows.jsonl")
        let csv = zip(LetterEncoder.texts, labels).map { "\($0),\($1)\n" }
        try place.folder.write("sentence,class\n" + csv.joined(), to: "rows.csv")
        let report = try evaluate(
            encoder: place.folder.path, teacher: nil, on: EncoderEvaluationData(place.folder.path("rows.jsonl")),
            device: device)
        let student = report.results.arms[0].seeds[0]
        #expect(student.metrics["accuracy"] == 0.7)
        var confusion = [[Int]](repeating: [0, 0, 0], count: 3)
        for (label, prediction) in zip(labels, said) { confusion[label][prediction] += 1 }
        #expect(student.confusion == confusion)
        let f1 = (0..<3).map { c -> Double in
            let all = confusion[c].reduce(0, +) + confusion.reduce(0) { $0 + $1[c] }
            return all == 0 ? 0 : 2 * Double(confusion[c][c]) / Double(all)
        }
        #expect(abs((student.metrics["macro_f1"] ?? -1) - f1.reduce(0, +) / 3) < 1e-12)
        #expect(report.json["confusion"] == .array(confusion.map { .array($0.map { .int($0) }) }))
        #expect(report.table.contains("LABEL_1") && report.json["examples"] == 10)
        // The same from a table with other names, and beside itself as a teacher.
        let again = try evaluate(
            encoder: place.folder.path, teacher: place.folder.path,
            on: EncoderEvaluationData(
                place.folder.path("rows.csv"), fields: ["text": "sentence", "label": "class"]), device: device)
        #expect(again.results.arms.map(\.role) == ["teacher", "student"])
        #expect(again.results.arms[1].seeds[0].metrics["accuracy"] == 0.7)
        #expect(again.results.arms[1].seeds[0].metrics["agreement"] == 1)
        #expect(again.results.arms[1].seeds[0].metrics["kl_to_teacher"] == 0)
        // With rounded weights it is another model, a little.
        let texts = LetterEncoder.texts.map { [$0] }
        let exact = try TextClassifier(place.folder.path, on: device).logits(texts)
        let rounded = try TextClassifier(place.folder.path, dtype: .bf16, on: device).logits(texts)
        let size = exact.map(abs).max() ?? 0
        #expect(exact != rounded && zip(exact, rounded).allSatisfy { abs($0 - $1) < 0.03 * size })
        let measured = try evaluate(
            encoder: place.folder.path, teacher: nil, on: EncoderEvaluationData(place.folder.path("rows.jsonl")),
            dtype: .bf16, device: device)
        #expect((measured.results.arms[0].seeds[0].metrics["accuracy"] ?? 0) >= 0.5)
    }

    @Test("pairs of texts are read as pairs; regression heads are judged by rank")
    func pairs() throws {
        let place = try LetterEncoder()
        let device = try TestBackend.cpu.device()
        let said = try place.predictions(device, pair: "xy")
        let lines = zip(LetterEncoder.texts, said).map {
            "{\"premise\": \"\($0)\", \"hypothesis\": \"xy\", \"label\": \($1)}\n"
        }
        try place.folder.write(lines.joined(), to: "rows.jsonl")
        let data = EncoderEvaluationData(
            place.folder.path("rows.jsonl"), fields: ["text": "premise", "pair": "hypothesis"])
        let report = try evaluate(encoder: place.folder.path, teacher: nil, on: data, device: device)
        #expect(report.results.arms[0].seeds[0].metrics["accuracy"] == 1)

        try place.change("\"model_type\"", "\"problem_type\": \"regression\", \"model_type\"")
        let three = thrown(RetortError.self) {
            _ = try evaluate(encoder: place.folder.path, teacher: nil, on: data, device: device)
        }
        #expect(three?.exit == .badData && three?.what.contains("3 numbers") == true)
        try place.change("\"regression\"", "\"multi_label_classification\"")
        let several = thrown(RetortError.self) {
            _ = try evaluate(encoder: place.folder.path, teacher: nil, on: data, device: device)
        }
        #expect(several?.exit == .badData && several?.location?.file.hasSuffix("config.json") == true)
    }

    @Test("an encoder of sentences against scores", arguments: TestBackend.fast)
    func sentences(_ backend: TestBackend) throws {
        let place = try LetterEncoder()
        try place.change("BertForSequenceClassification", "BertModel")
        let device = try backend.device()
        let encoder = try SentenceEncoder(place.folder.path, on: device)
        let vectors = try LetterEncoder.texts.map { try encoder.embed([$0])[0] }
        let base = try encoder.embed(["abc"])[0]
        let cosines = vectors.map { SentenceSimilarity.cosine($0, base) }
        func spearman(_ dtype: DType = .f32, _ score: (Double) -> Double) throws -> (Double, Double) {
            let rows = zip(LetterEncoder.texts, cosines).map { "\($0),abc,\(score($1))\n" }
            try place.folder.write("sentence1,sentence2,score\n" + rows.joined(), to: "rows.csv")
            let metrics = try evaluate(
                encoder: place.folder.path, teacher: nil, on: EncoderEvaluationData(place.folder.path("rows.csv")),
                dtype: dtype, device: device
            ).results.arms[0].seeds[0].metrics
            return (try #require(metrics["spearman"]), try #require(metrics["pearson"]))
        }
        // Scores that rise with the cosine: the ranks agree, the numbers only where they are the cosines themselves.
        let same = try spearman { $0 }
        #expect(abs(same.0 - 1) < 1e-9 && abs(same.1 - 1) < 1e-4)
        let rounded = try spearman(.bf16) { $0 }
        #expect(rounded.1 > 0.95 && rounded.1 != same.1, "\(rounded) \(same)")
        let bent = try spearman { exp(40 * $0) }
        #expect(abs(bent.0 - 1) < 1e-9 && bent.1 < 0.999)
        #expect(abs(try spearman { -$0 }.0 + 1) < 1e-9)
        let flat = thrown(RetortError.self) { _ = try spearman { _ in 3 } }
        #expect(flat?.exit == .badData && flat?.what.contains("do not differ") == true)
    }

    @Test("names and labels that do not fit")
    func refusals() throws {
        let place = try LetterEncoder()
        let device = try TestBackend.cpu.device()
        func refused(
            _ exit: ExitCode, _ words: String, fields: [String: String] = [:], every: Int? = nil, _ text: String
        ) throws {
            try place.folder.write(text, to: "rows.jsonl")
            let error = thrown(RetortError.self) {
                _ = try evaluate(
                    encoder: place.folder.path, teacher: nil,
                    on: EncoderEvaluationData(place.folder.path("rows.jsonl"), fields: fields, every: every),
                    device: device)
            }
            #expect(error?.exit == exit && "\(error!)".contains(words), "\(String(describing: error))")
        }
        try refused(.usage, "sentence1", fields: ["sentence1": "a"], "{}")
        try refused(.badData, "rows.jsonl:2:24", "{\"text\": \"a\", \"label\": 2}\n{\"text\": \"a\", \"label\": 3}\n")
        try refused(.badData, "LABEL_0, LABEL_1, LABEL_2", "{\"text\": \"a\", \"label\": \"good\"}\n")
        try refused(.badData, "'label' is missing", "{\"text\": \"a\"}\n")
        try refused(.usage, "--test-every is 1", every: 1, "{\"text\": \"a\", \"label\": 2}\n")
    }
}
