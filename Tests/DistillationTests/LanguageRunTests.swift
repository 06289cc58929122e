import Foundation
import RetortData
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A whole distillation of language models that takes a second: numbers that count up, with a step that the first two tell.
struct SmallLanguage {
    let folder: ScratchFolder
    private let backend: TestBackend

    static let recipe = """
        data: {kind: tokens, path: rows.safetensors}
        teacher: {model: {kind: llama, hidden: 16, intermediate: 32, layers: 2, heads: 2, vocabulary: 24, positions: 16}, train: {steps: 60}}
        student: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 16}}
        arms:
          student-alone: {objective: [{loss: cross-entropy}]}
          student: {objective: [{loss: hinton, temperature: 2, alpha: 0.5}]}
        train: {steps: 20, batch: 8, optimizer: {kind: adamw, lr: 0.01, decays: matrices}, schedule: {kind: cosine, warmup: 4}, clip: 1}
        seeds: [0, 1]
        """

    init(_ backend: TestBackend, _ recipe: String = Self.recipe) throws {
        self.backend = backend
        folder = try ScratchFolder()
        try SampleTokens.write(to: folder)
        try folder.write(recipe, to: "small.yaml")
    }

    func start(_ output: String, _ overrides: String...) throws -> any RecipeRun {
        try readRecipe(folder.path("small.yaml"), overrides: overrides).start(
            on: try backend.device(), output: folder.path(output), progress: Progress(quiet: true))
    }

    /// The error that ends it.
    func refused(_ piece: String, _ replacement: String) throws -> RetortError? {
        let text = Self.recipe.replacing(piece, with: replacement)
        #expect(text != Self.recipe)
        try folder.write(text, to: "small.yaml")
        let error = thrown(RetortError.self) { _ = try start("run") }
        #expect(!FileManager.default.fileExists(atPath: folder.path("run")), "a refused recipe leaves no run behind")
        return error
    }
}

@Suite("Language model runs")
struct LanguageRunTests {
    /// Everything about a run that does not depend on how fast or when it ran.
    private func facts(_ results: RunResults) -> [String] {
        results.arms.flatMap { arm in
            arm.seeds.map { seed in
                let times = [Metric.latency, .peakBytes, .stepTime, .tokenRate].map(\.rawValue)
                let metrics = seed.metrics.filter { !times.contains($0.key) }
                let curve = seed.curve.map { "\($0.epoch) \($0.step) \($0.loss) \($0.accuracy ?? -1)" }
                return "\(arm.role) \(seed.seed) \(metrics.sorted { $0.key < $1.key }) \(curve)"
            }
        }
    }

    @Test("layout, metrics, report; two runs are equal bit for bit; a stopped one goes on", arguments: TestBackend.fast)
    func run(_ backend: TestBackend) throws {
        let small = try SmallLanguage(backend)
        let results = try small.start("one").run()
        let again = try small.start("two").run()
        #expect(facts(results) == facts(again))
        func models(_ name: String) throws -> [String: Data] {
            try contents(of: small.folder.path(name)).filter {
                $0.key.hasSuffix(".safetensors") || $0.key.hasSuffix("config.json")
            }
        }
        let first = try models("one")
        #expect(try first == models("two") && first.count == 12)
        #expect(Set(facts(results)).count == 6, "arms and seeds differ")
        #expect(results.arms.map(\.role) == ["teacher", "student-alone", "student"] && results.timeUnit == .step)

        // Learned, and measured against the right model.
        let teacher = try #require(results.arms[0].spread(.crossEntropy)?.mean)
        let student = try #require(results.arms[2].spread(.crossEntropy)?.mean)
        #expect(teacher < student && student < log(24.0))
        #expect(results.arms[0].spread(.klToTeacher) == nil && (results.arms[2].spread(.klToTeacher)?.mean ?? 0) > 0)
        #expect(results.arms[1].seeds[0].curve.last?.step == 20)
        let report = try String(contentsOfFile: small.folder.path("one/report.html"), encoding: .utf8)
        #expect(report.contains("perplexity") && report.contains("at step 20"))
        #expect(facts(try RunDirectory.results(in: small.folder.path("one"))) == facts(results))

        // A run that was stopped behind its first arm.
        try FileManager.default.removeItem(atPath: small.folder.path("two/results.json"))
        try FileManager.default.removeItem(atPath: small.folder.path("two/student/seed-1"))
        let manifest = small.folder.path("two/manifest.json")
        let text = try String(contentsOfFile: manifest, encoding: .utf8)
        try text.replacingOccurrences(of: "finished", with: "stopped").write(
            toFile: manifest, atomically: true, encoding: .utf8)
        #expect(facts(try small.start("two").run()) == facts(results))
    }

    @Test("what is saved is a Hugging Face directory with the run's numbers")
    func saved() throws {
        let small = try SmallLanguage(.cpu)
        let results = try small.start("run", "seeds=[0]").run()
        let folder = small.folder.path("run/student/seed-0/final")
        #expect(try Set(contents(of: folder).keys) == ["config.json", "model.safetensors"])
        let device = try TestBackend.cpu.device()
        let model = try LanguageModelDirectory.load(folder, on: device).model
        let rows = (40..<56).map { row in
            let step = 1 + row % 5
            let tokens = (0..<10).map { Int32((row * 7 + $0 * step) % 24) }
            return TokenizedExample(tokens: tokens, isTarget: [Bool](repeating: true, count: 10))
        }
        let evaluation = try LanguageEvaluation(
            model, LanguageBatches(TokenizedCorpus(rows), batch: 5, seed: nil), on: device)
        let expected = try #require(results.arms[2].seeds[0].metrics["cross_entropy"])
        #expect(abs(evaluation.crossEntropy - expected) < 1e-6 && evaluation.tokens == 16 * 9)
    }

    @Test("parts of a batch leave the weights as the batch does")
    func microBatches() throws {
        let small = try SmallLanguage(.cpu)
        func losses(_ output: String, _ override: String) throws -> [Double] {
            try small.start(output, "seeds=[0]", override).run().arms[2].seeds[0].curve.map(\.loss)
        }
        let (whole, parts) = (try losses("whole", "train.batch=8"), try losses("parts", "train.micro-batch=3"))
        for (a, b) in zip(whole, parts) { #expect(abs(a - b) < 2e-4 * a, "\(a) \(b)") }
        #expect(whole != parts && whole.count == 20)
    }

    @Test("what a loss may hold of logits changes the order of sums alone", arguments: TestBackend.fast)
    func lossMemory(_ backend: TestBackend) throws {
        let small = try SmallLanguage(backend)
        func losses(_ output: String, _ overrides: String...) throws -> [[Double]] {
            let run = try readRecipe(small.folder.path("small.yaml"), overrides: ["seeds=[0]"] + overrides).start(
                on: try backend.device(), output: small.folder.path(output), progress: Progress(quiet: true))
            return try run.run().arms.dropFirst().map { $0.seeds[0].curve.map(\.loss) }
        }
        // 72 tokens of 24 classes: five of a cross entropy's and fewer of a divergence's, where eighths of the batch are 128 tokens.
        let (whole, parts) = (try losses("whole"), try losses("parts", "train.loss-memory=1000"))
        for (a, b) in zip(whole.joined(), parts.joined()) { #expect(abs(a - b) < 2e-4 * a, "\(a) \(b)") }
        #expect(whole != parts && whole.allSatisfy { $0.count == 20 })
        // One token at a time.
        #expect(try losses("least", "train.loss-memory=1")[0].count == 20)
        let error = thrown(RetortError.self) { _ = try small.start("none", "train.loss-memory=0") }
        #expect(error?.exit == .recipe && error?.what.contains("loss-memory") == true)
    }

    @Test(
        "attention that drops: parts of a batch drop what the batch drops, and activations made again too",
        arguments: ["gpt2", "llama"], TestBackend.fast)
    func attentionDropout(_ kind: String, _ backend: TestBackend) throws {
        let small = try SmallLanguage(backend)
        let device = try backend.device()
        let config =
            kind == "gpt2"
            ? """
            {"model_type": "gpt2", "vocab_size": 24, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16,
             "attn_pdrop": DROP, "embd_pdrop": 0, "resid_pdrop": 0}
            """
            : """
            {"model_type": "llama", "vocab_size": 24, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16, "rms_norm_eps": 1e-5,
             "attention_dropout": DROP}
            """
        for (folder, probability) in [("dropping", "0.4"), ("keeping", "0")] {
            let text = config.replacing("DROP", with: probability)
            let model = try LanguageModelRegistry.make(JSONCursor(try JSON.parse(text, file: "c"), file: "c"))
            _ = try model.materialize(on: device, seed: 1)
            try LanguageModelDirectory.save(model, to: small.folder.path(folder))
        }
        func losses(_ output: String, _ overrides: String..., student: String = "dropping") throws -> [Double] {
            let recipe = """
                data: {kind: tokens, path: rows.safetensors}
                teacher: {path: keeping}
                student: {path: \(student)}
                arms: {student: {objective: [{loss: cross-entropy}]}}
                train: {steps: 12, batch: 8, optimizer: {kind: adamw, lr: 0.01}}
                seeds: [0]
                """
            try small.folder.write(recipe, to: "small.yaml")
            let run = try readRecipe(small.folder.path("small.yaml"), overrides: overrides).start(
                on: device, output: small.folder.path(output), progress: Progress(quiet: true))
            let results = try run.run()
            return try #require(results.arms.first { $0.role == "student" }).seeds[0].curve.map(\.loss)
        }
        let whole = try losses("whole")
        let parts = try losses("parts", "train.micro-batch=3")
        for (a, b) in zip(whole, parts) { #expect(abs(a - b) < 2e-4 * a, "\(a) \(b)") }
        #expect(whole != parts && whole.count == 12)
        #expect(try losses("again", "train.activation-checkpointing=true") == whole)
        let kept = try losses("kept", student: "keeping")
        #expect(zip(whole, kept).contains { abs($0 - $1) > 2e-3 * $1 }, "nothing is dropped")
    }

    @Test("recipes that do not fit are refused before anything is trained")
    func refusals() throws {
        let small = try SmallLanguage(.cpu)
        func refused(_ piece: String, _ replacement: String, _ words: String, exit: ExitCode = .recipe) throws {
            let error = try #require(try small.refused(piece, replacement))
            #expect("\(error)".contains(words) && error.exit == exit, "\(error)")
        }
        try refused(
            "positions: 16}, train", "positions: 8}, train",
            "the longest example has 10 tokens, the teacher 8 positions")
        try refused("vocabulary: 24", "vocabulary: 20", "the data has the token 23")
        try refused(
            "heads: 2, positions: 16}}", "heads: 2, vocabulary: 30, positions: 16}}",
            "cannot be compared token by token")
        try refused("steps: 20", "steps: 20, epochs: 2", "both epochs and steps")
        try refused("train: {steps: 20, ", "train: {", "either epochs or steps")
        try refused("rows.safetensors", "nothing.safetensors", "nothing.safetensors", exit: .missingInput)
        try refused("rows.safetensors}", "rows.safetensors, test: none}", "no tensor", exit: .badData)
        try refused("loss: hinton, temperature: 2, alpha: 0.5", "loss: crd", "crd is for data of kind csv")
        try refused("hidden: 8,", "hidden: 9,", "do not divide 9")
        let lines = SmallLanguage.recipe.split(separator: "\n", omittingEmptySubsequences: false)
        let teacherless = lines.filter { !$0.hasPrefix("teacher:") }.joined(separator: "\n")
        try small.folder.write(teacherless, to: "small.yaml")
        let error = thrown(RetortError.self) { _ = try small.start("run") }
        #expect(error?.what.contains("needs a teacher") == true)
    }

    @Test("fresh Gemmas are what transformers reads as such; a cap of 0 is none", arguments: TestBackend.fast)
    func gemmas(_ backend: TestBackend) throws {
        let recipe = SmallLanguage.recipe.replacing("kind: llama", with: "kind: gemma2")
        let small = try SmallLanguage(backend, recipe)
        let run = try small.start(
            "run", "seeds=[0]", "teacher.train.steps=4", "student.model.window=6", "student.model.logit-soft-cap=0")
        _ = try run.run()
        let final = small.folder.path("run/student/seed-0/final")
        let config = try JSON.read(final + "/config.json")
        let expected: [String: JSON] = [
            "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "hidden_activation": "gelu_pytorch_tanh",
            "head_dim": 4, "query_pre_attn_scalar": 4, "sliding_window": 6, "attn_logit_softcapping": .double(50),
            "final_logit_softcapping": .null, "tie_word_embeddings": true,
        ]
        for (key, value) in expected { #expect(config[key] == value, "\(key)") }
        let device = try backend.device()
        let (model, _) = try LanguageModelDirectory.load(final, on: device)
        #expect(try model.head().softCap == nil)
        let (teacher, _) = try LanguageModelDirectory.load(small.folder.path("run/teacher/seed-0/final"), on: device)
        #expect(try teacher.head().softCap == 30)
        #expect(try model.generate([1, 2, 3], count: 5).count == 5)
        // A Qwen3's heads are as wide as the recipe's help says, not as transformers' default.
        let third = try small.folder.write(
            SmallLanguage.recipe.replacing("kind: llama", with: "kind: qwen3"), to: "qwen.yaml")
        let other = try readRecipe(third, overrides: ["seeds=[0]", "teacher.train.steps=2", "train.steps=2"]).start(
            on: device, output: small.folder.path("qwen"), progress: Progress(quiet: true))
        _ = try other.run()
        #expect(try JSON.read(small.folder.path("qwen/student/seed-0/final/config.json"))["head_dim"] == 4)
    }

    @Test("blocks that are computed again in backward: the same run in less memory", arguments: TestBackend.fast)
    func activationCheckpointing(_ backend: TestBackend) throws {
        let recipe = SmallLanguage.recipe.replacing("layers: 1", with: "layers: 6")
        let small = try SmallLanguage(backend, recipe)
        let few = ["seeds=[0]", "teacher.train.steps=4"]
        func run(_ output: String, _ overrides: [String]) throws -> (facts: [String], peaks: [Double]) {
            let results = try readRecipe(small.folder.path("small.yaml"), overrides: few + overrides).start(
                on: backend.ownDevice(), output: small.folder.path(output), progress: Progress(quiet: true)
            ).run()
            return (facts(results), results.arms.map { $0.seeds[0].metrics["peak_bytes"] ?? 0 })
        }
        let (kept, again) = (try run("kept", []), try run("again", ["train.activation-checkpointing=true"]))
        #expect(again.facts == kept.facts)
        #expect(zip(again.peaks, kept.peaks).allSatisfy { $0 < $1 }, "\(again.peaks), \(kept.peaks)")
        #expect(
            try contents(of: small.folder.path("again/student/seed-0/final"))
                == contents(of: small.folder.path("kept/student/seed-0/final")))
        // For an arm alone, or all but one.
        let one = try run("one", ["arms.student.train={activation-checkpointing: true}"])
        #expect(one.facts == kept.facts && one.peaks[1] == kept.peaks[1] && one.peaks[2] == again.peaks[2])
    }

    @Test("steps in bf16: nearly the same students, repeatable, in less memory", arguments: TestBackend.fast)
    func reducedPrecision(_ backend: TestBackend) throws {
        let recipe = SmallLanguage.recipe.replacing(
            "hidden: 8, intermediate: 16, layers: 1", with: "hidden: 32, intermediate: 96, layers: 6")
        let small = try SmallLanguage(backend, recipe)
        func run(_ output: String, _ overrides: String...) throws -> RunResults {
            try readRecipe(small.folder.path("small.yaml"), overrides: ["seeds=[0]", "train.batch=32"] + overrides)
                .start(
                    on: backend.ownDevice(), output: small.folder.path(output), progress: Progress(quiet: true)
                ).run()
        }
        let full = try run("full")
        let reduced = try run("reduced", "train.dtype=bf16")
        #expect(facts(try run("again", "train.dtype=bf16")) == facts(reduced))
        for (mine, theirs) in zip(reduced.arms, full.arms) {
            let (a, b) = (mine.seeds[0].metrics, theirs.seeds[0].metrics)
            let (near, exact) = (try #require(a["perplexity"]), try #require(b["perplexity"]))
            #expect(abs(near - exact) < 0.03 * exact && near != exact, "\(mine.role): \(near), \(exact)")
            let (less, more) = (try #require(a["peak_bytes"]), try #require(b["peak_bytes"]))
            #expect(less < 0.88 * more, "\(mine.role): \(less), \(more)")
        }
        // Parts of a batch are the batch.
        let parts = try run("parts", "train.dtype=bf16", "train.micro-batch=8")
        for (mine, theirs) in zip(parts.arms, reduced.arms) {
            let (a, b) = (mine.seeds[0].metrics["perplexity"] ?? 0, theirs.seeds[0].metrics["perplexity"] ?? 1)
            #expect(abs(a - b) < 0.01 * b, "\(mine.role): \(a), \(b)")
        }
        // What is saved is fp32, and gives the run's numbers.
        let final = small.folder.path("reduced/student/seed-0/final")
        let stored = try SafeTensors(path: final + "/model.safetensors")
        #expect(stored.tensors.allSatisfy { $0.type == .float32 })
    }

    @Test("a teacher in bf16, and adapters beside bf16 weights", arguments: TestBackend.fast)
    func reducedTeacher(_ backend: TestBackend) throws {
        let small = try SmallLanguage(backend)
        let teacher = small.folder.path("one/teacher/seed-0/final")
        _ = try small.start("one", "seeds=[0]").run()
        let text = SmallLanguage.recipe.split(separator: "\n").map {
            $0.hasPrefix("teacher:")
                ? "teacher: {path: \(teacher)}"
                : $0.hasPrefix("student:") ? "student: {path: \(teacher), lora: {rank: 2}}" : String($0)
        }.joined(separator: "\n")
        try small.folder.write(text, to: "small.yaml")
        let full = try small.start("full", "seeds=[0]").run()
        let reduced = try small.start("reduced", "seeds=[0]", "teacher.dtype=bf16", "train.dtype=bf16").run()
        for (mine, theirs) in zip(reduced.arms, full.arms) {
            let (a, b) = (mine.seeds[0].metrics["perplexity"] ?? 0, theirs.seeds[0].metrics["perplexity"] ?? 1)
            #expect(abs(a - b) < 0.02 * b && a != b, "\(mine.role): \(a), \(b)")
        }
        let refused = try small.refused("train: {steps: 60}}", "train: {steps: 60}, dtype: bf16}")
        #expect(refused?.exit == .recipe && refused?.what.contains("bf16") == true)
    }

    @Test("a student that is cut out of its teacher is the one that `retort init` makes", arguments: TestBackend.fast)
    func cutStudent(_ backend: TestBackend) throws {
        let small = try SmallLanguage(backend)
        _ = try small.start("one", "seeds=[0]").run()
        let teacher = small.folder.path("one/teacher/seed-0/final")
        func recipe(_ student: String, _ teacher: String) -> String {
            SmallLanguage.recipe.split(separator: "\n").map {
                $0.hasPrefix("teacher:")
                    ? "teacher: {path: \(teacher)}" : $0.hasPrefix("student:") ? "student: \(student)" : String($0)
            }.joined(separator: "\n")
        }
        func run(_ output: String, _ student: String) throws -> [String] {
            try small.folder.write(recipe(student, teacher), to: "small.yaml")
            return facts(try small.start(output, "seeds=[0]").run())
        }
        let ways: [(StudentWidths, LayerChoice, String)] = [
            (StudentWidths(), .these([1]), "{layers: [1]}"),
            (StudentWidths(hidden: 8, intermediate: 16), .every(2), "{every: 2, hidden: 8, intermediate: 16}"),
        ]
        for (number, (widths, layers, from)) in ways.enumerated() {
            let folder = small.folder.path("student-\(number)")
            _ = try StudentDirectory.cut(from: teacher, layers: layers, widths: widths, to: folder)
            let made = try run("path-\(number)", "{path: \(folder)}")
            #expect(try run("from-\(number)", "{from: \(from)}") == made)
            #expect(
                try contents(of: small.folder.path("from-\(number)/student/seed-0/final"))
                    == contents(of: small.folder.path("path-\(number)/student/seed-0/final")))
        }
        for (student, words) in [
            ("{from: {layers: [2]}}", "layer 2"), ("{from: {layers: [0], every: 2}}", "both"),
            ("{from: {heads: 3}}", "heads"), ("{from: {every: 1}, path: x}", "both path and from"),
            ("{from: {every: 1}, lora: {rank: 2}}", "lora"),
        ] {
            try small.folder.write(recipe(student, teacher), to: "small.yaml")
            let error = thrown(RetortError.self) { _ = try small.start("refused") }
            #expect(error?.exit == .recipe && error?.location?.line != nil, "\(student)")
            let said = "\(error?.what ?? "") \(error?.why ?? "")"
            #expect(said.contains(words), "\(student): \(said)")
        }
        let lonely = SmallLanguage.recipe.replacing(
            "{model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 16}}",
            with: "{from: {every: 2}}")
        try small.folder.write(lonely, to: "small.yaml")
        #expect(thrown(RetortError.self) { _ = try small.start("lonely") }?.what.contains("cut out of") == true)
    }

    @Test("without a teacher a student learns alone; epochs and steps agree")
    func alone() throws {
        let lines = SmallLanguage.recipe.split(separator: "\n", omittingEmptySubsequences: false)
        let text = lines.filter { !$0.hasPrefix("teacher:") && !$0.contains("hinton") }.joined(separator: "\n")
            .replacing("heads: 2, positions", with: "heads: 2, vocabulary: 24, positions")
        let small = try SmallLanguage(.cpu, text)
        let steps = try small.start("steps", "seeds=[0]").run()
        #expect(steps.arms.map(\.role) == ["student-alone"])
        try small.folder.write(text.replacing("steps: 20", with: "epochs: 4"), to: "small.yaml")
        #expect(facts(try small.start("epochs", "seeds=[0]").run()) == facts(steps))
    }
}

@Suite("Language models learn from text")
struct LanguageTextTests {
    private static let recipe = """
        data: {kind: text, path: text.jsonl, fields: {prompt: question, completion: answer}, test: {every: 4}, tokenizer: stories260K, separator: " "}
        student: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 64}}
        arms:
          student-alone: {objective: [{loss: cross-entropy}]}
        train: {epochs: 2, batch: 3, optimizer: {kind: adamw, lr: 0.01}}
        """

    private func folder() throws -> ScratchFolder {
        let folder = try ScratchFolder()
        try FileManager.default.copyItem(
            atPath: Project.root + "/Tests/Fixtures/tokenizers/stories260K", toPath: folder.path("stories260K"))
        let lines = (1...12).map { "{\"question\": \"How many after \($0)?\", \"answer\": \"It is \($0 + 1).\"}\n" }
        try folder.write(lines.joined(), to: "text.jsonl")
        try folder.write(Self.recipe, to: "text.yaml")
        return folder
    }

    private func start(_ folder: ScratchFolder, _ overrides: [String] = []) throws -> any RecipeRun {
        try readRecipe(folder.path("text.yaml"), overrides: overrides).start(
            on: try TestBackend.cpu.device(), output: folder.path("run"), progress: Progress(quiet: true))
    }

    @Test("prompts with completions: what is read, learned and saved beside the tokenizer")
    func completions() throws {
        let folder = try folder()
        let results = try start(folder).run()
        #expect(results.arms[0].seeds[0].curve.last?.step == 6, "nine examples, three a step, twice")
        let final = folder.path("run/student-alone/seed-0/final")
        #expect(try contents(of: final).keys.contains("tokenizer.json"))
        let config = try JSON.read(final + "/config.json")
        #expect(config["vocab_size"] == 512)
        let log = try String(contentsOfFile: folder.path("run/log.txt"), encoding: .utf8)
        #expect(log.contains("training text: 9 examples") && log.contains("test text: 3 examples"), "\(log)")
        #expect(
            try TextGenerator(final, on: TestBackend.cpu.device()).write("How", count: 4, sampling: .init()).tokens
                .count == 4)
    }

    @Test("what ends a student's texts is said by the model it begins as, wherever its tokenizer comes from")
    func generationSettings() throws {
        let folder = try folder()
        func final(_ output: String, _ overrides: [String] = []) throws -> String {
            _ = try readRecipe(folder.path("text.yaml"), overrides: overrides).start(
                on: try TestBackend.cpu.device(), output: folder.path(output), progress: Progress(quiet: true)
            ).run()
            return folder.path(output + "/student-alone/seed-0/final")
        }
        func ends(_ model: String) throws -> Set<Int32> {
            try EndTokens.of(model, Tokenizer.load(model), vocabulary: 512)
        }
        // A fresh one has no other settings than the tokenizer's.
        try folder.write("{\"eos_token_id\": 9}", to: "stories260K/generation_config.json")
        let fresh = try final("fresh")
        #expect(try ends(fresh).contains(9))
        try FileManager.default.copyItem(atPath: fresh, toPath: folder.path("start"))
        try folder.write("{\"eos_token_id\": [11, 12]}", to: "start/generation_config.json")
        let trained = try final("trained", ["student={path: start}"])
        #expect(try ends(trained).isSuperset(of: [11, 12]) && !ends(trained).contains(9))
        let cut = try final("cut", ["student={from: {path: start}}"])
        #expect(try ends(cut).isSuperset(of: [11, 12]) && !ends(cut).contains(9))
        // As `retort init` does it.
        let made = folder.path("made")
        _ = try StudentDirectory.cut(
            from: folder.path("start"), layers: .all, widths: .init(), tokenizer: folder.path("stories260K"), to: made)
        #expect(try ends(made).isSuperset(of: [11, 12]) && !ends(made).contains(9))
        try FileManager.default.removeItem(atPath: folder.path("start/generation_config.json"))
        #expect(try ends(final("again", ["student={path: start}"])).contains(9))
    }

    @Test("packed or cut rows have as many targets as examples have")
    func packing() throws {
        let folder = try folder()
        // Two hundred and some tokens in rows of 16, three a step, twice; the test's own examples stay whole.
        let results = try start(
            folder, ["data.packing=split", "data.max-length=16", "data.targets=everything"]
        ).run()
        #expect(results.arms[0].seeds[0].curve.last.map { $0.step > 8 && $0.step < 16 } == true)
    }

    @Test("what does not fit: with the place")
    func refusals() throws {
        let folder = try folder()
        func refused(_ overrides: [String], _ words: String, _ exit: ExitCode) {
            let error = thrown(RetortError.self) { _ = try start(folder, overrides) }
            #expect(error?.exit == exit && "\(error!)".contains(words), "\(String(describing: error))")
            #expect(!FileManager.default.fileExists(atPath: folder.path("run")))
        }
        refused(["data.fields={prompt: questions, completion: answer}"], "text.jsonl:1", .badData)
        refused(["data.test={}"], "either path or every", .recipe)
        refused(["data.test={path: text.jsonl, every: 4}"], "both path and every", .recipe)
        refused(["data.tokenizer=nowhere"], "nowhere", .missingInput)
        refused(["data.packing=examples"], "max-length", .recipe)
        refused(["data.packing=split", "data.max-length=32", "train.replacement=true"], "packing packs them", .recipe)
        refused(["student.model.positions=8"], "data.max-length=8", .recipe)
        refused(["student.model.heads=3"], "the value of 'heads' is wrong", .recipe)
        refused(["student.model.vocabulary=100"], "a vocabulary of 100", .recipe)
        // No advice to name a tokenizer where it is the student's path that is wrong.
        let fresh = "{model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 64}}"
        let lost = Self.recipe.replacing(", tokenizer: stories260K", with: "").replacing(fresh, with: "{path: nowhere}")
        try folder.write(lost, to: "text.yaml")
        refused([], "there is no model directory 'nowhere'", .missingInput)
        try folder.write(Self.recipe.replacing(", tokenizer: stories260K", with: ""), to: "text.yaml")
        refused([], "nothing says how text becomes tokens", .recipe)
    }

    @Test("a preset is its losses and rollouts; what the arm says goes before; the stored recipe has all of it")
    func presets() throws {
        func read(_ arm: String) throws -> LanguageRecipe {
            let text = SmallLanguage.recipe.replacing("{objective: [{loss: cross-entropy}]}", with: arm).replacing(
                "rows.safetensors}", with: "rows.safetensors, plain: {tensor: train}}")
            let small = try SmallLanguage(.cpu, text)
            guard let recipe = try readRecipe(small.folder.path("small.yaml")) as? LanguageRecipe else {
                throw RetortError.internalBug("another recipe")
            }
            // What is stored reads as the same.
            let stored = try RecipeReader.read(recipe.node.yaml(), file: "stored.yaml")
            let again = try LanguageRecipe(stored, name: "small", folder: small.folder.path)
            #expect(again.arms[0].contract == recipe.arms[0].contract)
            return recipe
        }
        for preset in LanguagePreset.all {
            let arm = try read("{preset: \(preset.name)}").arms[0]
            #expect(!arm.terms.isEmpty, "\(preset.name)")
        }
        let gkd = try read("{preset: trl-gkd}").arms[0]
        #expect(gkd.contract[0].contains("JSD_β(p,q), GKD form with beta = 0.5, T=1"))
        #expect(gkd.rollouts?.sampling.temperature == 0.9 && gkd.rollouts?.count == 128)
        let own = try read("{preset: trl-gkd, rollouts: {kind: student, max-new-tokens: 5}}").arms[0]
        #expect(own.rollouts?.sampling.temperature == 0.9 && own.rollouts?.count == 5)
        let other = try read("{preset: trl-gkd, objective: [{loss: tvd}], rollouts: {kind: teacher}}").arms[0]
        #expect(other.contract.count == 2 && !other.contract[0].contains("JSD"))
        #expect(other.rollouts?.name == "teacher" && other.rollouts?.sampling.temperature == 0)
        let bert = try read("{preset: distilbert}").arms[0].contract
        #expect(bert.count == 3 && bert[0].hasPrefix("5·T²·KL(p‖q)") && bert[1].hasPrefix("2·CE"))
        let nothing = thrown(RetortError.self) { _ = try read("{train: {steps: 3}}") }
        #expect(nothing?.exit == .recipe && nothing?.what.contains("no objective") == true)
        // Errors about what a preset says point at it.
        let small = try SmallLanguage(
            .cpu, SmallLanguage.recipe.replacing("{objective: [{loss: cross-entropy}]}", with: "{preset: minillm}"))
        let plain = thrown(RetortError.self) { _ = try readRecipe(small.folder.path("small.yaml")) }
        #expect(plain?.exit == .recipe && plain?.location?.file.hasSuffix("small.yaml") == true)
    }
}
