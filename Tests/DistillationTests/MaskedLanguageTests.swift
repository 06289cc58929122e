import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses of masked tokens against transformers' own numbers, and against formulas in double.
@Suite("Masked-language losses")
struct MaskedLanguageTests {
    /// A golden of a masked-language model: weights, inputs, labels, loss and gradients, as transformers has them.
    private struct Golden {
        let model: MaskedLanguageModel
        let arena: ParameterArena
        let tensors: SafeTensors
        let json: JSONCursor
        let batch: LanguageBatch

        init(_ name: String, _ device: Device, batch: String? = nil) throws {
            (model, arena) = try MaskedLanguageModel.load(Project.golden("models/\(name)"), on: device)
            let path = Project.golden("models/\(batch ?? name).expected")
            tensors = try SafeTensors(path: path + ".safetensors")
            json = JSONCursor(try JSON.read(path + ".json"), file: path + ".json")
            self.batch = LanguageBatch(
                rows: 2, length: 11, tokens: try tensors.int64s("input_ids").map(Int32.init),
                targets: try tensors.int64s("labels").map(Int32.init),
                valid: try tensors.int64s("attention_mask").map { $0 != 0 })
        }
    }

    private static func term(_ keys: String) throws -> LanguageArmTerm {
        try LanguageArmTerm(
            RecipeReader.readValue("{" + keys + "}", .variant(key: "loss", MaskedObjectives.sections)), isMasked: true)
    }

    /// Loss and gradients of a batch in parts.
    private static func backward(
        _ model: any LanguageModel, _ arena: ParameterArena, _ terms: [LanguageArmTerm], teacher: (any LanguageModel)?,
        _ parts: [LanguageBatch], on device: Device
    ) throws -> (loss: Double, gradients: [[Float]]) {
        let train = try RecipeReader.readValue(
            "{steps: 1, batch: 2, optimizer: {kind: sgd, lr: 0}}", .section(.languageTrain))
        let corpus = try TokenizedCorpus([TokenizedExample(tokens: [1, 2], isTarget: [false, true])])
        let trainer = try LanguageTrainer(
            model, arena, terms: terms, teachers: teacher.map { [LanguageTeacher($0, on: device)] } ?? [],
            data: LanguageBatches(corpus, batch: 2, seed: 0), spec: LanguageTrainSpec(nil, fallback: train), seed: 0,
            on: device)
        for parameter in model.parameters { parameter.clearGradient() }
        model.setTraining(false)
        let slot = try device.compute.empty([1], for: .data)
        try trainer.backward(parts, lossInto: slot)
        let value: [Float] = try device.compute.read(slot)
        return (Double(value[0]), try model.parameters.map { try $0.gradientValues() })
    }

    @Test("cross entropy over masked tokens and all its gradients are transformers'", arguments: TestBackend.fast)
    func golden(_ backend: TestBackend) throws {
        let device = try backend.device()
        let golden = try Golden("distilbert_mlm", device)
        let expected = try golden.json.member("train").member("losses").elements()[0].double()
        let masked = golden.batch.targets.count { $0 >= 0 }
        #expect(masked > 2 && masked < golden.batch.tokenCount && golden.batch.tokenCount < 22)
        let (loss, gradients) = try Self.backward(
            golden.model, golden.arena, [Self.term("loss: cross-entropy")], teacher: nil, [golden.batch], on: device)
        #expect(abs(loss - expected) < 4e-6 * expected, "\(loss) \(expected)")
        var compared = 0
        for (parameter, gradient) in zip(golden.model.parameters, gradients) {
            let reference = try golden.tensors.floats("grad." + parameter.name).map(Double.init)
            let scale = reference.map(abs).max() ?? 0
            expectClose(gradient, reference, absolute: 2e-5 * max(scale, 0.02), parameter.name)
            compared += 1
        }
        #expect(compared == golden.tensors.tensors.count { $0.name.hasPrefix("grad.") } && compared > 20)
        // Row by row, as micro-batches have it.
        let parts = try Self.backward(
            golden.model, golden.arena, [Self.term("loss: cross-entropy")], teacher: nil,
            [golden.batch.rows(0..<1), golden.batch.rows(1..<2)], on: device)
        #expect(abs(parts.loss - expected) < 4e-6 * expected)
        for (index, (a, b)) in zip(parts.gradients, gradients).enumerated() {
            let scale = b.map { Double(abs($0)) }.max() ?? 0
            expectClose(a, b.map(Double.init), absolute: 2e-5 * max(scale, 0.02), "\(index)")
        }
    }

    /// All logits `[22, 100]` and last hidden states `[22, 32]` of a batch, in double.
    private static func answers(_ model: MaskedLanguageModel, _ batch: LanguageBatch) throws -> (
        logits: [[Double]], hidden: [[Double]]
    ) {
        model.setTraining(false)
        let tokens = try EncoderBatch(
            TokenBatch(batch.tokens, rows: batch.rows, valid: batch.valid))
        return try Autograd.withoutGradients {
            let output = try model.encoder.forward(tokens)
            return (
                Float64Reference.rows(try #require(output.logits).values().map(Double.init), model.vocabulary),
                Float64Reference.rows(try output.hidden.values().map(Double.init), 32)
            )
        }
    }

    @Test("DistilBERT's three losses are the formulas', each over its own places", arguments: TestBackend.fast)
    func triple(_ backend: TestBackend) throws {
        let device = try backend.device()
        let golden = try Golden("distilbert_mlm", device)
        let teacher = try Golden("bert_mlm", device, batch: "distilbert_mlm").model
        let (own, theirs) = (
            try Self.answers(golden.model, golden.batch), try Self.answers(teacher, golden.batch)
        )
        let valid = try #require(golden.batch.valid)
        let real = valid.indices.filter { valid[$0] }
        let masked = golden.batch.targets.indices.filter { golden.batch.targets[$0] >= 0 }
        func divergence(_ places: [Int]) -> Double {
            Float64Reference.mean(
                places.map {
                    4
                        * Float64Reference.divergence(
                            Float64Reference.softmax(theirs.logits[$0], temperature: 2),
                            Float64Reference.logSoftmax(own.logits[$0], temperature: 2))
                })
        }
        let entropy = Float64Reference.mean(
            masked.map { -Float64Reference.logSoftmax(own.logits[$0])[Int(golden.batch.targets[$0])] })
        let cosine = Float64Reference.mean(
            real.map { place in
                let (a, b) = (own.hidden[place], theirs.hidden[place])
                func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
                return 1 - dot(a, b) / (dot(a, a) * dot(b, b)).squareRoot()
            })
        #expect(abs(divergence(real) - divergence(masked)) > 1e-3 * divergence(real), "the places matter")
        let arms = try LanguagePreset.expand(
            RecipeReader.readValue("{a: {preset: distilbert}}", .named(.section(.maskedArm))), .maskedArm,
            among: LanguagePreset.masked)
        let terms = try arms.required("a").required("objective").list.map {
            try LanguageArmTerm($0, isMasked: true)
        }
        #expect(
            terms.map(\.contract) == [
                "5·T²·KL(p‖q), T=2, teacher entropy out, mean over all tokens, mask: no padding",
                "2·CE(labels, q), mean over masked tokens, mask: tokens chosen to be guessed",
                "1·1 − cos(h_s·W, h_t) at the last block, summed over them, mean over all tokens",
            ])
        func expect(_ terms: [LanguageArmTerm], _ expected: Double, _ what: String) throws {
            for parts in [[golden.batch], [golden.batch.rows(0..<1), golden.batch.rows(1..<2)]] {
                let loss = try Self.backward(
                    golden.model, golden.arena, terms, teacher: teacher, parts, on: device
                ).loss
                #expect(abs(loss - expected) < 1e-5 * expected, "\(what) in \(parts.count): \(loss) \(expected)")
            }
        }
        try expect([terms[0]], 5 * divergence(real), "KL over all")
        try expect([terms[1]], 2 * entropy, "cross entropy")
        try expect([terms[2]], cosine, "cosine")
        try expect(terms, 5 * divergence(real) + 2 * entropy + cosine, "all three")
        try expect(
            [Self.term("loss: forward-kl, temperature: 2, alpha: 5")], 5 * divergence(masked), "KL over masked")
        try expect(
            [Self.term("loss: hinton, temperature: 2, alpha: 0.5")], 0.5 * divergence(masked) + 0.5 * entropy, "Hinton")
        // A composed loss goes its own way through the vocabulary.
        let squares = { (places: [Int]) in
            Float64Reference.mean(
                places.map { place in
                    Float64Reference.mean(zip(own.logits[place], theirs.logits[place]).map { ($0 - $1) * ($0 - $1) })
                })
        }
        let term = try Self.term("loss: logit-mse, alpha: 1")
        try expect([term], squares(masked), "logits, masked: \(term.contract)")
        try expect([Self.term("loss: logit-mse, alpha: 1, on: all")], squares(real), "logits, all")
    }

    @Test("gradients by finite differences through the model, at both kinds of places", arguments: TestBackend.fast)
    func gradients(_ backend: TestBackend) throws {
        let device = try backend.device()
        let golden = try Golden("distilbert_mlm", device)
        let teacher = try Golden("bert_mlm", device, batch: "distilbert_mlm").model
        for keys in [
            "loss: forward-kl, temperature: 2, alpha: 5, on: all", "loss: reverse-kl", "loss: logit-mse",
            "loss: hidden-states, form: cosine, layers: last", "loss: attention-scores, layers: last",
        ] {
            let terms = [try Self.term(keys)]
            func run() throws -> (loss: Double, gradients: [[Float]]) {
                try Self.backward(golden.model, golden.arena, terms, teacher: teacher, [golden.batch], on: device)
            }
            let index = try #require(
                golden.model.parameters.firstIndex { $0.name.contains("layer.0.attention.q_lin.weight") })
            let parameter = golden.model.parameters[index]
            let gradient = try run().gradients[index]
            let start = try parameter.values()
            let length = gradient.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
            #expect(length > 1e-5, "\(keys)")
            func value(_ step: Double) throws -> Double {
                try parameter.assign(zip(start, gradient).map { $0 + Float(step * Double($1) / length) })
                return try run().loss
            }
            // Long enough that a loss near 1 shows it in single precision.
            let step = 0.1
            let slope = try (value(step) - value(-step)) / (2 * step)
            try parameter.assign(start)
            #expect(abs(slope - length) < 0.03 * length + 5e-6, "\(keys): \(slope) \(length)")
        }
    }

    @Test("attention is compared over all tokens that are seen, before and behind", arguments: TestBackend.fast)
    func attention(_ backend: TestBackend) throws {
        let device = try backend.device()
        let golden = try Golden("distilbert_mlm", device)
        let teacher = try Golden("bert_mlm", device, batch: "distilbert_mlm").model
        func rows(_ model: MaskedLanguageModel, _ layer: Int) throws -> [[Double]] {
            model.setTraining(false)
            let path = "layers.\(layer).attention"
            let signals = try Autograd.withoutGradients {
                try model.hidden(TokenBatch(golden.batch), capturing: [path]).signals
            }
            return Float64Reference.rows(try #require(signals[path]).values().map(Double.init), 11)
        }
        let (own, theirs) = (try rows(golden.model, 1), try rows(teacher, 2))
        let valid = try #require(golden.batch.valid)
        // [rows, heads, tokens]: mean over heads and all tokens but padding.
        var divergences: [Double] = []
        for at in own.indices where valid[at / 44 * 11 + at % 11] {
            divergences.append(Float64Reference.divergence(theirs[at], own[at].map { log($0) }))
        }
        let expected = Float64Reference.mean(divergences)
        let loss = try Self.backward(
            golden.model, golden.arena, [Self.term("loss: attention-scores, form: kl, layers: last")],
            teacher: teacher, [golden.batch], on: device
        ).loss
        #expect(abs(loss - expected) < 2e-5 * expected && expected > 1e-3, "\(loss) \(expected)")
    }

    @Test("padding changes nothing; a part without a masked token has no share", arguments: TestBackend.fast)
    func padding(_ backend: TestBackend) throws {
        let device = try backend.device()
        let golden = try Golden("distilbert_mlm", device)
        let teacher = try Golden("bert_mlm", device, batch: "distilbert_mlm").model
        let terms = try ["loss: forward-kl, on: all", "loss: cross-entropy", "loss: hidden-states"].map(Self.term)
        func run(_ parts: [LanguageBatch]) throws -> (loss: Double, gradients: [[Float]]) {
            try Self.backward(golden.model, golden.arena, terms, teacher: teacher, parts, on: device)
        }
        func expectSame(_ a: (loss: Double, gradients: [[Float]]), _ b: (loss: Double, gradients: [[Float]])) {
            #expect(abs(a.loss - b.loss) < 1e-5 * b.loss, "\(a.loss) \(b.loss)")
            for (index, (x, y)) in zip(a.gradients, b.gradients).enumerated() {
                let scale = y.map { Double(abs($0)) }.max() ?? 0
                expectClose(x, y.map(Double.init), absolute: 3e-5 * max(scale, 0.02), "\(index)")
            }
        }
        let whole = try run([golden.batch])
        let wide = 17
        func widened<Element>(_ values: [Element], _ fill: Element) -> [Element] {
            let more = [Element](repeating: fill, count: wide - 11)
            return Array(values[0..<11]) + more + Array(values[11..<22]) + more
        }
        let padded = LanguageBatch(
            rows: 2, length: wide, tokens: widened(golden.batch.tokens, 9),
            targets: widened(golden.batch.targets, LanguageBatch.ignored),
            valid: widened(try #require(golden.batch.valid), false))
        expectSame(try run([padded]), whole)
        // A row of which nothing is asked: its share of the masked tokens' mean is none, of all tokens' it is its own.
        var targets = golden.batch.targets
        for place in 0..<11 { targets[place] = LanguageBatch.ignored }
        let unasked = LanguageBatch(
            rows: 2, length: 11, tokens: golden.batch.tokens, targets: targets, valid: golden.batch.valid)
        expectSame(try run([unasked.rows(0..<1), unasked.rows(1..<2)]), try run([unasked]))
        let nothing = LanguageBatch(
            rows: 1, length: 3, tokens: [2, 7, 3], targets: [Int32](repeating: LanguageBatch.ignored, count: 3))
        let silent = try Self.backward(
            golden.model, golden.arena, [Self.term("loss: cross-entropy")], teacher: nil, [nothing], on: device)
        #expect(silent.loss == 0 && silent.gradients.allSatisfy { $0.allSatisfy { $0 == 0 } })
    }

    @Test("accuracy, cross entropy and divergences are those of all logits", arguments: TestBackend.fast)
    func evaluation(_ backend: TestBackend) throws {
        let device = try backend.device()
        let student = try Golden("distilbert_mlm", device).model
        let teacher = try Golden("bert_mlm", device).model
        let texts = (0..<7).map { text in
            let tokens: [Int32] = (0..<(4 + text)).map { Int32(5 + (text * 31 + $0 * 7) % 90) }
            return TokenizedExample(tokens: tokens, isTarget: tokens.indices.map { $0 > 0 })
        }
        let rule = MaskingRule(rate: 0.4, mask: 4, vocabulary: 100)
        let data = try LanguageBatches(measuring: TokenizedCorpus(texts), pad: 0, masking: rule)
        let evaluation = try LanguageEvaluation(
            student, data, teachers: [LanguageTeacher(teacher, on: device)], on: device)
        var (count, entropy, hits, forward, same) = (0, 0.0, 0, 0.0, 0)
        func best(_ x: [Double]) -> Int? { x.indices.max { x[$0] < x[$1] } }
        for step in 0..<data.epoch(0).steps {
            let batch = data.epoch(0).batch(step)
            let (own, theirs) = (
                try Self.answers(student, batch).logits, try Self.answers(teacher, batch).logits
            )
            for place in batch.targets.indices where batch.targets[place] >= 0 {
                let (q, label) = (Float64Reference.logSoftmax(own[place]), Int(batch.targets[place]))
                count += 1
                entropy -= q[label]
                forward += Float64Reference.divergence(Float64Reference.softmax(theirs[place]), q)
                if best(q) == label { hits += 1 }
                if best(q) == best(theirs[place]) { same += 1 }
            }
        }
        #expect(count > 8 && evaluation.tokens == count)
        let compared = try #require(evaluation.comparison)
        #expect(abs(evaluation.crossEntropy - entropy / Double(count)) < 1e-5)
        #expect(evaluation.accuracy == Double(hits) / Double(count))
        #expect(abs(compared.forward - forward / Double(count)) < 1e-5 && compared.forward > 0.01)
        #expect(compared.agreement == Double(same) / Double(count))
    }
}
