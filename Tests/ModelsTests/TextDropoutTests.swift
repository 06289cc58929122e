import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Dropout of language models and encoders: only in training, by (seed, step, place, sample), and each kind that config.json can name.
@Suite("Dropout of text models")
struct TextDropoutTests {
    private static let off: [String: [String]] = [
        "gpt2": ["attn_pdrop", "embd_pdrop", "resid_pdrop"], "qwen3": ["attention_dropout"],
        "bert_cls": ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"],
        "distilbert_mlm": ["dropout", "attention_dropout"],
    ]

    /// A model of texts and what it says of tokens `[rows][length]`: a row of numbers each.
    private struct Subject {
        let module: any Module
        let arena: ParameterArena
        let forward: ([[Int32]]) throws -> Tensor
    }

    private func load(_ name: String, _ set: [(key: String, value: JSON?)], _ backend: TestBackend) throws -> Subject {
        let copy = try ModelCopy(of: name, set: set)
        let device = try backend.device()
        if name.contains("bert") {
            let (model, arena) = try EncoderDirectory.load(copy.path, on: device)
            return Subject(module: model, arena: arena) { rows in
                try #require(
                    try model.forward(EncoderBatch(TokenBatch(rows.flatMap { $0 }, rows: rows.count))).logits)
            }
        }
        let (model, arena) = try LanguageModelDirectory.load(copy.path, on: device)
        return Subject(module: model, arena: arena) { rows in
            try model.forward(TokenBatch(rows.flatMap { $0 }, rows: rows.count)).logits
        }
    }

    private let rows: [[Int32]] = [[3, 14, 15, 9, 26], [5, 35, 8, 9, 7], [9, 32, 3, 8, 4]]

    @Test("each kind, and only in training", arguments: Array(off.keys).sorted(), TestBackend.fast)
    func kinds(_ name: String, _ backend: TestBackend) throws {
        for key in try #require(Self.off[name]) {
            let others = Self.off[name]!.filter { $0 != key }.map { (key: $0, value: JSON?.some(0.0)) }
            let model = try load(name, others + [(key, 0.4)], backend)
            let plain = try load(name, others + [(key, 0.0)], backend)
            let still = try model.forward(rows).values()
            #expect(try still == plain.forward(rows).values(), "\(key)")
            model.module.setTraining(true)
            // Without a step there is nothing to draw from.
            #expect(thrown(TensorError.self) { _ = try model.forward(rows) } != nil)
            func answer(_ key: DropoutKey, _ rows: [[Int32]]) throws -> [Float] {
                model.module.setDropout(key)
                return try model.forward(rows).values()
            }
            let first = try answer(.init(seed: 7, step: 3), rows)
            #expect(first != still, "\(key) drops nothing")
            #expect(try answer(.init(seed: 7, step: 3), rows) == first)
            #expect(try answer(.init(seed: 7, step: 4), rows) != first)
            #expect(try answer(.init(seed: 8, step: 3), rows) != first)
            // Cut into micro-batches, a batch drops the same numbers.
            let cut =
                try answer(.init(seed: 7, step: 3, firstSample: 0), Array(rows[..<1]))
                + answer(.init(seed: 7, step: 3, firstSample: 1), Array(rows[1...]))
            expectClose(cut, first.map(Double.init), absolute: 2e-6 * Double(first.map(abs).max() ?? 1), key)
            model.module.setTraining(false)
            #expect(try model.forward(rows).values() == still)
        }
    }

    /// The slope along the gradient by differences of the same dropped network.
    @Test("gradients go where the forward pass went", arguments: Array(off.keys).sorted(), TestBackend.fast)
    func gradients(_ name: String, _ backend: TestBackend) throws {
        let model = try load(name, try #require(Self.off[name]).map { ($0, 0.3) }, backend)
        model.module.setTraining(true)
        model.module.setDropout(.init(seed: 1, step: 2))
        func loss() throws -> Tensor { try model.forward(rows).squared().mean() }
        try loss().backward()
        let parameters = model.module.parameters
        let before = try parameters.map { try $0.values() }
        let gradients = try parameters.map { try $0.gradientValues() }
        let length = gradients.joined().reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        let reach = 2e-3
        func value(_ sign: Double) throws -> Double {
            for (i, parameter) in parameters.enumerated() {
                try parameter.assign(
                    zip(before[i], gradients[i]).map { Float(Double($0) + sign * reach * Double($1) / length) })
            }
            return Double(try loss().item())
        }
        let slope = (try value(1) - value(-1)) / (2 * reach)
        #expect(abs(slope - length) < 0.01 * length, "\(slope), \(length)")
    }

    @Test("what a config may say: published defaults where it is silent")
    func defaults() throws {
        let silent = try load("gpt2", Self.off["gpt2"]!.map { ($0, nil) }, .cpu)
        silent.module.setTraining(true)
        #expect(thrown(TensorError.self) { _ = try silent.forward(rows) } != nil)
        for (name, key) in [("gpt2", "resid_pdrop"), ("qwen3", "attention_dropout")] {
            let copy = try ModelCopy(of: name, set: [(key, 1.5)])
            let error = thrown(RetortError.self) {
                _ = try LanguageModelDirectory.load(copy.path, on: try TestBackend.cpu.device())
            }
            #expect(error?.exit == .badData && error?.location != nil)
        }
    }
}
