import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Decoders with flash attention, beside themselves with the composed one and beside rows that are not packed.
@Suite("Flash attention in models")
struct FlashAttentionTests {
    private func load(_ name: String, _ backend: TestBackend) throws -> any LanguageModel {
        let (model, _) = try LanguageModelDirectory.load(
            Project.golden("models/\(name)"), on: try backend.device())
        model.setTraining(true)
        return model
    }

    private static let models = ["mistral_swa", "qwen3", "gemma2", "gpt2"]

    private func attentions(_ model: any LanguageModel) -> Set<String> {
        Set(model.signals.filter { $0.hasSuffix(".attention") })
    }

    private func ids(_ count: Int) -> [Int32] { (0..<count).map { Int32($0 * 37 % 83 + 1) } }

    /// Logits, and every gradient of the sum of their squares.
    private func pass(_ model: any LanguageModel, _ tokens: TokenBatch, capturing: Set<String>) throws -> (
        logits: [Float], gradients: [[Float]]
    ) {
        for parameter in model.parameters { parameter.clearGradient() }
        let logits = try model.forward(tokens, capturing: capturing).logits
        try logits.squared().sum().backward()
        return (try logits.values(), try model.parameters.map { try $0.gradientValues() })
    }

    private func expectAlike(
        _ a: (logits: [Float], gradients: [[Float]]), _ b: (logits: [Float], gradients: [[Float]]), _ what: String
    ) {
        func close(_ x: [Float], _ y: [Float], _ share: Float, _ label: String) {
            expectClose(x, y.map(Double.init), absolute: Double(share * (y.map(abs).max() ?? 0) + 1e-6), label)
        }
        close(a.logits, b.logits, 3e-6, what + " logits")
        for (i, (x, y)) in zip(a.gradients, b.gradients).enumerated() { close(x, y, 3e-5, what + " gradient \(i)") }
    }

    @Test("flash equals composed: padded, packed", arguments: models, TestBackend.fast)
    func equalsComposed(_ name: String, _ backend: TestBackend) throws {
        let model = try load(name, backend)
        let ids = ids(26)
        // Padding in front of one row and behind the other; documents; padding with a hole, which is composed both times.
        let valid = (0..<26).map { $0 >= 3 && $0 < 23 }
        let documents = (0..<26).map { Int32($0 < 4 ? 0 : $0 < 13 ? 1 : $0 < 20 ? 2 : 3) }
        let batches = [
            try TokenBatch(ids, rows: 2), try TokenBatch(ids, rows: 2, valid: valid),
            try TokenBatch(ids, rows: 2, documents: documents),
            try TokenBatch(ids, rows: 2, valid: valid, documents: documents),
            try TokenBatch(ids, rows: 2, valid: (0..<26).map { $0 % 13 != 5 }),
        ]
        for (i, batch) in batches.enumerated() {
            expectAlike(
                try pass(model, batch, capturing: []), try pass(model, batch, capturing: attentions(model)),
                "\(name) batch \(i)")
        }
    }

    @Test("so it is with dropout, which drops the same", arguments: models, TestBackend.fast)
    func equalsComposedDropping(_ name: String, _ backend: TestBackend) throws {
        let drops = [(key: name == "gpt2" ? "attn_pdrop" : "attention_dropout", value: JSON?.some(0.3))]
        let others = name == "gpt2" ? ["embd_pdrop", "resid_pdrop"].map { (key: $0, value: JSON?.some(0.1)) } : []
        let copy = try ModelCopy(of: name, set: drops + others)
        let (model, _) = try LanguageModelDirectory.load(copy.path, on: try backend.device())
        model.setTraining(true)
        model.setDropout(.init(seed: 4, step: 2, firstSample: 3))
        let ids = ids(26)
        let valid = (0..<26).map { $0 >= 3 && $0 < 23 }
        let documents = (0..<26).map { Int32($0 < 4 ? 0 : $0 < 13 ? 1 : $0 < 20 ? 2 : 3) }
        for (i, batch) in [
            try TokenBatch(ids, rows: 2), try TokenBatch(ids, rows: 2, valid: valid),
            try TokenBatch(ids, rows: 2, documents: documents),
        ].enumerated() {
            let flash = try pass(model, batch, capturing: [])
            expectAlike(flash, try pass(model, batch, capturing: attentions(model)), "\(name) batch \(i)")
            model.setDropout(.init(seed: 4, step: 3, firstSample: 3))
            #expect(try pass(model, batch, capturing: []).logits != flash.logits)
            model.setDropout(.init(seed: 4, step: 2, firstSample: 3))
        }
    }

    @Test(
        "encoders: flash equals composed, padded, with dropout and without", arguments: ["bert_cls", "distilbert_mlm"],
        TestBackend.fast)
    func encoders(_ name: String, _ backend: TestBackend) throws {
        let isBERT = name == "bert_cls"
        let names =
            isBERT
            ? ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]
            : ["dropout", "attention_dropout"]
        let ids = (0..<26).map { Int32($0 * 37 % 29 + 1) }
        let masks: [[Bool]?] = [
            nil, (0..<26).map { $0 < 13 || $0 < 20 }, (0..<26).map { $0 >= 13 }, (0..<26).map { $0 % 13 != 5 },
        ]
        for probability in [0.0, 0.3] {
            let copy = try ModelCopy(of: name, set: names.map { ($0, .some(.double(probability))) })
            let (model, _) = try EncoderDirectory.load(copy.path, on: try backend.device())
            model.setTraining(true)
            model.setDropout(.init(seed: 4, step: 2, firstSample: 3))
            // What moves all scores of a query alike has no gradient but rounding.
            let counted = model.parameters.map { !$0.name.hasSuffix("key.bias") && !$0.name.hasSuffix("k_lin.bias") }
            #expect(counted.count { !$0 } == model.layerCount)
            func pass(_ valid: [Bool]?, capturing: Set<String>) throws -> (logits: [Float], gradients: [[Float]]) {
                for parameter in model.parameters { parameter.clearGradient() }
                let output = try model.forward(
                    EncoderBatch(TokenBatch(ids, rows: 2, valid: valid)), capturing: capturing)
                #expect(Set(output.signals.keys) == capturing)
                let logits = try #require(output.logits)
                try logits.squared().sum().backward()
                let parameters = zip(model.parameters, counted).filter(\.1).map(\.0)
                return (try logits.values(), try parameters.map { try $0.gradientValues() })
            }
            let attention = Set(model.signals.filter { $0.hasSuffix(".attention") })
            #expect(!attention.isEmpty)
            for (i, valid) in masks.enumerated() {
                expectAlike(
                    try pass(valid, capturing: []), try pass(valid, capturing: attention),
                    "\(name) \(probability) \(i)")
            }
        }
    }

    @Test("in training with dropout no layer holds tokens × tokens", arguments: ["gpt2", "bert_cls"])
    func memory(_ name: String) throws {
        let lengths = (name == "gpt2" ? ["n_positions"] : ["max_position_embeddings"])
        let device = try TestBackend.cpu.ownDevice()
        let config = try JSON.read(Project.golden("models/\(name)") + "/config.json")
        guard case .object(var object) = config else { return }
        for key in lengths { object.set(key, .int(2048)) }
        let drops =
            name == "gpt2"
            ? ["attn_pdrop", "embd_pdrop", "resid_pdrop"] : ["hidden_dropout_prob", "attention_probs_dropout_prob"]
        for key in drops { object.set(key, 0.1) }
        let cursor = JSONCursor(.object(object), file: "config.json")
        let forward: (Int) throws -> Tensor
        if name == "gpt2" {
            let model = try LanguageModelRegistry.make(cursor)
            _ = try model.materialize(on: device, seed: 1)
            model.setTraining(true)
            model.setDropout(.init(seed: 4, step: 2))
            forward = { try model.forward(TokenBatch([Int32](repeating: 3, count: $0), rows: 1)).logits }
        } else {
            let model = try Encoder(cursor, head: .classification(classes: 2))
            _ = try model.materialize(on: device, seed: 1)
            model.setTraining(true)
            model.setDropout(.init(seed: 4, step: 2))
            forward = { length in
                let batch = try EncoderBatch(TokenBatch([Int32](repeating: 3, count: length), rows: 1))
                return try #require(try model.forward(batch).logits)
            }
        }
        func peak(_ length: Int) throws -> Int {
            device.compute.resetPeakMemory()
            let before = device.compute.memory.live
            try forward(length).squared().sum().backward()
            return device.compute.memory.peak - before
        }
        let (short, long) = (try peak(512), try peak(2048))
        #expect(long < 5 * short, "\(short) bytes for 512 tokens, \(long) for 2048")
    }

    @Test("packed documents are what separate rows are", arguments: models, TestBackend.fast)
    func packed(_ name: String, _ backend: TestBackend) throws {
        let model = try load(name, backend)
        let lengths = [9, 1, 12, 6]
        let ids = ids(lengths.reduce(0, +))
        let documents = lengths.enumerated().flatMap { [Int32](repeating: Int32($0 * 3), count: $1) }
        for capturing in [[], attentions(model)] {
            let packed = try pass(
                model, TokenBatch(ids, rows: 1, documents: documents), capturing: capturing)
            var apart: (logits: [Float], gradients: [[Float]]) = ([], model.parameters.map { _ in [] })
            var start = 0
            for length in lengths {
                let one = try pass(
                    model, TokenBatch(Array(ids[start..<(start + length)]), rows: 1), capturing: capturing)
                apart.logits += one.logits
                for (i, gradient) in one.gradients.enumerated() {
                    apart.gradients[i] =
                        apart.gradients[i].isEmpty ? gradient : zip(apart.gradients[i], gradient).map { $0 + $1 }
                }
                start += length
            }
            expectAlike(packed, apart, "\(name), \(capturing.isEmpty ? "flash" : "composed")")
        }
    }

    @Test("a cache of several rows, past its first room", arguments: TestBackend.fast)
    func cache(_ backend: TestBackend) throws {
        let model = try load("mistral_swa", backend)
        model.setTraining(false)
        let length = min(70, model.maxPositions)
        let ids = ids(2 * length)
        try Autograd.withoutGradients {
            let whole = try model.forward(TokenBatch(ids, rows: 2)).logits.values()
            let cache = KeyValueCache(layers: model.layerCount)
            let width = whole.count / (2 * length)
            var start = 0
            for end in [5, 6, length - 3, length] {
                let part = (0..<2).flatMap { row in ids[(row * length + start)..<(row * length + end)] }
                let logits = try model.forward(TokenBatch(part, rows: 2), cache: cache, capturing: []).logits.values()
                let expected = (0..<2).flatMap { row in
                    whole[((row * length + start) * width)..<((row * length + end) * width)]
                }
                expectClose(
                    logits, expected.map(Double.init), absolute: 3e-6 * Double(whole.map(abs).max() ?? 1), "\(start)")
                start = end
            }
        }
    }

    /// Logits of what follows each of `parts`, and the bytes of the cache.
    private func read(
        _ model: any LanguageModel, _ ids: [Int32], _ dtype: DType?, parts: [Int]
    ) throws -> (logits: [Float], bytes: Int) {
        try Autograd.withoutGradients {
            let cache = KeyValueCache(layers: model.layerCount, dtype: dtype)
            var (logits, start, bytes): ([Float], Int, Int) = ([], 0, 0)
            for end in parts {
                let tokens = try TokenBatch(Array(ids[start..<end]), rows: 1)
                let states = try model.hidden(tokens, cache: cache, capturing: []).last
                logits += try model.head().logits(states).values()
                bytes = cache.device?.memory.byPurpose[.cache] ?? 0
                start = end
            }
            return (logits, bytes)
        }
    }

    @Test(
        "a cache in bf16: half the bytes, numbers up to rounding; a model that computes in bf16 has one by itself",
        arguments: ["qwen3", "gpt2"], TestBackend.fast)
    func reducedCache(_ name: String, _ backend: TestBackend) throws {
        let device = try backend.ownDevice()
        let (model, arena) = try LanguageModelDirectory.load(Project.golden("models/\(name)"), on: device)
        model.setTraining(false)
        let ids = ids(12)
        func distance(_ a: [Float], _ b: [Float]) -> Float {
            zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) } / (b.map(abs).max() ?? 1)
        }
        let parts = [5, 6, 7, 12]
        let whole = try read(model, ids, nil, parts: parts)
        let half = try read(model, ids, .bf16, parts: parts)
        #expect(whole.bytes > 0 && 2 * half.bytes == whole.bytes)
        let rounding = distance(half.logits, whole.logits)
        #expect(rounding > 1e-5 && rounding < 0.02, "\(rounding)")
        #expect(try read(model, ids, .f32, parts: parts).logits == whole.logits)
        // What was put is what is read: one token at a time, or several.
        let slow = try read(model, ids, .bf16, parts: Array(1...12))
        #expect(distance(slow.logits, half.logits) < 0.02)

        try arena.keepWorkingCopy()
        try arena.refreshWorkingCopy()
        let reduced = try model.withReducedPrecision { try read(model, ids, nil, parts: parts) }
        #expect(reduced.bytes == half.bytes)
        #expect(distance(reduced.logits, whole.logits) < 0.05)
    }

    @Test("documents behind a cache, and a cache that should have gradients")
    func refused() throws {
        let model = try load("qwen3", .cpu)
        let tokens = try TokenBatch([1, 2, 3], rows: 1, documents: [0, 0, 1])
        let cache = KeyValueCache(layers: model.layerCount)
        try Autograd.withoutGradients {
            _ = try model.forward(TokenBatch([5], rows: 1), cache: cache, capturing: [])
            #expect(thrown(TensorError.self) { _ = try model.forward(tokens, cache: cache, capturing: []) } != nil)
        }
        let error = thrown(TensorError.self) {
            _ = try model.forward(
                TokenBatch([5], rows: 1), cache: KeyValueCache(layers: model.layerCount), capturing: [])
        }
        #expect(error?.description.contains("withoutGradients") == true)
        #expect(thrown(TensorError.self) { _ = try TokenBatch([1, 2], rows: 1, documents: [1]) } != nil)
    }
}
