import Foundation
import RetortData
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A small distillation of encoders: a teacher of random weights that reads letters, and a student with a tokenizer of its own.
struct SmallEncoders {
    let folder: ScratchFolder
    private let backend: TestBackend

    static let sentences = """
        data: {kind: sentences, path: rows.csv, columns: [a, b], test: {every: 4}}
        teacher: {path: teacher}
        student: {model: {kind: bert, hidden: 24, intermediate: 32, layers: 1, heads: 2, positions: 32}, tokenizer: own}
        arms:
          student: {objective: [{loss: embedding-mse, alpha: 10}]}
          cosine: {objective: [{loss: embedding-cosine}, {loss: rkd, alpha: 0.01}]}
        train: {steps: 300, batch: 8, optimizer: {kind: adamw, lr: 0.003}, schedule: {kind: cosine, warmup: 3}}
        seeds: [0, 1]
        """

    /// The curves of a run's arms.
    func losses(_ output: String, _ overrides: [String]) throws -> [[Double]] {
        try readRecipe(folder.path("small.yaml"), overrides: overrides).start(
            on: backend.device(), output: folder.path(output), progress: Progress(quiet: true)
        ).run().arms.map { $0.seeds[0].curve.map(\.loss) }
    }

    init(_ backend: TestBackend, _ recipe: String = Self.sentences) throws {
        self.backend = backend
        folder = try ScratchFolder()
        try folder.write(recipe, to: "small.yaml")
        let letters = "abcdefghijklmnopqrstuvwxyz".map(String.init)
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        let config: JSON = [
            "architectures": ["BertModel"], "model_type": "bert", "vocab_size": 57, "hidden_size": 24,
            "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 40,
            "initializer_range": 0.2, "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0,
        ]
        let model = try EncoderModelRegistry.make(JSONCursor(config, file: "config.json"))
        _ = try model.materialize(on: TestBackend.cpu.device(), seed: 4)
        try EncoderDirectory.save(model, to: folder.path("teacher"))
        try folder.write(
            (special + letters + letters.map { "##" + $0 }).joined(separator: "\n"), to: "teacher/vocab.txt")
        // The student's tokens stand in another order and begin with pairs of letters.
        let pairs = letters.map { $0 + "a" }
        try folder.write(
            (special + pairs + letters.reversed() + letters.map { "##" + $0 }).joined(separator: "\n"),
            to: "own/vocab.txt")
        var lines = ["a,b"]
        // Few letters: what a student learns of them holds for other texts.
        for row in 0..<120 {
            func word(_ salt: Int) -> String {
                (0..<(1 + (row + salt) % 3)).map { letters[(row * 5 + row / 8 + $0 * (salt + 3) + salt) % 8] }.joined()
            }
            lines.append("\(word(1)) \(word(2)),\(word(5)) \(word(row % 3)) \(word(9))")
        }
        try folder.write(lines.joined(separator: "\n") + "\n", to: "rows.csv")
    }

    func start(_ output: String, _ overrides: String...) throws -> any RecipeRun {
        try readRecipe(folder.path("small.yaml"), overrides: overrides).start(
            on: try backend.device(), output: folder.path(output), progress: Progress(quiet: true))
    }

    /// The error that a changed recipe ends with.
    func refused(_ piece: String, _ replacement: String) throws -> RetortError? {
        let old = try String(contentsOfFile: folder.path("small.yaml"), encoding: .utf8)
        let text = old.replacing(piece, with: replacement)
        #expect(text != old, "\(piece)")
        try folder.write(text, to: "small.yaml")
        let error = thrown(RetortError.self) { _ = try start("refused") }
        #expect(!FileManager.default.fileExists(atPath: folder.path("refused")), "a refused recipe leaves no run")
        try folder.write(old, to: "small.yaml")
        return error
    }

    /// Everything about a run that does not depend on how fast it ran.
    static func facts(_ results: RunResults) -> [String] {
        results.arms.flatMap { arm in
            arm.seeds.map { seed in
                let times = [Metric.latency, .peakBytes, .stepTime, .tokenRate].map(\.rawValue)
                let metrics = seed.metrics.filter { !times.contains($0.key) }
                let curve = seed.curve.map { "\($0.epoch) \($0.step) \($0.loss) \($0.accuracy ?? -1)" }
                return "\(arm.role) \(seed.seed) \(metrics.sorted { $0.key < $1.key }) \(curve) \(seed.confusion)"
            }
        }
    }

    /// Models and projectors of a run by path.
    func weights(_ run: String) throws -> [String: Data] {
        try contents(of: folder.path(run)).filter { $0.key.hasSuffix(".safetensors") }
    }

    /// A run that was finished, as if it had been stopped behind some arms of some seeds.
    func unfinish(_ run: String, without parts: [String]) throws {
        for part in ["results.json"] + parts {
            try FileManager.default.removeItem(atPath: folder.path("\(run)/\(part)"))
        }
        let manifest = folder.path("\(run)/manifest.json")
        let text = try String(contentsOfFile: manifest, encoding: .utf8)
        try text.replacingOccurrences(of: "finished", with: "stopped").write(
            toFile: manifest, atomically: true, encoding: .utf8)
    }
}

@Suite("Runs with sentences")
struct SentenceRunTests {
    @Test("layout, metrics; two runs are equal bit for bit; a stopped one goes on", arguments: TestBackend.fast)
    func run(_ backend: TestBackend) throws {
        let small = try SmallEncoders(backend)
        let results = try small.start("one").run()
        let again = try small.start("two").run()
        #expect(SmallEncoders.facts(results) == SmallEncoders.facts(again))
        let weights = try small.weights("one")
        #expect(try weights == small.weights("two") && weights.count == 4)
        #expect(results.arms.map(\.role) == ["teacher", "untrained", "student", "cosine"])
        #expect(results.quality == .teacherSpearman && results.timeUnit == .step)
        func mean(_ arm: Int, _ metric: Metric) throws -> Double {
            try #require(results.arms[arm].spread(metric)?.mean)
        }
        for arm in [2, 3] {
            let (before, after) = (try mean(1, .teacherSpearman), try mean(arm, .teacherSpearman))
            #expect(after > before + 0.05, "\(before) \(after)")
            let (cosine, retrieval) = (try mean(arm, .teacherCosine), try mean(arm, .retrieval))
            #expect(cosine > 0.8 && retrieval > 0, "\(cosine) \(retrieval)")
        }
        #expect(results.arms[0].spread(.teacherSpearman) == nil && results.arms[1].spread(.teacherCosine) == nil)
        #expect(results.arms[2].seeds[0].curve.last?.step == 300)
        let losses = results.arms[2].seeds[0].curve.map(\.loss)
        #expect(losses[losses.count - 1] < 0.5 * losses[0])
        #expect(
            SmallEncoders.facts(try RunDirectory.results(in: small.folder.path("one"))) == SmallEncoders.facts(results))

        try small.unfinish("two", without: ["cosine/seed-1"])
        #expect(try SmallEncoders.facts(small.start("two").run()) == SmallEncoders.facts(results))
        #expect(try small.weights("two") == weights)
    }

    @Test("what is saved is a directory of sentence-transformers with the run's numbers")
    func saved() throws {
        let small = try SmallEncoders(.cpu)
        let results = try small.start("run", "seeds=[0]", "student.pooling=cls", "student.normalize=false").run()
        let folder = small.folder.path("run/student/seed-0/final")
        #expect(
            try Set(contents(of: folder).keys) == [
                "config.json", "model.safetensors", "vocab.txt", "modules.json", "1_Pooling/config.json",
                "sentence_bert_config.json",
            ])
        let device = try TestBackend.cpu.device()
        let student = try SentenceEncoder(folder, on: device)
        #expect(student.settings == SentenceSettings(pooling: .cls, normalizes: false, length: 32))
        #expect(try SentenceSettings(in: small.folder.path("run/cosine/seed-0/final")) == student.settings)
        let teacher = try SentenceEncoder(small.folder.path("teacher"), on: device)
        // Every fourth row, the first among them; of each both columns.
        let table = try LabelledTexts.read(small.folder.path("rows.csv"), .init(texts: ["a", "b"])).rows
        var texts: [String] = []
        for row in stride(from: 0, to: table.count, by: 4) {
            for text in table[row].texts where !texts.contains(text) { texts.append(text) }
        }
        func similarities(_ encoder: SentenceEncoder) throws -> [Double] {
            let vectors = try encoder.embed(texts)
            return SentenceData.pairs(texts.count).map { SentenceSimilarity.cosine(vectors[$0.0], vectors[$0.1]) }
        }
        let expected = try #require(
            SentenceSimilarity.spearman(try similarities(student), try similarities(teacher)))
        let measured = try #require(results.arms[2].seeds[0].metrics["spearman_to_teacher"])
        #expect(abs(measured - expected) < 1e-3, "\(measured) \(expected)")
        // The same text, each by its own tokenizer.
        #expect(try student.tokens("ba ka").ids != teacher.tokens("ba ka").ids)
    }

    @Test("texts read in parts leave the weights as the whole batch does", arguments: TestBackend.fast)
    func microBatches(_ backend: TestBackend) throws {
        let small = try SmallEncoders(backend)
        func losses(_ output: String, _ override: String) throws -> [[Double]] {
            let results = try small.start(output, "seeds=[0]", "student.model.dropout=0", "train.steps=20", override)
                .run()
            return [2, 3].map { results.arms[$0].seeds[0].curve.map(\.loss) }
        }
        let (whole, parts) = (try losses("whole", "train.batch=8"), try losses("parts", "train.micro-batch=3"))
        for (a, b) in zip(whole.joined(), parts.joined()) { #expect(abs(a - b) < 2e-3 * abs(a) + 1e-6, "\(a) \(b)") }
        #expect(whole != parts && whole[0].count == 10)
    }

    @Test("a narrower student: a projection is learned beside it, or the teacher's components are its columns")
    func widths() throws {
        let small = try SmallEncoders(.cpu)
        func student(_ output: String, _ overrides: String...) throws -> (SeedResult, files: [String]) {
            let recipe = try readRecipe(
                small.folder.path("small.yaml"),
                overrides: [
                    "seeds=[0]", "student.model.hidden=16", "train.steps=60", "train.optimizer.lr=0.01",
                ] + overrides)
            let run = try recipe.start(
                on: TestBackend.cpu.device(), output: small.folder.path(output), progress: Progress(quiet: true))
            let result = try run.run().arms[2].seeds[0]
            return (result, try contents(of: small.folder.path(output + "/student/seed-0")).keys.sorted())
        }
        let (projected, files) = try student("projected")
        #expect(files.contains("projectors.safetensors"))
        #expect(
            try SafeTensors(path: small.folder.path("projected/student/seed-0/projectors.safetensors")).tensors
                .map(\.shape) == [[24, 16]])
        let (reduced, others) = try student("reduced", "teacher.pca=true")
        #expect(!others.contains("projectors.safetensors"), "equal widths need no projection")
        let log = try String(contentsOfFile: small.folder.path("reduced/log.txt"), encoding: .utf8)
        #expect(log.contains("16 principal components of 24 keep"))
        for result in [projected, reduced] {
            let losses = result.curve.map(\.loss)
            #expect(losses[losses.count - 1] < 0.7 * losses[0], "\(losses)")
            #expect(try #require(result.metrics["cosine_to_teacher"]) > 0.4)
        }
    }

    @Test("plain text and JSON rows are the same sentences as a table's")
    func forms() throws {
        let small = try SmallEncoders(.cpu)
        let rows = try LabelledTexts.read(small.folder.path("rows.csv"), .init(texts: ["a"])).rows.map { $0.texts[0] }
        try small.folder.write(rows.joined(separator: "\n"), to: "rows.txt")
        try small.folder.write(rows.map { "{\"text\": \"\($0)\"}\n" }.joined(), to: "rows.jsonl")
        func losses(_ output: String, _ overrides: [String]) throws -> [Double] {
            let recipe = try readRecipe(
                small.folder.path("small.yaml"), overrides: overrides + ["seeds=[0]", "train.steps=4"])
            let run = try recipe.start(
                on: TestBackend.cpu.device(), output: small.folder.path(output), progress: Progress(quiet: true))
            return try run.run().arms[2].seeds[0].curve.map(\.loss)
        }
        let table = try losses("csv", ["data.columns=[a]"])
        #expect(try losses("lines", ["data.path=rows.txt", "data.format=lines", "data.columns=[text]"]) == table)
        #expect(try losses("json", ["data.path=rows.jsonl", "data.columns=[text]"]) == table)
        #expect(Set(table).count == 4)
    }

    @Test("what is measured is not learned, and nothing twice")
    func repeated() throws {
        let data = try SentenceData(
            (
                train: RowStream([["a"], ["b", ""], ["a"], ["f"]]),
                test: RowStream([["c"], ["b", "c"], ["d"], ["e"]])
            ))
        #expect(data.summary == "2 sentences to learn from, 4 to measure on; 3 that stand there twice are left out")
        let few = thrown(RetortError.self) {
            _ = try SentenceData((train: RowStream([["a"]]), test: RowStream([["b"], ["c"]])))
        }
        #expect(few?.exit == .badData)
        let pairs = SentenceData.pairs(5)
        #expect(pairs.count == 10 && Set(pairs.map { "\($0)" }).count == 10 && pairs.allSatisfy { $0 < $1 })
        let many = SentenceData.pairs(1000, most: 500)
        #expect(many.count == 500 && many.allSatisfy { $0 != $1 && max($0, $1) < 1000 })
    }

    @Test("recipes that do not fit are refused before anything is trained")
    func refusals() throws {
        let small = try SmallEncoders(.cpu)
        func refused(_ piece: String, _ replacement: String, _ words: String, exit: ExitCode = .recipe) throws {
            let error = try #require(try small.refused(piece, replacement))
            #expect("\(error)".contains(words) && error.exit == exit, "\(error)")
        }
        try refused("teacher: {path: teacher}", "teacher: {path: nowhere}", "nowhere", exit: .missingInput)
        try refused("heads: 2", "heads: 5", "5 heads do not divide 24")
        try refused("tokenizer: own}", "tokenizer: own, pooling: last}", "one of mean, cls, max")
        try refused("positions: 32", "positions: 32, vocabulary: 20", "the tokenizer has ids up to 82")
        try refused("{path: teacher}", "{path: teacher, max-length: 1}", "max-length")
        try refused("{path: teacher}", "{path: teacher, pca: true}", "remove teacher.pca")
        try refused("test: {every: 4}", "test: {}", "either path or every")
        try refused("test: {every: 4}", "test: {every: 4, path: rows.csv}", "has both path and every")
        try refused("columns: [a, b]", "columns: [a, c]", "'c'", exit: .badData)
        try refused("loss: embedding-mse, alpha: 10", "loss: hinton", "hinton")
        try refused("loss: embedding-mse, alpha: 10", "loss: embedding-mse, student: [pooled]", "student")
        try refused("cosine: {objective", "untrained: {objective", "cannot be an arm's name")
        try refused("seeds: [0, 1]", "seeds: [0, 0]", "stands twice")
        try refused("rows.csv", "none.csv", "none.csv", exit: .missingInput)
    }
}
