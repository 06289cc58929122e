import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses of what encoders hide: those of language models, of tokens that see each other in both directions.
@Suite("Hidden losses of encoders")
struct EncoderHiddenTests {
    static let recipe = """
        data: {kind: sentences, path: rows.csv, columns: [a, b], test: {every: 4}}
        teacher: {path: teacher}
        student: {model: {kind: bert, hidden: 24, intermediate: 32, layers: 1, heads: 2, positions: 40, initializer-range: 0.2}}
        arms:
          student: {objective: [{loss: hidden-states, embeddings: true}, {loss: attention-scores}]}
          others: {objective: [{loss: embedding-cosine}, {loss: attention-scores, form: kl}, {loss: minilm, relation-heads: 3, weight: 0.1}]}
        train: {steps: 60, batch: 8, optimizer: {kind: adamw, lr: 0.003}}
        seeds: [0]
        """

    /// Two models that read the same tokens, and a trainer of one loss.
    private struct Rig {
        let device: Device
        let student: AnsweringEncoder
        let teacher: AnsweringEncoder
        let arena: ParameterArena
        /// Three texts of different lengths.
        let numbers: [Int32] = [0, 1, 2]

        init(_ backend: TestBackend, hidden: Int = 12, heads: Int = 2) throws {
            device = try backend.device()
            let small = try SmallEncoders(.cpu)
            let tokenizer = try Tokenizer.load(small.folder.path("teacher"))
            let texts = TextSetBuilder()
            for text in ["ab c", "d efg hi k", "c"] { _ = try texts.number(of: [text]) }
            let encodings = try texts.finish().encoded(tokenizer, length: 40)
            func make(_ hidden: Int, layers: Int, heads: Int, seed: UInt64, _ device: Device) throws -> (
                AnsweringEncoder, ParameterArena
            ) {
                let config: JSON = [
                    "model_type": "bert", "vocab_size": 57, "hidden_size": .int(hidden), "intermediate_size": 20,
                    "num_hidden_layers": .int(layers), "num_attention_heads": .int(heads),
                    "max_position_embeddings": 40, "initializer_range": 0.4,
                ]
                let model = try EncoderModelRegistry.make(JSONCursor(config, file: "config.json"))
                let arena = try model.materialize(on: device, seed: seed)
                let encoder = try SentenceEncoder(model, tokenizer, SentenceSettings(), file: "config.json")
                return (AnsweringEncoder(encoder, encodings, head: .none, on: device), arena)
            }
            (student, arena) = try make(hidden, layers: 2, heads: heads, seed: 1, device)
            teacher = try make(12, layers: 4, heads: 2, seed: 2, device).0
        }

        struct Lesson: EncoderLesson {
            let device: Device
            let count = 3
            func texts(of examples: [Int32], epoch: Int) -> [[Int32]] { [examples] }
            func input(
                _ student: ModelOutput, _ texts: [[Int32]], _ examples: [Int32], _ candidates: RankingCandidates,
                _ progress: TrainingProgress
            ) throws -> ObjectiveInput { throw RetortError.internalBug("no loss of answers") }
        }

        func trainer(_ keys: String, teacher: AnsweringEncoder? = nil) throws -> EncoderTrainer {
            let node = try RecipeReader.readValue("{" + keys + "}", .variant(key: "loss", SentenceTask.losses))
            let train = try RecipeReader.readValue(
                "{steps: 1, batch: 3, optimizer: {kind: sgd, lr: 0}}", .section(.languageTrain))
            return try EncoderTrainer(
                student, arena, terms: [EncoderArmTerm(node, SentenceTask.self)], teacher: nil,
                liveTeacher: teacher ?? self.teacher, lesson: Lesson(device: device),
                spec: LanguageTrainSpec(nil, fallback: train), name: "a", seed: 0)
        }

        /// The loss and the student's gradients, without dropout.
        func run(_ trainer: EncoderTrainer) throws -> (value: Double, gradient: [Float]) {
            student.model.setTraining(false)
            for parameter in student.model.parameters { parameter.clearGradient() }
            let slot = try device.compute.empty([1], for: .data)
            try trainer.backward([numbers], numbers, lossInto: slot)
            let value: [Float] = try device.compute.read(slot)
            return (Double(value[0]), try student.model.parameters.flatMap { try $0.gradientValues() })
        }

        /// A signal of a text alone, in double: there is no padding.
        func signal(_ model: AnsweringEncoder, _ path: String, _ number: Int32) throws -> (
            values: [Double], shape: Dimensions
        ) {
            model.model.setTraining(false)
            let signals = try Autograd.withoutGradients { try model.answer([number], capturing: [path]).signals }
            let tensor = try #require(signals[path])
            return (try tensor.values().map(Double.init), tensor.shape)
        }
    }

    private static let losses = [
        "loss: hidden-states, embeddings: true", "loss: hidden-states, form: cosine, layers: last",
        "loss: attention-scores", "loss: attention-scores, form: kl, layers: last",
        "loss: minilm, relation-heads: 3", "loss: minilm, relation-heads: 2, student-layers: [0], teacher-layers: [2]",
    ]

    @Test("values are the formulas' of each text by itself, padding or not", arguments: TestBackend.fast)
    func values(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        func expect(_ keys: String, _ perToken: (Int32) throws -> [Double]) throws {
            let all = try rig.numbers.flatMap(perToken)
            let expected = Float64Reference.mean(all)
            let value = try rig.run(rig.trainer(keys)).value
            #expect(abs(value - expected) < 2e-5 * expected && expected > 1e-3, "\(keys): \(value) \(expected)")
        }
        // The second block of two is as far up as the fourth of four.
        try expect("loss: hidden-states, layers: last") { number in
            let (s, t) = (
                try rig.signal(rig.student, "layers.1.hidden", number),
                try rig.signal(rig.teacher, "layers.3.hidden", number)
            )
            return zip(Float64Reference.rows(s.values, 12), Float64Reference.rows(t.values, 12)).map { a, b in
                Float64Reference.mean(zip(a, b).map { ($0 - $1) * ($0 - $1) })
            }
        }
        // KL of what the models themselves attend with.
        try expect("loss: attention-scores, form: kl, layers: last") { number in
            let s = try rig.signal(rig.student, "layers.1.attention", number)
            let t = try rig.signal(rig.teacher, "layers.3.attention", number)
            let (heads, tokens) = (s.shape[1], s.shape[2])
            let (q, p) = (Float64Reference.rows(s.values, tokens), Float64Reference.rows(t.values, tokens))
            return (0..<tokens).map { token in
                Float64Reference.mean(
                    (0..<heads).map { head in
                        let row = head * tokens + token
                        return Float64Reference.divergence(p[row], q[row].map { log($0) })
                    })
            }
        }
        // Relations of the queries cut into three heads of four columns.
        try expect("loss: minilm, relations: [queries], relation-heads: 3") { number in
            func relations(_ model: AnsweringEncoder, _ layer: Int) throws -> [[[Double]]] {
                let x = Float64Reference.rows(try rig.signal(model, "layers.\(layer).queries", number).values, 12)
                return (0..<3).map { head in
                    let columns = (head * 4)..<(head * 4 + 4)
                    return x.map { a in
                        Float64Reference.logSoftmax(
                            x.map { b in columns.reduce(0.0) { $0 + a[$1] * b[$1] } / 2 })
                    }
                }
            }
            let (s, t) = (try relations(rig.student, 1), try relations(rig.teacher, 3))
            return s[0].indices.map { token in
                Float64Reference.mean(
                    (0..<3).map { Float64Reference.divergence(t[$0][token].map { exp($0) }, s[$0][token]) })
            }
        }
    }

    @Test("gradients by finite differences, through the model", arguments: TestBackend.fast)
    func gradients(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let parameter = try #require(
            rig.student.model.parameters.first { $0.name.contains("layer.0.attention.self.query.weight") })
        for keys in Self.losses {
            let trainer = try rig.trainer(keys)
            _ = try rig.run(trainer)
            let gradient = try parameter.gradientValues()
            let start = try parameter.values()
            // Along the gradient the loss changes by its square.
            let length = gradient.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
            #expect(length > 1e-4, "\(keys)")
            func value(_ step: Double) throws -> Double {
                try parameter.assign(zip(start, gradient).map { $0 + Float(step * Double($1) / length) })
                return try rig.run(trainer).value
            }
            let slope = try (value(0.01) - value(-0.01)) / 0.02
            try parameter.assign(start)
            #expect(abs(slope - length) < 0.02 * length + 1e-4, "\(keys): \(slope) \(length)")
        }
    }

    @Test("a student that is its teacher has no loss; other widths learn a projection", arguments: TestBackend.fast)
    func equal(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        for keys in Self.losses where !keys.contains("teacher-layers") {
            let trainer = try rig.trainer(keys, teacher: rig.student)
            #expect(trainer.projectors.isEmpty)
            #expect(abs(try rig.run(trainer).value) < 1e-5, "\(keys)")
        }
        let wide = try Rig(backend, hidden: 18)
        let trainer = try wide.trainer("loss: hidden-states, embeddings: true")
        #expect(trainer.projectors.parameters.filter { $0.shape == [12, 18] }.count == 3)
        #expect(try wide.run(trainer).value > 0)
    }

    @Test("runs: twice the same, and what is learned", arguments: TestBackend.fast)
    func runs(_ backend: TestBackend) throws {
        let small = try SmallEncoders(backend, Self.recipe)
        let results = try small.start("one").run()
        #expect(try SmallEncoders.facts(small.start("two").run()) == SmallEncoders.facts(results))
        #expect(try small.weights("one") == small.weights("two"))
        for arm in results.arms.dropFirst(2) {
            let losses = arm.seeds[0].curve.map(\.loss)
            #expect(losses[losses.count - 1] < 0.8 * losses[0], "\(arm.role) \(losses)")
        }
        #expect(results.arms[2].contract[0].contains("of the embeddings"))
        // A teacher that is trained in the run is looked into too.
        let classes = """
            data: {kind: labelled-texts, path: rows.csv, text: a, label: b, test: {every: 4}}
            teacher: {path: teacher, train: {steps: 4}}
            student: {model: {kind: bert, hidden: 16, intermediate: 32, layers: 1, heads: 2, positions: 40}}
            arms: {student: {objective: [{loss: cross-entropy}, {loss: hidden-states, form: normalized-mse}]}}
            train: {steps: 6, batch: 8, optimizer: {kind: adamw, lr: 0.003}}
            """
        let texts = (0..<40).map { "\(["ab", "cd e"][$0 % 2]) f,\(["x", "y"][$0 % 2])\n" }
        try small.folder.write("a,b\n" + texts.joined(), to: "rows.csv")
        try small.folder.write(classes, to: "small.yaml")
        let first = SmallEncoders.facts(try small.start("classes").run())
        #expect(try contents(of: small.folder.path("classes")).keys.contains("student/seed-0/projectors.safetensors"))
        try small.unfinish("classes", without: ["student/seed-0"])
        #expect(try SmallEncoders.facts(small.start("classes").run()) == first)
    }

    @Test("models that do not fit are refused before anything is trained")
    func refusals() throws {
        let small = try SmallEncoders(.cpu, Self.recipe)
        func refused(_ piece: String, _ replacement: String, _ words: String) throws {
            let error = try #require(try small.refused(piece, replacement))
            #expect("\(error)".contains(words) && error.exit == .recipe, "\(error)")
        }
        try refused("positions: 40, initializer-range: 0.2}", "positions: 40}, tokenizer: own", "read different tokens")
        try refused("train: {steps: 60,", "train: {micro-batch: 2, steps: 60,", "micro-batches")
        try refused("layers: 1, heads: 2", "layers: 1, heads: 4", "4 heads, the teacher with 2")
        try refused("relation-heads: 3", "relation-heads: 5", "5 relation heads")
        try refused("embeddings: true", "student-layers: [1]", "no block 1")
    }
}
