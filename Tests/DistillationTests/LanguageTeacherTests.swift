import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Who teaches language models: several, the student itself, one on another device.
@Suite("Teachers of language models")
struct LanguageTeacherTests {
    /// A student and teachers of 24 tokens.
    struct Rig {
        let device: Device
        let student: any LanguageModel
        let arena: ParameterArena
        let batch: LanguageBatch

        init(_ backend: TestBackend) throws {
            device = try backend.device()
            (student, arena) = try Self.model(1, on: device)
            let rows = (0..<3).map { row in
                TokenizedExample(
                    tokens: (0..<(9 - row)).map { Int32((row * 5 + $0 * (2 + row)) % 23) },
                    isTarget: (0..<(9 - row)).map { $0 > 2 })
            }
            batch = try LanguageBatches(TokenizedCorpus(rows), batch: 3, seed: nil).batch(of: [0, 1, 2])
        }

        static func model(
            _ seed: UInt64, vocabulary: Int = 24, on device: Device
        ) throws -> (model: any LanguageModel, arena: ParameterArena) {
            let config: JSON = [
                "model_type": "llama", "vocab_size": .int(vocabulary), "hidden_size": 8, "intermediate_size": 16,
                "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
                "max_position_embeddings": 32, "initializer_range": 0.4,
            ]
            let model = try LanguageModelRegistry.make(JSONCursor(config, file: "config.json"))
            return (model, try model.materialize(on: device, seed: seed))
        }

        func teacher(_ name: String, _ seed: UInt64, on other: Device? = nil) throws -> LanguageTeacher {
            LanguageTeacher(try Self.model(seed, on: other ?? device).model, name, on: other ?? device)
        }

        /// Value and gradient of what a recipe says of the loss, with teachers by these names.
        func run(_ objective: String, _ teachers: [LanguageTeacher]) throws -> (value: Double, gradient: [Float]) {
            let node = try RecipeReader.readValue(
                objective, .variant(key: "loss", LanguageObjectiveRegistry.sections))
            let term = try LanguageArmTerm(node, teachers: teachers.map(\.name))
            let loss = try LanguageLoss(student, [term], teachers: teachers, name: "a", on: device)
            student.setTraining(false)
            for parameter in student.parameters { parameter.clearGradient() }
            let total = try loss(
                RolloutBatch(batch), loss.terms, targets: batch.targetCount, of: batch.tokenCount, TrainingProgress())
            try total.backward()
            return (Double(try total.item()), try student.parameters.flatMap { try $0.gradientValues() })
        }

        func logits(_ model: any LanguageModel) throws -> Tensor {
            let logits = try model.forward(TokenBatch(batch)).logits.reshaped([batch.targets.count, 24])
            let places = batch.targets.indices.filter { batch.targets[$0] >= 0 }.map(Int32.init)
            return try logits.gatherRows(places, shape: [places.count])
        }
    }

    @Test(
        "several teachers are one loss of all tokens, as they are one of all examples", arguments: TestBackend.fast,
        [
            "combine: mean-logits", "combine: mean-probabilities, temperature: 2", "combine: weights, weights: [3, 1]",
            "combine: confidence", "combine: entropy",
        ])
    func ensemble(_ backend: TestBackend, _ keys: String) throws {
        let rig = try Rig(backend)
        let teachers = [try rig.teacher("deep", 2), try rig.teacher("wide", 3)]
        let recipe = "{loss: ensemble, alpha: 0.7, \(keys)}"
        let found = try rig.run(recipe, teachers)

        let objective = ObjectiveRegistry.make(
            try RecipeReader.readValue(recipe, .variant(key: "loss", ObjectiveRegistry.sections)))
        let dense = try #require(objective as? any LogitObjective)
        for parameter in rig.student.parameters { parameter.clearGradient() }
        let labels = rig.batch.targets.filter { $0 >= 0 }
        let loss = try dense.loss(
            ObjectiveInput(
                student: ModelOutput(logits: rig.logits(rig.student)),
                teachers: teachers.map { teacher in
                    try Autograd.withoutGradients {
                        ModelOutput(logits: try rig.logits(#require(teacher.model)))
                    }
                }, labels: rig.device.compute.view(labels, [labels.count], .i32)))
        try loss.backward()
        #expect(abs(try Double(loss.item()) - found.value) < 1e-5 * max(1, found.value) && found.value > 0.01)
        let gradient = try rig.student.parameters.flatMap { try $0.gradientValues() }
        #expect(gradient.contains { abs($0) > 1e-3 })
        expectClose(found.gradient, gradient.map(Double.init), absolute: 2e-5)
    }

    @Test("a loss looks at the teacher that it names; one that names none of several is refused")
    func names() throws {
        let rig = try Rig(.cpu)
        let (deep, wide) = (try rig.teacher("deep", 2), try rig.teacher("wide", 3))
        let one = try rig.run("{loss: forward-kl, from: wide}", [deep, wide])
        let other = try rig.run("{loss: forward-kl, from: deep}", [deep, wide])
        #expect(one.value == (try rig.run("{loss: forward-kl}", [wide]).value) && one.value != other.value)
        for (objective, words) in [
            ("{loss: forward-kl}", "looks at one teacher, and the recipe has 2"),
            ("{loss: forward-kl, from: dep}", "no teacher"), ("{loss: cross-entropy, from: deep}", "cannot be given"),
            ("{loss: ensemble, from: deep}", "cannot be given"),
            ("{loss: ensemble, combine: weights, weights: [1]}", "1 weight for 2 teachers"),
            ("{loss: ensemble, combine: weights, weights: [0, 0]}", "are all 0"),
        ] {
            let error = try #require(thrown(RetortError.self) { _ = try rig.run(objective, [deep, wide]) })
            #expect(error.exit == .recipe && error.what.contains(words), "\(objective): \(error.what)")
        }
    }

    @Test("a teacher on another device teaches the same", .enabled(if: TestBackend.hasOpenCL))
    func otherDevice() throws {
        let rig = try Rig(.cpu)
        let far = try TestBackend.vector.device()
        for recipe in ["{loss: jsd, beta: 0.3}", "{loss: hidden-states, form: cosine, layers: last}"] {
            let here = try rig.run(recipe, [rig.teacher("teacher", 2)])
            let there = try rig.run(recipe, [rig.teacher("teacher", 2, on: far)])
            #expect(abs(here.value - there.value) < 1e-6 && here.value > 0.001)
            expectClose(there.gradient, here.gradient.map(Double.init), absolute: 1e-6)
        }
    }

    @Test("heads longer than the vocabulary are compared over its tokens alone", arguments: TestBackend.fast)
    func lengths(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        // 24 rows of the student, 31 of the teacher, 24 of the other; the tokenizer has 23 tokens, all that the data use.
        let large = LanguageTeacher(
            try Rig.model(2, vocabulary: 31, on: rig.device).model, "large", tokens: TeacherTokens(count: 23),
            on: rig.device)
        let even = LanguageTeacher(
            try Rig.model(3, on: rig.device).model, "even", tokens: TeacherTokens(count: 23), on: rig.device)
        #expect(rig.batch.tokens.allSatisfy { $0 < 23 })
        func logits(_ model: any LanguageModel, _ columns: Int) throws -> Tensor {
            let places = rig.batch.targets.indices.filter { rig.batch.targets[$0] >= 0 }.map(Int32.init)
            return try model.forward(TokenBatch(rig.batch)).logits.reshaped([rig.batch.targets.count, columns])
                .narrowed(axis: 1, 0..<23).gatherRows(places, shape: [places.count])
        }
        for (recipe, teachers) in [
            ("{loss: jsd, beta: 0.3, from: large}", [large]), ("{loss: dkd, from: large}", [large]),
            ("{loss: ensemble, combine: mean-logits, temperature: 1}", [large, even]),
        ] {
            let found = try rig.run(recipe, [large, even])
            let objective = ObjectiveRegistry.make(
                try RecipeReader.readValue(recipe, .variant(key: "loss", ObjectiveRegistry.sections)))
            let dense = try #require(objective as? any LogitObjective)
            for parameter in rig.student.parameters { parameter.clearGradient() }
            let labels = rig.batch.targets.filter { $0 >= 0 }
            let loss = try dense.loss(
                ObjectiveInput(
                    student: ModelOutput(logits: logits(rig.student, 24)),
                    teachers: teachers.map { teacher in
                        try Autograd.withoutGradients {
                            ModelOutput(logits: try logits(#require(teacher.model), teacher.vocabulary))
                        }
                    }, labels: rig.device.compute.view(labels, [labels.count], .i32)))
            try loss.backward()
            #expect(abs(try Double(loss.item()) - found.value) < 1e-5 && found.value > 0.01, "\(recipe)")
            expectClose(
                found.gradient, try rig.student.parameters.flatMap { try $0.gradientValues() }.map(Double.init),
                absolute: 2e-5, "\(recipe)")
        }
        let data = try LanguageBatches(
            TokenizedCorpus(
                (0..<2).map { TokenizedExample(tokens: [1, 5, $0, 9], isTarget: [false, true, true, true]) }),
            batch: 2, seed: nil)
        let comparison = try #require(
            try LanguageEvaluation(rig.student, data, teachers: [large], on: rig.device).comparison)
        #expect(comparison.forward > 0.01 && comparison.reverse > 0.01)
    }

    @Test("the mean of several predictions is that of their probabilities", arguments: TestBackend.fast)
    func mean(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let teachers = [try rig.teacher("a", 2), try rig.teacher("b", 3), try rig.teacher("c", 4)]
        let tokens = try TokenBatch(rig.batch)
        let source = try #require(
            try LanguageTeacher.mean(teachers, of: rig.batch, tokens, classes: nil, on: rig.device)
        ).logits
        let range = 4..<9
        let space = try rig.device.compute.empty([range.count, 24])
        let found = try Tensor(view: source.logits(range, in: space), on: rig.device).softmax().values()
        let expected = try teachers.map { try $0.model!.forward(tokens).logits.softmax().values() }
        for place in found.indices {
            let mean = expected.reduce(0) { $0 + $1[range.lowerBound * 24 + place] } / 3
            #expect(abs(found[place] - mean) < 1e-6)
        }
    }

    @Test("the moving average of the student follows it", arguments: TestBackend.fast)
    func movingAverage(_ backend: TestBackend) throws {
        for decay in [0.75, 1.0] {
            let rig = try Rig(backend)
            let copy = try Rig.model(1, on: rig.device)
            let teacher = LanguageTeacher.averaging(rig.student, rig.arena, into: copy, decay: decay, on: rig.device)
            let node = try RecipeReader.readValue(
                "{loss: forward-kl, alpha: 0.5}", .variant(key: "loss", LanguageObjectiveRegistry.sections))
            let train = try RecipeReader.readValue(
                "{steps: 3, batch: 3, optimizer: {kind: adamw, lr: 0.05}}", .section(.languageTrain))
            let corpus = try TokenizedCorpus(
                [TokenizedExample(tokens: [1, 2, 3, 4], isTarget: [false, true, true, true])])
            let trainer = try LanguageTrainer(
                rig.student, rig.arena,
                terms: [LanguageArmTerm(node, teachers: [], .movingAverage(decay: decay))], teachers: [teacher],
                data: LanguageBatches(corpus, batch: 1, seed: nil), spec: LanguageTrainSpec(nil, fallback: train),
                seed: 0, on: rig.device)
            func values(_ arena: ParameterArena) throws -> [Float] { try rig.device.compute.read(arena.values) }
            var expected = try values(rig.arena).map(Double.init)
            #expect(try values(copy.arena).map(Double.init) == expected)
            for _ in 0..<3 {
                _ = try trainer.train(steps: 1)
                let now = try values(rig.arena)
                expected = zip(expected, now).map { decay * $0 + (1 - decay) * Double($1) }
                expectClose(try values(copy.arena), expected, absolute: 1e-6)
                #expect(now.map(Double.init) != expected)
            }
        }
    }

    @Test("recipes with several teachers, a student that teaches itself, generations", arguments: TestBackend.fast)
    func runs(_ backend: TestBackend) throws {
        let model = "{kind: llama, hidden: 16, intermediate: 32, layers: 2, heads: 2, vocabulary: 24, positions: 16}"
        let recipe = SmallLanguage.recipe.replacing(
            "teacher: {model: \(model), train: {steps: 60}}",
            with: "teachers: {deep: {model: \(model), train: {steps: 60}}, odd: {model: \(model), train: {steps: 10}}}"
        ).replacing(
            "  student: {objective: [{loss: hinton, temperature: 2, alpha: 0.5}]}\n",
            with: """
                  student: {objective: [{loss: ensemble, combine: mean-logits, temperature: 2}]}
                  deep: {objective: [{loss: hinton, temperature: 2, alpha: 0.5, from: deep}]}
                  own: {scheme: {kind: moving-average, decay: 0.9}, objective: [{loss: cross-entropy}, {loss: jsd, from: deep}, {loss: forward-kl, alpha: 1}]}
                  again: {scheme: {kind: born-again, generations: 2}, objective: [{loss: hinton, temperature: 2, alpha: 0.5, from: deep}]}

                """
        ).replacing("seeds: [0, 1]", with: "seeds: [0]")
        let small = try SmallLanguage(backend, recipe)
        let results = try small.start("run").run()
        #expect(
            results.arms.map(\.role) == [
                "teacher/deep", "teacher/odd", "student-alone", "student", "deep", "own", "again",
            ])
        let losses = results.arms.map { $0.seeds[0].metrics["cross_entropy"] ?? .nan }
        #expect(Set(losses).count == 7 && losses.allSatisfy { $0.isFinite } && losses[0] < losses[1])
        #expect(results.arms[3].seeds[0].metrics["kl_to_teacher"] ?? 0 > 0)
        #expect(results.arms[5].contract.contains { $0.contains("moving average of the student") })
        #expect(FileManager.default.fileExists(atPath: small.folder.path("run/teacher/deep/seed-0/final/config.json")))
        // The second generation learned from the first, not from the teacher again.
        let direct = try #require(results.arms[4].seeds[0].metrics["kl_to_teacher"])
        #expect(results.arms[6].seeds[0].metrics["kl_to_teacher"] != direct)
    }

    @Test(
        "teachers that do not fit are refused",
        arguments: [
            ("teacher: {", "teacher: {device: cpu, ", "only a teacher from a directory has a device"),
            (
                "student: {objective: [{",
                "student: {scheme: {kind: born-again}, objective: [{loss: cross-entropy}]}\n  x: {objective: [{",
                "needs one teacher"
            ),
            ("arms:", "teachers: {a: {path: x}}\narms:", "both teacher and teachers"),
            ("teacher: {model", "teachers: {self: {model", "cannot be called self"),
        ])
    func refused(_ piece: String, _ replacement: String, _ words: String) throws {
        var recipe = SmallLanguage.recipe
        if replacement.hasPrefix("teachers: {self") { recipe = recipe.replacing("{steps: 60}}", with: "{steps: 60}}}") }
        let small = try SmallLanguage(.cpu, recipe.replacing(piece, with: replacement))
        let error = try #require(thrown(RetortError.self) { _ = try small.start("run") })
        #expect(error.exit == .recipe && error.what.contains(words), "\(error.what)")
    }
}
