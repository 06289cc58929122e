import Foundation
import RetortData
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

@Suite("Evaluation of language models")
struct LanguageEvaluationTests {
    private static let keys = [
        "accuracy", "cross_entropy", "perplexity", "agreement", "kl_to_teacher", "reverse_kl_to_teacher", "parameters",
        "bytes",
    ]

    private func expectSame(_ report: EvaluationReport, _ run: RunResults) throws {
        try #require(report.results.arms.map(\.role) == ["teacher", "student"])
        for (measured, trained) in [(0, 0), (1, run.arms.count - 1)] {
            let (new, old) = (report.results.arms[measured].seeds[0], run.arms[trained].seeds[0])
            for key in Self.keys { #expect(new.metrics[key] == old.metrics[key], "\(key)") }
        }
        let student = report.results.arms[1].seeds[0].metrics
        #expect(try #require(student["kl_to_teacher"]) > 0 && student["perplexity"] != nil)
        // The bins are the same tokens once more.
        let tokens = report.bins.reduce(0) { $0 + $1.tokens }
        #expect(tokens == report.counts.last?.count && report.bins.count == 5)
        func mean(_ value: (EntropyBin) -> Double?) -> Double {
            report.bins.reduce(0) { $0 + (value($1) ?? 0) * Double($1.tokens) } / Double(tokens)
        }
        #expect(abs(mean(\.divergence) - (student["kl_to_teacher"] ?? 0)) < 1e-9)
        #expect(abs(mean(\.agreement) - (student["agreement"] ?? 0)) < 1e-9)
    }

    @Test("rows of tokens: on its run's test data a model has the run's numbers, exactly", arguments: TestBackend.fast)
    func tokens(_ backend: TestBackend) throws {
        let small = try SmallLanguage(backend)
        let run = try small.start("run", "seeds=[0]").run()
        let report = try evaluate(
            languageModel: small.folder.path("run/student/seed-0/final"),
            teacher: small.folder.path("run/teacher/seed-0/final"),
            on: LanguageEvaluationData(small.folder.path("rows.safetensors")), device: backend.device())
        try expectSame(report, run)
        #expect(report.counts.map(\.count) == [16, 16 * 9])
        let few = try evaluate(
            languageModel: small.folder.path("run/student/seed-0/final"), teacher: nil,
            on: LanguageEvaluationData(small.folder.path("rows.safetensors"), tensor: "train", limit: 3),
            device: backend.device())
        #expect(few.counts.map(\.count) == [3, 27] && few.bins.isEmpty)
    }

    @Test("text: on its run's test data a model has the run's numbers, exactly")
    func text() throws {
        let place = try TextPlace()
        let run = try place.train()
        var settings = TextSettings()
        settings.source.fields = ["prompt": "question", "completion": "answer"]
        settings.examples.separator = " "
        let report = try evaluate(
            languageModel: place.student, teacher: place.teacher,
            on: LanguageEvaluationData(place.folder.path("text.jsonl"), text: settings, every: 4),
            device: TestBackend.cpu.device())
        try expectSame(report, run)
        #expect(report.counts.first?.count == 3 && report.notes.contains { $0.contains("3 examples") })
    }

    @Test("divergences by the teacher's entropy against a computation in double", arguments: TestBackend.available)
    func bins(_ backend: TestBackend) throws {
        let device = try backend.device()
        let small = try SmallLanguage(.cpu)
        // Long enough that the teacher is sure of some tokens and not of others.
        _ = try small.start("run", "seeds=[0]", "teacher.train.steps=600").run()
        func load(_ role: String) throws -> any LanguageModel {
            try LanguageModelDirectory.load(small.folder.path("run/\(role)/seed-0/final"), on: device).model
        }
        let (teacher, student) = (try load("teacher"), try load("student"))
        var rows: [[Int32]] = []
        for row in 0..<6 {
            var tokens: [Int32] = []
            for place in 0..<10 {
                let number = row * 13 + place * (1 + row % 5)
                tokens.append(Int32(number % 24))
            }
            rows.append(tokens)
        }
        let examples = rows.map { TokenizedExample(tokens: $0, isTarget: [Bool](repeating: true, count: 10)) }
        let batches = try LanguageBatches(TokenizedCorpus(examples), batch: 4, seed: nil)
        let found = try #require(
            try LanguageEvaluation(
                student, batches, teachers: [LanguageTeacher(teacher, on: device)], on: device
            ).comparison)
        func probabilities(_ model: any LanguageModel) throws -> [[Double]] {
            let logits = try rows.flatMap { (row: [Int32]) -> [Float] in
                try Autograd.withoutGradients { try model.forward(TokenBatch(row, rows: 1)).logits.values() }
            }
            let places: [Int] = (0..<60).filter { $0 % 10 != 9 }
            return places.map { (place: Int) -> [Double] in
                let row = logits[(place * 24)..<((place + 1) * 24)].map { Double($0) }
                let top: Double = row.max() ?? 0
                let weights: [Double] = row.map { exp($0 - top) }
                let total: Double = weights.reduce(0, +)
                return weights.map { $0 / total }
            }
        }
        var tokens = [Int](repeating: 0, count: 5)
        var divergences = [Double](repeating: 0, count: 5)
        var same = tokens
        for (p, q) in zip(try probabilities(teacher), try probabilities(student)) {
            let entropy: Double = -p.reduce(0.0) { $0 + $1 * log($1) }
            let bin = entropy < 0.5 ? 0 : entropy < 1 ? 1 : entropy < 2 ? 2 : entropy < 4 ? 3 : 4
            tokens[bin] += 1
            for (a, b) in zip(p, q) { divergences[bin] += a * log(a / b) }
            if p.firstIndex(of: p.max() ?? 0) == q.firstIndex(of: q.max() ?? 0) { same[bin] += 1 }
        }
        #expect(found.bins.map(\.tokens) == tokens, "\(tokens)")
        for (index, bin) in found.bins.enumerated() where bin.tokens > 0 {
            let divergence = divergences[index] / Double(tokens[index])
            #expect(abs((bin.divergence ?? -1) - divergence) < 1e-5 + 1e-4 * divergence)
            #expect(bin.agreement == Double(same[index]) / Double(tokens[index]))
        }
    }

    @Test("logits of a large vocabulary come in chunks: every place is compared with itself")
    func chunks() throws {
        let device = try TestBackend.cpu.device()
        // Of so many classes 16 places fill a chunk; a text alone is in one.
        let classes = 1 << 20
        func model(_ vocabulary: Int, seed: UInt64) throws -> any LanguageModel {
            let config: JSON = [
                "model_type": "llama", "vocab_size": .int(vocabulary), "hidden_size": 8, "intermediate_size": 16,
                "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16,
                "initializer_range": 0.4, "tie_word_embeddings": false,
            ]
            let model = try LanguageModelRegistry.make(JSONCursor(config, file: "config.json"))
            _ = try model.materialize(on: device, seed: seed)
            return model
        }
        let texts = (0..<3).map { text in
            TokenizedExample(
                tokens: (0..<12).map { Int32((text * 12 + $0 + 1) * 290_123 % classes) },
                isTarget: [Bool](repeating: true, count: 12))
        }
        let corpus = try TokenizedCorpus(texts)
        let (together, apart) = (
            try LanguageBatches(corpus, batch: 3, seed: nil), try LanguageBatches(corpus, batch: 1, seed: nil)
        )
        let (student, other) = (try model(classes, seed: 1), try model(classes + 8, seed: 2))
        // What was kept of the student itself.
        let identity = CacheIdentity(
            teacher: String(repeating: "0a", count: 32), tokenizer: "none", vocabulary: classes, kept: .top(4),
            bits: 12, config: [:])
        let folder = try ScratchFolder()
        let writer = try TeacherCacheWriter(folder.path("cache"), identity: identity)
        let batch = together.batch(of: [0, 1, 2])
        student.setTraining(false)
        let records = try TeacherReading(
            model: student, vocabulary: student.vocabulary, kept: .top(4), device: device
        ).records(batch)
        for (text, record) in zip(batch.texts, records) {
            try writer.add(record, at: writer.cache.address(text.tokens))
        }
        try writer.finish()
        let kept = LanguageTeacher("kept", .cache(try TeacherCache(folder.path("cache"))), knowsHeldOut: true)
        // One of which half of the classes are the student's.
        let half = LanguageTeacher(other, tokens: TeacherTokens(count: classes / 2), on: device)

        func measure(_ batches: LanguageBatches, _ teacher: LanguageTeacher) throws -> LanguageEvaluation.Comparison {
            let found = try LanguageEvaluation(student, batches, teachers: [teacher], on: device)
            #expect(found.tokens == 33)
            return try #require(found.comparison)
        }
        let (itself, alone) = (try measure(together, kept), try measure(apart, kept))
        #expect(itself.agreement == 1 && itself.forward < 0.01 && abs(itself.forward - alone.forward) < 1e-6)
        let (all, each) = (try measure(together, half), try measure(apart, half))
        let compared = texts.reduce(0) { $0 + $1.tokens.dropFirst().count { $0 < classes / 2 } }
        #expect(compared > 10 && compared < 23)
        #expect(all.bins.map(\.tokens) == each.bins.map(\.tokens))
        #expect(all.bins.reduce(0) { $0 + $1.tokens } == compared)
        #expect(each.forward > 0.1 && abs(all.forward - each.forward) < 1e-5 * each.forward)
        #expect(abs(all.reverse - each.reverse) < 1e-5 * each.reverse)
    }

    @Test("borders belong to the interval above them; an empty interval has no mean")
    func borders() {
        var sums = EntropySums()
        for (entropy, divergence) in [(-1e-7, 1.0), (0.49, 3), (0.5, 5), (4, 7), (9, 8)] {
            sums.add(entropy: entropy, divergence: divergence, agrees: divergence > 2)
        }
        let bins = sums.bins
        #expect(bins.map(\.tokens) == [2, 1, 0, 0, 2] && bins.map(\.divergence) == [2, 5, nil, nil, 7.5])
        #expect(bins.map(\.agreement) == [0.5, 1, nil, nil, 1])
        #expect(bins.map(\.from) == [0, 0.5, 1, 2, 4] && bins.map(\.to) == [0.5, 1, 2, 4, nil])
    }

    @Test("a longer head is compared over the tokenizer's tokens, in a run's table and by eval alike")
    func longerHead() throws {
        let place = try TextPlace()
        try place.folder.write(
            TextPlace.recipe.replacing("hidden: 8,", with: "hidden: 8, vocabulary: 530,"), to: "text.yaml")
        let results = try place.train()
        var data = LanguageEvaluationData(place.folder.path("text.jsonl"))
        data.text.source.fields = ["prompt": "question", "completion": "answer"]
        (data.text.examples.separator, data.every) = (" ", 4)
        let report = try evaluate(
            languageModel: place.student, teacher: place.teacher, on: data, device: TestBackend.cpu.device())
        let (run, eval) = (results.arms[1].seeds[0].metrics, report.results.arms[1].seeds[0].metrics)
        for key in ["kl_to_teacher", "reverse_kl_to_teacher", "agreement", "perplexity"] {
            #expect(eval[key] == run[key] && run[key] != nil, "\(key)")
        }
        #expect(run["kl_to_teacher"] ?? 0 > 0.001)
    }

    @Test("what does not fit is refused")
    func refusals() throws {
        let place = try TextPlace()
        _ = try place.train()
        let device = try TestBackend.cpu.device()
        func refused(
            _ exit: ExitCode, _ words: String, teacher: String? = nil, _ change: (inout LanguageEvaluationData) -> Void
        ) {
            var data = LanguageEvaluationData(place.folder.path("text.jsonl"))
            data.text.source.fields = ["prompt": "question", "completion": "answer"]
            change(&data)
            let error = #expect(throws: RetortError.self) {
                try evaluate(languageModel: place.student, teacher: teacher, on: data, device: device)
            }
            #expect(error?.exit == exit && "\(error!)".contains(words), "\(String(describing: error))")
        }
        refused(.missingInput, "none.jsonl") { $0.path = "none.jsonl" }
        refused(.badData, "text.jsonl:1:1") { $0.text.source.fields = [:] }
        refused(.usage, "questoin") { $0.text.source.fields = ["questoin": "a"] }
        refused(.usage, "--tensor") { $0.tensor = "test" }
        refused(.usage, "--test-every") { $0.every = 1 }
        refused(.usage, "chat template") { $0.text.template = "none" }
        refused(.badData, "a vocabulary of 64", teacher: Project.golden("models/kd_lm_hinton/teacher")) { _ in }
        // As many tokens, two of them in each other's place.
        try FileManager.default.copyItem(atPath: place.teacher, toPath: place.folder.path("other"))
        let file = place.folder.path("other/tokenizer.json")
        let text = try String(contentsOfFile: file, encoding: .utf8)
        func entry(_ token: String) throws -> (key: String, id: String) {
            let match = try #require(text.firstMatch(of: try Regex("\"\(token)\": *([0-9]+)")))
            return ("\"\(token)\"", String(try #require(match.output[1].substring)))
        }
        let (one, two) = (try entry("\u{2581}they"), try entry("\u{2581}there"))
        try text.replacing(try Regex(one.key + ": *" + one.id), with: one.key + ": " + two.id)
            .replacing(try Regex(two.key + ": *" + two.id), with: two.key + ": " + one.id)
            .write(toFile: file, atomically: true, encoding: .utf8)
        var data = LanguageEvaluationData(place.folder.path("text.jsonl"))
        data.text.source.fields = ["prompt": "question", "completion": "answer"]
        let swapped = try evaluate(
            languageModel: place.student, teacher: place.folder.path("other"), on: data, device: device)
        #expect(swapped.notes.contains { $0.contains("counts its tokens otherwise") })
        // Another vocabulary.
        try FileManager.default.removeItem(atPath: file)
        try FileManager.default.copyItem(
            atPath: Project.root + "/Tests/Fixtures/tokenizers/llama3/tokenizer.json", toPath: file)
        refused(.badData, "different tokenizers", teacher: place.folder.path("other")) { _ in }
        place.write(positions: String(repeating: "a b ", count: 200))
        refused(.badData, "--truncation drop leaves them out") { _ in }
    }

    @Test("texts longer than the models have positions for are cut or left out where that is asked for")
    func longTexts() throws {
        let place = try TextPlace()
        _ = try place.train()
        let long = String(repeating: "a b ", count: 200)
        try place.folder.write(
            "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"b\", \"completion\": \"\(long)\"}\n",
            to: "long.jsonl")
        func counts(_ policy: LongExamplePolicy, teacher: Bool = false) throws -> [Int] {
            var data = LanguageEvaluationData(place.folder.path("long.jsonl"))
            data.text.examples.truncation = policy
            data.fitsModels = true
            return try evaluate(
                languageModel: place.student, teacher: teacher ? place.teacher : nil, on: data,
                device: TestBackend.cpu.device()
            ).counts.map(\.count)
        }
        let (left, cut) = (try counts(.drop), try counts(.right))
        // The second has 64 tokens then; those behind its prompt count.
        #expect(left[0] == 1 && cut[0] == 2 && cut[1] > left[1] + 40 && cut[1] < left[1] + 64, "\(left) \(cut)")
        #expect(try counts(.drop, teacher: true) == left)
    }
}

/// Prompts with completions, and two models of a minute's training at most that read them.
struct TextPlace {
    let folder: ScratchFolder

    static let recipe = """
        data: {kind: text, path: text.jsonl, fields: {prompt: question, completion: answer}, test: {every: 4}, tokenizer: stories260K, separator: " "}
        teacher: {model: {kind: llama, hidden: 16, intermediate: 32, layers: 1, heads: 2, positions: 64}, train: {epochs: 3}}
        student: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 64}}
        arms: {student: {objective: [{loss: hinton, temperature: 1, alpha: 0.5}]}}
        train: {epochs: 2, batch: 3, optimizer: {kind: adamw, lr: 0.01}}
        """

    init() throws {
        folder = try ScratchFolder()
        try FileManager.default.copyItem(
            atPath: Project.root + "/Tests/Fixtures/tokenizers/stories260K", toPath: folder.path("stories260K"))
        let lines = (1...12).map { "{\"question\": \"How many after \($0)?\", \"answer\": \"It is \($0 + 1).\"}\n" }
        try folder.write(lines.joined(), to: "text.jsonl")
        try folder.write(Self.recipe, to: "text.yaml")
    }

    var student: String { folder.path("run/student/seed-0/final") }
    var teacher: String { folder.path("run/teacher/seed-0/final") }

    func train() throws -> RunResults {
        try readRecipe(folder.path("text.yaml")).start(
            on: try TestBackend.cpu.device(), output: folder.path("run"), progress: Progress(quiet: true)
        ).run()
    }

    /// Makes the file one long example.
    func write(positions text: String) {
        _ = try? folder.write("{\"question\": \"\(text)\", \"answer\": \"b\"}\n", to: "text.jsonl")
    }
}
