import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Encoders against transformers: directories that `save_pretrained` wrote: logits, hidden states, attention, every gradient, three steps
/// of AdamW.
@Suite("Encoders, goldens")
struct EncoderGoldenTests {
    static let names = ["bert_cls", "bert_mlm", "distilbert_mlm"]

    static func batch(_ golden: GoldenModel) throws -> EncoderBatch {
        let shape = try golden.shape("input_ids")
        let valid = try golden.tensors.int64s("attention_mask").map { $0 != 0 }
        let types =
            golden.tensors["token_type_ids"] == nil
            ? nil : try golden.tensors.int64s("token_type_ids").map(Int32.init)
        return try EncoderBatch(
            TokenBatch(golden.tensors.int64s("input_ids").map(Int32.init), rows: shape[0], valid: valid),
            typeIDs: types)
    }

    /// The values at tokens that are not padding: rows of `width` numbers in `[rows, tokens, width]`.
    private func kept(_ values: [Float], _ valid: [Bool], width: Int) -> [Float] {
        valid.indices.filter { valid[$0] }.flatMap { values[($0 * width)..<(($0 + 1) * width)] }
    }

    @Test("logits, signals, gradients, training", arguments: names, TestBackend.available)
    func agrees(_ name: String, _ backend: TestBackend) throws {
        let device = try backend.device()
        let golden = try GoldenModel(name)
        let (model, arena) = try EncoderDirectory.load(Project.golden("models/\(name)"), on: device)
        #expect(model.parameterCount == (try golden.json.member("param_count").int()))
        #expect(!model.isTraining)
        let batch = try Self.batch(golden)
        let labels = try golden.labels()
        let labelView = try device.compute.view(labels, [labels.count], .i32)
        let optimizer = try Adam(
            arena, options: .init(beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, decoupled: true))
        let expected = try golden.trainingLosses()
        model.setTraining(true)
        for (step, reference) in expected.enumerated() {
            model.setDropout(.init(seed: 0, step: step))
            let output = try model.forward(batch, capturing: step == 0 ? Set(model.signals) : [])
            let logits = try #require(output.logits)
            let loss = try logits.reshaped([labels.count, logits.count / labels.count]).crossEntropy(
                labelView, scale: 1 / Float(labels.count { $0 != -100 })
            ).total
            #expect(
                abs(Double(try loss.item()) - reference) < 4e-6 * Double(2 * step + 1) * max(1, reference), "\(step)")
            if step == 0 { try compareSignals(output, golden, batch, model) }
            guard step < expected.count - 1 else { break }
            try loss.backward()
            if step == 0 { try compareGradients(model, golden) }
            try optimizer.step(learningRate: 0.003)
        }
        for stored in golden.tensors.tensors where stored.name.hasPrefix("after3.") {
            let parameter = try #require(
                model.parameters.first { "after3." + $0.name == stored.name }, "\(stored.name)")
            expectClose(
                try parameter.values(), try golden.floats(stored.name).map(Double.init), absolute: 2e-5, stored.name)
        }
    }

    private func compareSignals(
        _ output: EncoderOutput, _ golden: GoldenModel, _ batch: EncoderBatch, _ model: any EncoderModel
    ) throws {
        #expect(Set(output.signals.keys) == Set(model.signals))
        let valid = try #require(batch.tokens.valid)
        #expect(valid.contains(false))
        func compare(_ values: [Float], _ key: String, width: Int) throws {
            expectClose(
                kept(values, valid, width: width),
                kept(try golden.floats(key), valid, width: width).map(Double.init),
                absolute: try golden.tolerance(key), key)
        }
        let logits = try #require(output.logits)
        if case .classification(let classes) = model.head {
            #expect(logits.shape == [batch.tokens.rows, classes])
            expectClose(
                try logits.values(), try golden.floats("logits").map(Double.init),
                absolute: try golden.tolerance("logits"), "logits")
        } else {
            try compare(logits.values(), "logits", width: model.vocabulary)
        }
        for state in 0...model.layerCount {
            let path = state == 0 ? "embeddings" : "layers.\(state - 1).hidden"
            try compare(#require(output.signals[path]).values(), "hidden_states.\(state)", width: model.hidden)
        }
        let length = batch.tokens.length
        for layer in 0..<model.layerCount {
            let attention = try #require(output.signals["layers.\(layer).attention"])
            let (own, theirs) = (try attention.values(), try golden.floats("attentions.\(layer)"))
            // [rows, heads, queries, keys], at queries that are not padding.
            let places = own.indices.filter { place in
                valid[place / (length * length * attention.shape[1]) * length + place / length % length]
            }
            expectClose(places.map { own[$0] }, places.map { Double(theirs[$0]) }, absolute: 1e-5, "attention \(layer)")
        }
    }

    private func compareGradients(_ model: any EncoderModel, _ golden: GoldenModel) throws {
        var compared = 0
        for parameter in model.parameters {
            let key = "grad." + parameter.name
            guard golden.tensors[key] != nil else { continue }
            compared += 1
            let gradient = try golden.floats(key).map(Double.init)
            expectClose(
                try parameter.gradientValues(), gradient,
                absolute: 2e-5 * (gradient.map(abs).max() ?? 1) + 1e-7, parameter.name)
        }
        #expect(compared == golden.tensors.tensors.count { $0.name.hasPrefix("grad.") })
        #expect(compared == model.parameters.count)
    }
}
