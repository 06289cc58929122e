import Foundation
import RetortKernels
@testable import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses that look inside language models.
@Suite("Hidden losses of language models")
struct HiddenLossTests {
    /// A student and a teacher of other widths, and the terms of an objective.
    private struct Rig {
        let device: Device
        let student: any LanguageModel
        let teacher: any LanguageModel
        private let arena: ParameterArena

        init(_ backend: TestBackend, hidden: Int = 8, heads: Int = 2, kind: String = "llama") throws {
            let device = try backend.device()
            func make(_ hidden: Int, layers: Int, heads: Int, seed: UInt64) throws -> (
                any LanguageModel, ParameterArena
            ) {
                let config: JSON =
                    kind == "llama"
                    ? [
                        "model_type": "llama", "vocab_size": 24, "hidden_size": .int(hidden), "intermediate_size": 16,
                        "num_hidden_layers": .int(layers), "num_attention_heads": .int(heads),
                        "num_key_value_heads": 1, "max_position_embeddings": 32, "initializer_range": 0.4,
                    ]
                    : [
                        "model_type": "gpt2", "vocab_size": 24, "n_embd": .int(hidden), "n_layer": .int(layers),
                        "n_head": .int(heads), "n_positions": 32, "initializer_range": 0.4, "attn_pdrop": 0,
                        "resid_pdrop": 0, "embd_pdrop": 0,
                    ]
                let model = try LanguageModelRegistry.make(JSONCursor(config, file: "config.json"))
                return (model, try model.materialize(on: device, seed: seed))
            }
            let made = try make(hidden, layers: 2, heads: heads, seed: 1)
            (student, arena) = (made.0, made.1)
            teacher = try make(16, layers: 4, heads: 2, seed: 2).0
            self.device = device
        }

        func loss(_ keys: String, teacher: (any LanguageModel)? = nil) throws -> LanguageLoss {
            let recipe = SmallLanguage.recipe.replacing("{loss: cross-entropy}", with: keys)
            let small = try SmallLanguage(.cpu, recipe)
            guard let read = try readRecipe(small.folder.path("small.yaml")) as? LanguageRecipe else {
                throw RetortError.internalBug("another recipe")
            }
            return try LanguageLoss(
                student, read.arms[0].terms, teachers: [LanguageTeacher(teacher ?? self.teacher, on: device)],
                name: "a", on: device)
        }

        /// Value and gradient of the student's parameters, of projections materialized with one seed.
        func run(_ loss: LanguageLoss, _ parts: [LanguageBatch]) throws -> (value: Double, gradient: [Float]) {
            for (index, module) in loss.modules.enumerated() {
                _ = try module.materialize(on: device, seed: UInt64(index))
            }
            student.setTraining(false)
            for parameter in student.parameters { parameter.clearGradient() }
            let size = parts.reduce(0) { $0 + $1.tokenCount }
            let targets = parts.reduce(0) { $0 + $1.targetCount }
            var value = 0.0
            for part in parts {
                let total = try loss(
                    RolloutBatch(part), loss.terms, targets: targets, of: size, TrainingProgress())
                value += Double(try total.item())
                try total.backward()
            }
            return (value, try student.parameters.flatMap { try $0.gradientValues() })
        }
    }

    private static let losses = [
        "{loss: hidden-states, embeddings: true}", "{loss: hidden-states, form: cosine, layers: last}",
        "{loss: hidden-states, form: normalized-mse}", "{loss: attention-scores}",
        "{loss: attention-scores, form: kl, layers: last}",
        "{loss: minilm, relation-heads: 4, relations: [queries, keys]}",
        "{loss: minilm, relation-heads: 2, student-layers: [0, 1], teacher-layers: [2, 3], weight: 3}",
    ]

    private func batch(_ lengths: [Int], packed: Bool = false) throws -> LanguageBatch {
        let examples = lengths.enumerated().map { row, length in
            TokenizedExample(
                tokens: (0..<length).map { Int32(($0 * (row + 3) + row) % 24) },
                isTarget: [Bool](repeating: true, count: length))
        }
        let corpus = try TokenizedCorpus(examples)
        guard packed else { return try LanguageBatches(corpus, batch: lengths.count, seed: nil).epoch(0).batch(0) }
        return try LanguageBatches(corpus, batch: 1, packing: .examples, length: lengths.reduce(0, +) + 2, seed: nil)
            .epoch(0).batch(0)
    }

    private func expectSame(
        _ a: (value: Double, gradient: [Float]), _ b: (value: Double, gradient: [Float]), _ what: String
    ) {
        #expect(abs(a.value - b.value) < 2e-5 * abs(b.value), "\(what) \(a.value) \(b.value)")
        let largest = Double(b.gradient.map(abs).max() ?? 0)
        #expect(largest > 0, "\(what)")
        expectClose(a.gradient, b.gradient.map(Double.init), absolute: 2e-5 * largest, relative: 1e-3, "\(what)")
    }

    @Test("rows together, in parts and packed are the same loss", arguments: TestBackend.fast, ["llama", "gpt2"])
    func invariance(_ backend: TestBackend, _ kind: String) throws {
        let rig = try Rig(backend, kind: kind)
        for keys in Self.losses {
            let whole = try rig.run(rig.loss(keys), [batch([7, 4, 5])])
            #expect(whole.value > 0)
            let padded = try batch([7, 4, 5])
            let parts = try rig.run(rig.loss(keys), [padded.rows(0..<1), padded.rows(1..<3)])
            expectSame(parts, whole, "\(kind) \(keys) in parts")
            let packed = try rig.run(rig.loss(keys), [batch([7, 4, 5], packed: true)])
            expectSame(packed, whole, "\(kind) \(keys) packed")
        }
    }

    @Test("the same of losses of tokens", arguments: TestBackend.fast)
    func tokens(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let names = LanguageObjectiveRegistry.sections.map(\.name).filter {
            // These want texts that models write, two answers, or teachers with other tokens; they have tests of their own.
            ![
                "minillm", "sampled-reverse-kl", "distillm2", "uld", "gold", "dpo", "simpo", "orpo", "cpo", "kto",
            ].contains($0)
        }
        #expect(names.count >= 18)
        for name in names {
            let whole = try rig.run(rig.loss("{loss: \(name)}"), [batch([7, 4, 5])])
            let padded = try batch([7, 4, 5])
            let parts = try rig.run(rig.loss("{loss: \(name)}"), [padded.rows(0..<1), padded.rows(1..<3)])
            expectSame(parts, whole, "\(name) in parts")
            let packed = try rig.run(rig.loss("{loss: \(name)}"), [batch([7, 4, 5], packed: true)])
            expectSame(packed, whole, "\(name) packed")
        }
    }

    @Test("gradients by finite differences, through the model", arguments: [TestBackend.cpu])
    func gradients(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let text = try batch([5, 3])
        guard let parameter = rig.student.parameters.first(where: { $0.name.contains("layers.0.self_attn.q_proj") })
        else { throw RetortError.internalBug("no such parameter") }
        for keys in Self.losses {
            let loss = try rig.loss(keys)
            _ = try rig.run(loss, [text])
            let gradient = try parameter.gradientValues()
            let start = try parameter.values()
            // Along the gradient the loss changes by its square.
            let length = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
            guard length > 1e-5 else { continue }
            func value(_ step: Double) throws -> Double {
                try parameter.assign(zip(start, gradient).map { $0 + Float(step * Double($1) / length) })
                return try rig.run(loss, [text]).value
            }
            let slope = try (value(0.01) - value(-0.01)) / 0.02
            try parameter.assign(start)
            #expect(abs(slope - length) < 0.02 * length + 1e-4, "\(keys): \(slope) \(length)")
        }
    }

    @Test("a student that is its teacher has no loss", arguments: TestBackend.fast)
    func equal(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        for keys in Self.losses where !keys.contains("teacher-layers") {
            let loss = try rig.loss(keys, teacher: rig.student)
            #expect(loss.modules.isEmpty)
            let result = try rig.run(loss, [batch([6, 4])])
            #expect(abs(result.value) < 1e-5, "\(keys) \(result.value)")
        }
    }

    @Test("what a token sees is what the models let it see")
    func sight() throws {
        let device = try TestBackend.cpu.device()
        for text in [try batch([5, 3, 4]), try batch([5, 3], packed: true)] {
            let tokens = try TokenBatch(text)
            let count = text.rows * text.length
            let weights = try device.compute.view([Float](repeating: 1, count: count), [count])
            let input = LanguageInput(
                hidden: try Tensor([Float](repeating: 0, count: count), [text.rows, text.length, 1], on: device),
                head: try OutputHead(weight: Tensor([1], [1, 1], on: device)), teachers: [], labels: weights,
                targets: text.targets, weights: weights, shares: [], gradient: .held, rollout: nil, student: [:],
                taught: [:], tokens: tokens,
                tokenWeights: weights, progress: TrainingProgress())
            let sight = try input.sight()
            let mask = AttentionMask(isCausal: true, validKeys: tokens.validKeys(after: 0), documents: tokens.documents)
            let bias = try #require(
                try mask.bias(batch: text.rows, queries: text.length, keys: text.length, on: device.compute)
            ).values()
            let hidden = try sight.hidden.values()
            let all = text.rows == bias.count / (text.length * text.length)
            #expect(all)
            for place in hidden.indices where text.valid?[place / text.length] ?? true {
                #expect((hidden[place] < -1e8) == (bias[place] == -.infinity))
            }
        }
    }

    @Test("queries and keys are those that attention is made of", arguments: TestBackend.fast, ["llama", "gpt2"])
    func queriesAndKeys(_ backend: TestBackend, _ kind: String) throws {
        // As many groups of keys as heads: one score for each head.
        let rig = try Rig(backend, heads: kind == "llama" ? 1 : 2, kind: kind)
        let tokens = try TokenBatch(batch([6]))
        try Autograd.withoutGradients {
            let paths = ["attention", "queries", "keys", "values"].map { SignalNames.path(1, $0) }
            #expect(Set(paths).isSubset(of: rig.student.signals))
            let signals = try rig.student.hidden(tokens, capturing: Set(paths)).signals
            let (q, k) = (try #require(signals[paths[1]]), try #require(signals[paths[2]]))
            #expect(try #require(signals[paths[3]]).shape == k.shape)
            var later = [Float](repeating: 0, count: 36)
            for place in later.indices where place % 6 > place / 6 { later[place] = -1e9 }
            let scores = try q.byHeads().relationScores(k.byHeads()) + Tensor(later, [1, 1, 6, 6], on: rig.device)
            let attention = try #require(signals[paths[0]]).values()
            expectClose(try scores.softmax().values(), attention.map(Double.init), absolute: 2e-6)
        }
    }

    @Test("runs with projections: twice the same; the model's directory has nothing of them")
    func runs() throws {
        let arms = """
            student-alone: {objective: [{loss: hidden-states, embeddings: true}, {loss: minilm, relation-heads: 2}, {loss: cross-entropy}]}
            """
        let recipe = SmallLanguage.recipe.replacing("student-alone: {objective: [{loss: cross-entropy}]}", with: arms)
        #expect(recipe != SmallLanguage.recipe)
        let small = try SmallLanguage(.cpu, recipe)
        func losses(_ output: String) throws -> [Double] {
            try small.start(output, "seeds=[0]").run().arms[1].seeds[0].curve.map(\.loss)
        }
        let one = try losses("one")
        #expect(try one == losses("two"))
        #expect(one[one.count - 1] < 0.9 * one[0])
        let projections = "student-alone/seed-0/projectors.safetensors"
        _ = try small.start("short", "seeds=[0]", "train.steps=1").run()
        func bytes(_ run: String) throws -> Data {
            try Data(contentsOf: URL(fileURLWithPath: small.folder.path("\(run)/\(projections)")))
        }
        #expect(try bytes("one") == bytes("two"))
        #expect(try bytes("one") != bytes("short"), "they are trained")
        let files = try Set(contents(of: small.folder.path("one/student-alone/seed-0")).keys)
        #expect(
            files == ["result.json", "projectors.safetensors", "final/config.json", "final/model.safetensors"],
            "\(files)")
    }

    @Test("models that do not fit are refused before anything is trained")
    func refused() throws {
        func error(_ keys: String, heads: Int = 2) throws -> RetortError? {
            let recipe = SmallLanguage.recipe.replacing("{loss: cross-entropy}", with: keys).replacing(
                "hidden: 8, intermediate: 16, layers: 1, heads: 2",
                with: "hidden: 8, intermediate: 16, layers: 1, heads: \(heads)")
            let small = try SmallLanguage(.cpu, recipe)
            let error = thrown(RetortError.self) { _ = try small.start("run") }
            #expect(!FileManager.default.fileExists(atPath: small.folder.path("run")))
            return error
        }
        let cases: [(String, Int, String)] = [
            ("{loss: attention-scores}", 4, "4 heads, the teacher with 2"),
            ("{loss: minilm, relation-heads: 3}", 2, "3 relation heads of 8 columns"),
            ("{loss: hidden-states, student-layers: [0], teacher-layers: [2]}", 2, "no block 2"),
            ("{loss: hidden-states, student-layers: [0], teacher-layers: [0, 1]}", 2, "1 blocks of the student and 2"),
        ]
        for (keys, heads, words) in cases {
            let refusal = try error(keys, heads: heads)
            #expect(refusal?.exit == .recipe && refusal?.location?.line != nil, "\(keys) \(refusal?.what ?? "")")
            #expect(refusal?.what.contains(words) == true, "\(keys): \(refusal?.what ?? "")")
        }
    }
}
