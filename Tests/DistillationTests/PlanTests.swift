import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// What is predicted of a recipe against what its run then reports.
@Suite("Plans")
struct PlanTests {
    /// Plans a recipe, runs it, and compares: parameters are equal, peaks within a tenth of what the run reports, and equal where
    /// `exactly`.
    private func compare(
        _ recipe: String, _ overrides: [String] = [], in folder: ScratchFolder, _ backend: TestBackend,
        exactly: Bool = true, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        // Of its own: memory that other tests take at the same time is not the run's.
        let device = try backend.ownDevice()
        let path = try folder.write(recipe, to: "planned.yaml")
        let before = try contents(of: folder.path("")).count
        let plan = try readRecipe(path, overrides: overrides).plan(on: device)
        #expect(try contents(of: folder.path("")).count == before, "nothing is written", sourceLocation: sourceLocation)
        let run = try readRecipe(path, overrides: overrides).start(
            on: device, output: folder.path("run-\(UUID().uuidString)"), progress: Progress(quiet: true))
        let results = try run.run()
        var compared = 0
        for role in plan.roles {
            guard let arm = results.arms.first(where: { $0.role == role.name }) else {
                Issue.record("\(role.name) is planned and not run", sourceLocation: sourceLocation)
                continue
            }
            let metrics = arm.seeds[0].metrics
            let peak = try #require(metrics["peak_bytes"], sourceLocation: sourceLocation)
            #expect(metrics["parameters"] == Double(role.parameters), "\(role.name)", sourceLocation: sourceLocation)
            let trained = metrics["trainable_parameters"] ?? Double(role.parameters)
            #expect(trained == Double(role.trained), "\(role.name)", sourceLocation: sourceLocation)
            let planned = Double(role.memory.peak)
            #expect(
                exactly ? planned == peak : abs(planned / peak - 1) < 0.1,
                "\(role.name): planned \(planned), measured \(peak)", sourceLocation: sourceLocation)
            #expect(role.memory.atPeak.values.reduce(0, +) == role.memory.peak, sourceLocation: sourceLocation)
            let last = try #require(arm.seeds[0].curve.last, sourceLocation: sourceLocation)
            // The curve is that of the last generation.
            let generations = role.name == "born-again" ? 2 : 1
            #expect(role.steps == last.step * generations, "\(role.name): steps", sourceLocation: sourceLocation)
            #expect(role.stepCost.flops > 0 && role.seconds > 0, sourceLocation: sourceLocation)
            #expect(role.taken >= role.memory.peak, sourceLocation: sourceLocation)
            compared += 1
        }
        #expect(compared > 0 && plan.fits, sourceLocation: sourceLocation)
    }

    @Test("a table: teacher, student alone, student", arguments: TestBackend.fast)
    func table(_ backend: TestBackend) throws {
        try compare(RecipeTests.good, ["seeds=[0]"], in: SmallRun(backend).folder, backend)
    }

    @Test("schemes, balanced losses and ramps", arguments: TestBackend.fast)
    func schemes(_ backend: TestBackend) throws {
        let recipe = """
            data: {kind: csv, path: rows.csv, label: label, test: {every: 5}}
            teacher: {model: {kind: mlp, layers: [4, 32, 3]}, train: {epochs: 2}}
            student: {model: {kind: mlp, layers: [4, 16, 3]}}
            arms:
              parts: {objective: [{loss: hinton}], train: {micro-batch: 3}}
              whole: {objective: [{loss: cross-entropy}, {loss: rkd}], train: {micro-batch: 3}}
              memory: {objective: [{loss: cross-entropy}, {loss: crd, negatives: 16}]}
              late: {objective: [{loss: cross-entropy}, {loss: rkd, ramp: {kind: between, first: 3}}]}
              mutual: {objective: [{loss: cross-entropy}, {loss: forward-kl}], scheme: {kind: mutual, peers: 3}}
              born-again: {objective: [{loss: hinton}], scheme: {kind: born-again, generations: 2}}
              average: {objective: [{loss: cross-entropy}, {loss: forward-kl}], scheme: {kind: moving-average}}
              uncertainty: {objective: [{loss: cross-entropy}, {loss: logit-mse}], balance: {kind: uncertainty}}
            train: {epochs: 5, batch: 8, optimizer: {kind: sgd, lr: 0.01, momentum: 0.9}}
            seeds: [0]
            """
        try compare(recipe, in: SmallRun(backend).folder, backend)
    }

    @Test("clients that learn together", arguments: TestBackend.fast)
    func federated(_ backend: TestBackend) throws {
        let scheme = "kind: federated, clients: 3, rounds: 3, dirichlet: 1"
        let recipe = """
            data: {kind: csv, path: rows.csv, label: label, test: {every: 5}}
            teacher: {model: {kind: mlp, layers: [4, 8, 3]}, train: {epochs: 2}}
            student: {model: {kind: mlp, layers: [4, 16, 3]}}
            arms:
              fedavg: {objective: [{loss: cross-entropy}], scheme: {\(scheme), method: fedavg}}
              local: {objective: [{loss: cross-entropy}], scheme: {\(scheme), method: local}}
            train: {epochs: 5, batch: 8, optimizer: {kind: sgd, lr: 0.01}}
            seeds: [0]
            """
        try compare(recipe, in: SmallRun(backend).folder, backend)
    }

    @Test("pictures: convolutions, augmented, on the device and from files", arguments: TestBackend.fast)
    func pictures(_ backend: TestBackend) throws {
        let folder = try ScratchFolder()
        try SamplePictures(channels: 3, height: 12, width: 12).writeFolder(folder, "data", train: 40, test: 9)
        let recipe = """
            data: {kind: images, path: data, height: 12, width: 12, augment: {crop: 2, flip: 0.5}, strong-augment: {crop: 2, rand-augment: {}}}
            teacher: {model: {kind: resnet, depth: 8, widths: [4, 4, 8, 16]}}
            student: {model: {kind: resnet, depth: 8, widths: [4, 4, 4, 8]}}
            arms:
              student: {objective: [{loss: hinton, temperature: 4}]}
              maps: {objective: [{loss: cross-entropy}, {loss: at}]}
              views: {objective: [{loss: mlkd}, {loss: hinton, view: strong}]}
            train: {epochs: 2, batch: 16, optimizer: {kind: sgd, lr: 0.01, momentum: 0.9}}
            seeds: [0]
            """
        try compare(recipe, in: folder, backend)
        try compare(recipe, ["data.memory=0"], in: folder, backend)
    }

    /// That every loss finds its signals in both models, and shapes fit.
    @Test("every pair of the CIFAR zoo, with all its arms", arguments: zooPairs)
    func zoo(_ pair: String) throws {
        let folder = try ScratchFolder()
        let record: (Int) -> [UInt8] = { [0, UInt8($0 % 100)] + [UInt8](repeating: UInt8($0), count: 3072) }
        try folder.write((0..<128).flatMap(record), to: "train.bin")
        try folder.write((0..<16).flatMap(record), to: "test.bin")
        let recipe = try Recipe.read(
            Project.recipe("cifar100/" + pair), overrides: ["data.path=" + folder.path(""), "seeds=[0]"])
        let plan = try recipe.plan(on: try TestBackend.cpu.ownDevice())
        #expect(plan.roles.map(\.name) == ["teacher"] + recipe.arms.map(\.name))
        #expect(plan.roles.allSatisfy { $0.stepCost.flops > 0 && $0.memory.peak > 0 })
        // What the zoo's authors compare on each pair.
        let all = ["hinton", "fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "ab", "ft", "nst", "crd"]
        #expect(Set(all).isSubset(of: recipe.arms.map(\.name)))
    }

    private static let zooPairs =
        ((try? FileManager.default.contentsOfDirectory(atPath: Project.recipe("cifar100"))) ?? [])
        .filter { $0.hasSuffix(".yaml") }.sorted()

    @Test("recommenders", arguments: TestBackend.fast)
    func recommenders(_ backend: TestBackend) throws {
        // Which items a teacher ranks first is seen when it has learned: the samples of the losses may be a few more or fewer.
        let recipe = SmallRecommender.recipe.replacing(
            "train: {epochs: 4",
            with: """
                  hint: {objective: [{loss: bpr}, {loss: distillation-experts, experts: 2}]}
                  relaxed: {objective: [{loss: bpr}, {loss: relaxed-ranking-distillation, interesting: 5, uninteresting: 5, top: 10}]}
                train: {epochs: 4
                """)
        try compare(recipe, ["seeds=[0]"], in: SmallRecommender(backend).folder, backend, exactly: false)
    }

    @Test("a language model with its teacher", arguments: TestBackend.fast)
    func language(_ backend: TestBackend) throws {
        let small = try SmallLanguage(backend)
        try compare(SmallLanguage.recipe, ["seeds=[0]", "teacher.train.steps=10"], in: small.folder, backend)
        for way in ["train.micro-batch=3", "train.activation-checkpointing=true", "train.dtype=bf16"] {
            try compare(SmallLanguage.recipe, ["seeds=[0]", "teacher.train.steps=10", way], in: small.folder, backend)
        }
    }

    /// Logits of student and teacher are capped chunk by chunk.
    @Test("Gemmas", arguments: TestBackend.fast, ["gemma", "gemma2"])
    func gemmas(_ backend: TestBackend, _ kind: String) throws {
        let recipe = SmallLanguage.recipe.replacing("kind: llama", with: "kind: \(kind)")
        let small = try SmallLanguage(backend, recipe)
        for way in ["train.micro-batch=3", "train.activation-checkpointing=true", "train.dtype=bf16"] {
            try compare(recipe, ["seeds=[0]", "teacher.train.steps=4", way], in: small.folder, backend)
        }
    }

    @Test("adapters, and a teacher from a directory", arguments: TestBackend.fast)
    func adapters(_ backend: TestBackend) throws {
        let small = try SmallLanguage(backend)
        let device = try backend.device()
        let config = """
            {"model_type": "llama", "vocab_size": 24, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16, "rms_norm_eps": 1e-5}
            """
        let model = try LanguageModelRegistry.make(JSONCursor(try JSON.parse(config, file: "c"), file: "c"))
        _ = try model.materialize(on: device, seed: 1)
        try LanguageModelDirectory.save(model, to: small.folder.path("base"))
        let recipe = """
            data: {kind: tokens, path: rows.safetensors}
            teacher: {path: base}
            student: {path: base, lora: {rank: 4, dropout: 0.1}}
            arms:
              student-alone: {objective: [{loss: cross-entropy}]}
              divergence: {objective: [{loss: reverse-kl}]}
              stages: {objective: [{loss: hidden-states, layers: last, ramp: {kind: between, last: 1}}, {loss: forward-kl}]}
            train: {steps: 12, batch: 8, optimizer: {kind: adamw, lr: 0.01}, clip: 1}
            """
        try compare(recipe, in: small.folder, backend)
        // Where there are no weights the sizes are enough.
        try FileManager.default.removeItem(atPath: small.folder.path("base/model.safetensors"))
        let plan = try readRecipe(small.folder.path("planned.yaml")).plan(on: device)
        #expect(plan.roles.count == 3 && plan.roles[0].trained < plan.roles[0].parameters)
    }

    @Test("texts of many lengths: the longest that come decide, packed or not", arguments: TestBackend.fast)
    func lengths(_ backend: TestBackend) throws {
        let folder = try ScratchFolder()
        try FileManager.default.copyItem(
            atPath: Project.root + "/Tests/Fixtures/tokenizers/stories260K", toPath: folder.path("stories260K"))
        let lines = (0..<40).map { number in
            let answer = [String](repeating: "and so on", count: 1 + number * 7 % 23).joined(separator: " ")
            return "{\"question\": \"How many after \(number)?\", \"answer\": \"\(answer)\"}\n"
        }
        try folder.write(lines.joined(), to: "text.jsonl")
        let recipe = """
            data: {kind: text, path: text.jsonl, fields: {prompt: question, completion: answer}, test: {every: 4}, tokenizer: stories260K, separator: " "}
            student: {model: {kind: llama, hidden: 16, intermediate: 32, layers: 2, heads: 2, positions: 256}}
            arms:
              student-alone: {objective: [{loss: cross-entropy}]}
            train: {epochs: 2, batch: 4, optimizer: {kind: adamw, lr: 0.001}}
            seeds: [0]
            """
        let ways: [[String]] = [
            [], ["train.micro-batch=3"], ["data.packing=examples", "data.max-length=200"],
            ["data.packing=split", "data.max-length=32", "data.targets=everything"], ["train.replacement=true"],
        ]
        for way in ways { try compare(recipe, way, in: folder, backend) }
        // Of a few steps not the longest text of all, but of those.
        try compare(recipe.replacing("epochs: 2", with: "steps: 1"), ["seeds=[3]"], in: folder, backend)
    }

    @Test("texts that models write", arguments: TestBackend.fast)
    func rollouts(_ backend: TestBackend) throws {
        let small = try SmallLanguage(backend)
        let writing = "max-new-tokens: 5, prompt-tokens: 4"
        let recipe = """
            data: {kind: tokens, path: rows.safetensors}
            teacher: {model: {kind: llama, hidden: 16, intermediate: 32, layers: 2, heads: 2, vocabulary: 24, positions: 16}, train: {steps: 4}}
            student: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 2, heads: 2, positions: 16}}
            arms:
              gkd: {objective: [{loss: jsd}], rollouts: {kind: student, share: 0.5, \(writing)}}
              gradient: {objective: [{loss: sampled-reverse-kl}], rollouts: {kind: student, share: 1, \(writing)}}
              texts: {objective: [{loss: cross-entropy}], rollouts: {kind: teacher, \(writing)}}
              minillm: {objective: [{loss: minillm}], rollouts: {kind: mixed, collect: 16, epochs: 2, \(writing)}}
              distillm2: {objective: [{loss: distillm2}], rollouts: {kind: pairs, collect: 16, \(writing)}}
            train: {steps: 12, batch: 8, optimizer: {kind: adamw, lr: 0.001}}
            answers: {max-new-tokens: 5, prompt-tokens: 4}
            seeds: [0]
            """
        try compare(recipe, in: small.folder, backend)
        try compare(recipe, ["train.loss-memory=1000"], in: small.folder, backend)
        try checkLogits(recipe, in: small.folder, backend)
    }

    /// Nobody holds more logits than a recipe's `loss-memory` says, and all of them would be more.
    private func checkLogits(_ recipe: String, in folder: ScratchFolder, _ backend: TestBackend) throws {
        let path = try folder.write(recipe, to: "bounded.yaml")
        func most(_ overrides: [String]) throws -> [String: Int] {
            let plan = try readRecipe(path, overrides: overrides).plan(on: backend.ownDevice())
            return Dictionary(uniqueKeysWithValues: plan.roles.map { ($0.name, $0.memory.most[.logits] ?? 0) })
        }
        let (free, bounded) = (try most([]), try most(["train.loss-memory=1000"]))
        for (name, bytes) in bounded {
            // Memory comes in pieces of some hundred bytes.
            #expect(bytes > 0 && bytes <= 2048, "\(name) holds \(bytes)")
            #expect((free[name] ?? 0) > 2048, "\(name) would hold \(free[name] ?? 0)")
        }
    }

    @Test("what was kept of a teacher, and a teacher with its tokens in another order", arguments: TestBackend.fast)
    func otherTeachers(_ backend: TestBackend) throws {
        let place = try TextPlace()
        _ = try place.train()
        let folder = place.folder
        try RenumberedDirectory.write(
            place.teacher, to: folder.path("other"), order: { ["<x>"] + $0.reversed() + ["<y>"] },
            added: ["<x>", "<y>"])
        try RenumberedDirectory.write(
            Project.root + "/Tests/Fixtures/tokenizers/stories260K", to: folder.path("own"),
            order: { Array($0.prefix(30)) + ["<own>"] + Array($0.dropFirst(30)) }, added: ["<own>"])
        let arms = "{a: {objective: [{loss: hinton, alpha: 0.5}]}, b: {objective: [{loss: akl}]}}"
        let recipe = TextPlace.recipe.split(separator: "\n").map {
            $0.hasPrefix("teacher:") ? "teacher: {path: other}" : $0.hasPrefix("arms:") ? "arms: " + arms : String($0)
        }.joined(separator: "\n")
        try compare(recipe, in: folder, backend)
        try compare(recipe, ["data.tokenizer=own"], in: folder, backend)
        let cached = recipe.replacing("{path: other}", with: "{path: run/teacher/seed-0/final, cache: cache}")
            .replacing("loss: akl", with: "loss: jsd")
        _ = try CacheRun(
            readRecipe(folder.write(cached, to: "cached.yaml")), output: folder.path("cache"), kept: .top(9), bits: 8,
            states: .f16,
            batch: 4, on: backend.device(), progress: Progress(quiet: true)
        ).run()
        try compare(cached, in: folder, backend)
    }

    @Test("prompts without answers", arguments: TestBackend.fast)
    func prompts(_ backend: TestBackend) throws {
        let place = try PromptPlace()
        let recipe = PromptPlace.recipe("prompts.jsonl, test: {every: 4}", more: "seeds: [0]")
        try compare(recipe, in: place.folder, backend)
        // Beside an arm that learns answers, and with a test that has some.
        let arms = PromptPlace.arms + "  student-alone: {objective: [{loss: cross-entropy}]}\n"
        let mixed = PromptPlace.recipe(
            "mixed.jsonl, template: llama2, test: {path: mixed.jsonl}", arms: arms, more: "seeds: [0]")
        try compare(mixed, in: place.folder, backend)
    }

    @Test("pairs of answers, beside the student's start and without", arguments: TestBackend.fast)
    func preferences(_ backend: TestBackend) throws {
        let place = try PairPlace()
        try compare(PairPlace.recipe(more: "seeds: [0]"), in: place.folder, backend)
        try compare(PairPlace.recipe(more: "seeds: [0]"), ["train.loss-memory=64KiB"], in: place.folder, backend)
        try compare(
            PairPlace.recipe(more: "seeds: [0]"), ["train.micro-batch=1", "train.replacement=true"], in: place.folder,
            backend)
    }

    @Test("several teachers, and students that teach", arguments: TestBackend.fast)
    func teachers(_ backend: TestBackend) throws {
        let model = "kind: llama, intermediate: 32, layers: 2, heads: 2, vocabulary: 24, positions: 16"
        let recipe = """
            data: {kind: tokens, path: rows.safetensors}
            teachers: {deep: {model: {\(model), hidden: 16}, train: {steps: 4}}, wide: {model: {\(model), hidden: 32}, train: {steps: 4}}}
            student: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 16}}
            arms:
              both: {objective: [{loss: ensemble, combine: mean-probabilities}]}
              one: {objective: [{loss: forward-kl, from: wide}]}
              average: {objective: [{loss: cross-entropy}, {loss: forward-kl}], scheme: {kind: moving-average}}
              again: {objective: [{loss: forward-kl, from: deep}], scheme: {kind: born-again, generations: 2}}
            train: {steps: 12, batch: 8, optimizer: {kind: adamw, lr: 0.001}}
            seeds: [0]
            """
        try compare(recipe, in: SmallLanguage(backend).folder, backend)
    }

    @Test("encoders: vectors, rankings, hidden states", arguments: TestBackend.fast)
    func encoders(_ backend: TestBackend) throws {
        let short = ["seeds=[0]", "train.steps=12"]
        try compare(SmallEncoders.sentences, short, in: SmallEncoders(backend).folder, backend)
        for way in ["train.micro-batch=3", "train.activation-checkpointing=true", "train.dtype=bf16"] {
            try compare(SmallEncoders.sentences, short + [way], in: SmallEncoders(backend).folder, backend)
        }
        try compare(
            RetrievalRunTests.recipe, ["seeds=[0]"], in: RetrievalRunTests.small(backend).folder, backend)
        try compare(EncoderHiddenTests.recipe, short, in: SmallEncoders(backend).folder, backend)
        try compare(
            EncoderHiddenTests.recipe, short + ["teacher.dtype=bf16", "train.dtype=bf16"],
            in: SmallEncoders(backend).folder, backend)
    }

    @Test("encoders that guess masked tokens", arguments: TestBackend.fast)
    func masked(_ backend: TestBackend) throws {
        let short = ["seeds=[0]", "train.steps=12", "teacher.train.steps=12"]
        for way in ["train.batch=8", "train.micro-batch=3", "train.activation-checkpointing=true", "train.dtype=bf16"] {
            try compare(
                MaskedRunTests.recipe, short + [way], in: MaskedRunTests.small(backend).folder, backend,
                // How many tokens are masked is drawn in each step.
                exactly: false)
        }
    }

    @Test("a model that writes takes as much on a device without bytes", arguments: TestBackend.fast)
    func writing(_ backend: TestBackend) throws {
        let config = """
            {"model_type": "llama", "vocab_size": 24, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 256, "rms_norm_eps": 1e-5}
            """
        func write(on device: Device, cacheType: DType? = nil) throws -> (lengths: [Int], peak: Int) {
            let model = try LanguageModelRegistry.make(JSONCursor(try JSON.parse(config, file: "c"), file: "c"))
            _ = try model.materialize(on: device, seed: 1)
            device.compute.resetPeakMemory()
            let texts = try model.generate([[1, 2, 3], [4]], WritingOptions(count: 150, cacheType: cacheType))
            return (texts.map(\.count), device.compute.memory.peak)
        }
        let real = try backend.ownDevice()
        let plan = PlannedDevice(like: real.compute)
        let (planned, done) = (try write(on: Device(.planned(plan))), try write(on: real))
        #expect(planned == done && planned.lengths == [150, 150])
        let small = try backend.ownDevice()
        let cached = try write(on: Device(.planned(PlannedDevice(like: small.compute))), cacheType: .bf16)
        #expect(try cached == write(on: small, cacheType: .bf16) && cached.peak < planned.peak)
        // Few tokens stand for all, and each counts.
        let tokens = plan.operations.filter { $0.name == "argmax" }
        #expect(tokens.count < 10 && tokens.reduce(0) { $0 + $1.times } == 150, "\(tokens)")
    }

    @Test("a device that is too small is said so, with a way out and exit code 69")
    func tooSmall() throws {
        let folder = try ScratchFolder()
        let small = try SmallLanguage(.cpu)
        // Llama 2 70B without a weight, in a fraction of a second.
        try folder.write(
            """
            {"model_type": "llama", "vocab_size": 32000, "hidden_size": 8192, "intermediate_size": 28672,
             "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
             "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "tie_word_embeddings": false}
            """, to: "large/config.json")
        let path = try folder.write(
            """
            data: {kind: tokens, path: \(small.folder.path("rows.safetensors"))}
            student: {path: large}
            arms: {student-alone: {objective: [{loss: cross-entropy}]}}
            train: {steps: 4, batch: 8, optimizer: {kind: adamw, lr: 0.001}}
            """, to: "large.yaml")
        let plan = try readRecipe(path).plan(on: TestBackend.cpu.device())
        let role = plan.roles[0]
        #expect(role.parameters == 68_976_648_192)
        #expect(!plan.fits && role.memory.peak > 4 * 4 * role.parameters)
        let error = try #require(thrown(RetortError.self) { try plan.check() })
        #expect(error.exit == .device && error.help.contains("student.lora"), "\(error)")
        // Adapters alone: neither gradients nor moments of the rest.
        let adapted = try readRecipe(path, overrides: ["student.lora={rank: 8}"]).plan(on: TestBackend.cpu.device())
        #expect(adapted.roles[0].parameters == role.parameters && adapted.roles[0].trained < role.parameters / 100)
        #expect(adapted.roles[0].memory.peak < role.memory.peak / 3)
    }

    @Test("as text and as JSON")
    func output() throws {
        let small = try SmallRun(.cpu)
        let plan = try readRecipe(small.recipePath).plan(on: TestBackend.cpu.device())
        let rows = try JSONCursor(JSON.parse(plan.json.text(), file: "plan"), file: "plan").member("rows").elements()
        #expect(try rows.map { try $0.member("role").string() } == ["teacher", "alone", "taught"])
        for (row, role) in zip(rows, plan.roles) {
            #expect(try row.member("peak_bytes").int() == role.memory.peak)
            let parts = try row.member("at_peak").members().map { try $0.1.int() }
            #expect(parts.reduce(0, +) == role.memory.peak && parts.allSatisfy { $0 >= 0 })
            #expect(try row.member("steps").int() == role.steps)
        }
        let text = plan.text
        for word in ["teacher", "alone", "taught", "peak memory", "an estimate and no promise"] {
            #expect(text.contains(word), "\(word)")
        }
        #expect(plan.roles[2].bytes(plan.roles[2].memory.most).last?.bytes ?? 0 > 0, "the teacher is there")
    }
}
