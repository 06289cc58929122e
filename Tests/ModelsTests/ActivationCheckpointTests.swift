import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Blocks that are computed again in backward: the same losses and gradients, bit for bit.
@Suite("Activation checkpointing of text models")
struct ActivationCheckpointTests {
    private static let dropout: [String: [String]] = [
        "gpt2": ["attn_pdrop", "embd_pdrop", "resid_pdrop"], "qwen3": ["attention_dropout"], "llama_gqa_untied": [],
        "mistral_swa": [], "gemma2": ["attention_dropout"],
    ]
    private let ids: [Int32] = [3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32]

    /// What comes of a step: the loss, signals, and every gradient.
    private func step(
        _ model: any LanguageModel, _ trained: [Parameter], _ tokens: TokenBatch, capturing paths: Set<String> = [],
        on device: Device
    ) throws -> [[Float]] {
        model.setTraining(true)
        model.setDropout(.init(seed: 4, step: 2, firstSample: 3))
        let states = try model.hidden(tokens, capturing: paths)
        var loss = try model.head().logits(states.last).squared().mean()
        for path in paths.sorted() { loss = try loss + states.signals[path]!.squared().mean() * 3 }
        let value = try loss.item()
        try loss.backward()
        let gradients = try trained.map { try $0.gradientValues() }
        trained.forEach { $0.clearGradient() }
        return [[value]] + gradients + (try paths.sorted().map { try states.signals[$0]!.values() })
    }

    @Test(
        "decoders: plain, packed, padded, with dropout, with signals", arguments: dropout.keys.sorted(),
        TestBackend.fast)
    func decoders(_ name: String, _ backend: TestBackend) throws {
        let device = try backend.device()
        let documents: [Int32] = [0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 2, 2]
        let valid = (0..<12).map { $0 != 5 && $0 < 10 }
        let batches = [
            try TokenBatch(ids, rows: 2), try TokenBatch(ids, rows: 2, valid: nil, documents: documents),
            try TokenBatch(ids, rows: 2, valid: valid, documents: nil),
        ]
        let drops = try #require(Self.dropout[name])
        for probability in drops.isEmpty ? [0] : [0, 0.3] {
            let copy = try ModelCopy(of: name, set: drops.map { ($0, .some(.double(probability))) })
            let (model, _) = try LanguageModelDirectory.load(copy.path, on: device)
            for batch in batches {
                for paths: Set<String> in [
                    [], ["layers.0.hidden", "embeddings", "norm"], ["layers.0.attention", "layers.1.values"],
                ] {
                    model.checkpointsActivations = false
                    let kept = try step(model, model.parameters, batch, capturing: paths, on: device)
                    model.checkpointsActivations = true
                    let again = try step(model, model.parameters, batch, capturing: paths, on: device)
                    #expect(again == kept, "\(name), dropout \(probability), signals \(paths.sorted())")
                    #expect(kept.dropFirst().allSatisfy { $0.contains { $0 != 0 } })
                }
            }
        }
    }

    @Test("adapters with dropout beside frozen weights", arguments: ["llama_gqa_untied", "gpt2"], TestBackend.fast)
    func adapters(_ name: String, _ backend: TestBackend) throws {
        let device = try backend.device()
        let off = name == "gpt2" ? Self.dropout["gpt2"]!.map { (key: $0, value: JSON?.some(0.1)) } : []
        let copy = try ModelCopy(of: name, set: off)
        let (model, _) = try LanguageModelDirectory.load(copy.path, on: device, trains: false)
        let arena = try LowRankAdaptation(rank: 4, dropout: 0.2).attach(to: model, seed: 1, on: device)
        // B begins at 0, and A would have no gradient.
        for parameter in arena.parameters where parameter.name.contains("lora_B") {
            try parameter.assign((0..<parameter.count).map { Float($0 % 7) / 50 - 0.05 })
        }
        let tokens = try TokenBatch(ids, rows: 2)
        let kept = try step(model, arena.parameters, tokens, on: device)
        model.checkpointsActivations = true
        #expect(try step(model, arena.parameters, tokens, on: device) == kept)
        #expect(kept.allSatisfy { $0.contains { $0 != 0 } })
    }

    @Test("encoders, with dropout and with signals", arguments: ["bert_cls", "distilbert_mlm"], TestBackend.fast)
    func encoders(_ name: String, _ backend: TestBackend) throws {
        let device = try backend.device()
        let keys =
            name == "bert_cls"
            ? ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]
            : ["dropout", "attention_dropout"]
        let copy = try ModelCopy(of: name, set: keys.map { ($0, .some(0.2)) })
        let (loaded, _) = try EncoderDirectory.load(copy.path, on: device)
        let model = try #require(loaded as? Encoder)
        model.setTraining(true)
        func step(_ paths: Set<String>) throws -> [[Float]] {
            model.setDropout(.init(seed: 4, step: 2))
            let output = try model.forward(EncoderBatch(TokenBatch(ids, rows: 2)), capturing: paths)
            var loss = try #require(output.logits).squared().mean()
            for path in paths.sorted() { loss = try loss + output.signals[path]!.squared().mean() * 3 }
            let value = try loss.item()
            try loss.backward()
            let gradients = try model.parameters.map { try $0.gradientValues() }
            model.parameters.forEach { $0.clearGradient() }
            return [[value]] + gradients
        }
        for paths: Set<String> in [[], ["layers.0.hidden"], ["layers.0.attention"]] {
            model.checkpointsActivations = false
            let kept = try step(paths)
            model.checkpointsActivations = true
            #expect(try step(paths) == kept, "\(paths)")
            #expect(kept[1...].contains { $0.contains { $0 != 0 } })
        }
    }

    @Test("a block's inside is not kept in training; a model that writes does as before", arguments: TestBackend.fast)
    func memory(_ backend: TestBackend) throws {
        let device = try backend.ownDevice()
        let config = """
            {"model_type": "llama", "vocab_size": 32, "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 8,
             "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 256, "rms_norm_eps": 1e-5}
            """
        let model = try LanguageModelRegistry.make(JSONCursor(try JSON.parse(config, file: "c"), file: "c"))
        let arena = try model.materialize(on: device, seed: 1)
        let tokens = try TokenBatch((0..<512).map { Int32($0 * 7 % 32) }, rows: 2)
        func peak() throws -> Int {
            device.compute.resetPeakMemory()
            try model.hidden(tokens).last.squared().mean().backward()
            arena.clearGradients()
            return device.compute.memory.peak
        }
        let written = try model.generate([1, 2, 3], count: 8)
        model.setTraining(true)
        _ = try peak()
        let kept = try peak()
        model.checkpointsActivations = true
        let less = try peak()
        #expect(less < kept / 2, "\(less) of \(kept) bytes")
        #expect(try model.generate([1, 2, 3], count: 8) == written)
    }
}
