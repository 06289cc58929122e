import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Weights and activations in bf16: what they give lies as near to fp32 as rounding explains, and takes half the memory.
@Suite("Language models in bf16")
struct ReducedPrecisionTests {
    static let models = ["gpt2", "llama_gqa_untied", "mistral_swa", "qwen3", "gemma2"]
    /// Those that guess masked tokens.
    static let encoders = ["bert_mlm", "distilbert_mlm"]
    private let ids: [Int32] = [3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32]

    private func load(_ name: String, on device: Device, trains: Bool = false, dtype: DType = .f32) throws -> (
        model: any LanguageModel, arena: ParameterArena
    ) {
        let path = Project.golden("models/\(name)")
        if Self.encoders.contains(name) {
            let (model, arena) = try MaskedLanguageModel.load(path, on: device, trains: trains, dtype: dtype)
            return (model, arena)
        }
        return try LanguageModelDirectory.load(path, on: device, trains: trains, dtype: dtype)
    }

    /// Matrices rounded as the hardware's format says, on the host.
    private func round(_ parameters: [Parameter]) throws {
        for parameter in parameters where parameter.shape.count >= 2 {
            try parameter.assign(
                parameter.values().map { value in
                    let bits = value.bitPattern
                    return Float(bitPattern: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) & 0xFFFF_0000)
                })
        }
    }

    private func largest(_ values: [Float]) -> Float { values.reduce(0) { max($0, abs($1)) } }
    private func distance(_ a: [Float], _ b: [Float]) -> Float { largest(zip(a, b).map { $0 - $1 }) / largest(b) }

    @Test(
        "a frozen model is the model of the rounded weights, and computes in fp32", arguments: models + encoders,
        TestBackend.available)
    func frozen(_ name: String, _ backend: TestBackend) throws {
        let device = try backend.device()
        let (model, _) = try load(name, on: device, dtype: .bf16)
        let (reference, _) = try load(name, on: device)
        #expect(model.parameters.allSatisfy { $0.value.dtype == ($0.shape.count >= 2 ? .bf16 : .f32) })
        let exact = try reference.forward(TokenBatch(ids, rows: 2)).logits.values()
        try round(reference.parameters)
        for (mine, theirs) in zip(model.parameters, reference.parameters) {
            #expect(try mine.values() == theirs.values(), "\(mine.name)")
        }
        let tokens = try TokenBatch(ids, rows: 2)
        let (logits, rounded) = (
            try model.forward(tokens).logits.values(), try reference.forward(tokens).logits.values()
        )
        #expect(distance(logits, rounded) < 1e-5)
        #expect(distance(logits, exact) > 1e-5, "rounding shows")
        guard model.isCausal else { return }
        #expect(
            try model.generate(Array(ids.prefix(4)), count: 12) == reference.generate(Array(ids.prefix(4)), count: 12))
    }

    /// The loss of a step, every gradient, and the memory at its peak.
    private func step(_ model: any LanguageModel, _ trained: ParameterArena, reduced: Bool, on device: Device) throws
        -> (
            loss: Float, gradients: [[Float]]
        )
    {
        func body() throws -> (Float, [[Float]]) {
            model.setDropout(.init(seed: 4, step: 2, firstSample: 0))
            let states = try model.hidden(TokenBatch(ids, rows: 2))
            #expect(states.last.dtype == (reduced ? .bf16 : .f32))
            let loss = try model.head().logits(states.last).squared().mean()
            let value = try loss.item()
            try loss.backward()
            defer { trained.clearGradients() }
            return (value, try trained.parameters.map { try $0.gradientValues() })
        }
        guard reduced else { return try body() }
        try trained.refreshWorkingCopy()
        return try model.withReducedPrecision(body)
    }

    @Test(
        "a step's loss and gradients are fp32's up to rounding; outside of it nothing changes",
        arguments: models + encoders, TestBackend.available)
    func training(_ name: String, _ backend: TestBackend) throws {
        let device = try backend.device()
        let (model, arena) = try load(name, on: device, trains: true)
        model.setTraining(true)
        let before = try model.forward(TokenBatch(ids, rows: 2)).logits.values()
        let exact = try step(model, arena, reduced: false, on: device)
        try arena.keepWorkingCopy()
        let reduced = try step(model, arena, reduced: true, on: device)
        #expect(abs(reduced.loss - exact.loss) < 0.02 * abs(exact.loss) && reduced.loss != exact.loss)
        let scale = exact.gradients.map(largest).max() ?? 0
        for (index, parameter) in arena.parameters.enumerated() {
            let (g, reference) = (reduced.gradients[index], exact.gradients[index])
            guard largest(reference) > 1e-6 * scale else {
                // What all keys have more says nothing to a softmax: rounding is all there is.
                #expect(["key.bias", "k_lin.bias"].contains { parameter.name.hasSuffix($0) }, "\(parameter.name)")
                #expect(largest(g) < 1e-3 * scale, "\(parameter.name)")
                continue
            }
            #expect(distance(g, reference) < 0.06, "\(parameter.name)")
            let dot = zip(g, reference).reduce(0) { $0 + $1.0 * $1.1 }
            let norms = (g.reduce(0) { $0 + $1 * $1 } * reference.reduce(0) { $0 + $1 * $1 }).squareRoot()
            #expect(dot > 0.995 * norms, "\(parameter.name)")
        }
        #expect(try step(model, arena, reduced: true, on: device) == reduced)
        model.checkpointsActivations = true
        #expect(try step(model, arena, reduced: true, on: device) == reduced)
        #expect(try model.forward(TokenBatch(ids, rows: 2)).logits.values() == before)

        // The copy follows the weights when it is told to, and not before.
        let weight = try #require(arena.parameters.first { $0.shape.count >= 2 })
        try weight.assign(weight.values().map { $0 * 1.5 })
        let stale = try model.withReducedPrecision { try weight.tensor.values() }
        try arena.refreshWorkingCopy()
        let fresh = try model.withReducedPrecision { try weight.tensor.values() }
        #expect(distance(fresh, try weight.values()) < 0x1p-8 && distance(stale, fresh) > 0.3)
    }

    @Test(
        "adapters beside frozen bf16 weights; merged, the weights are fp32", arguments: ["llama_gqa_untied", "gpt2"],
        TestBackend.fast)
    func adapters(_ name: String, _ backend: TestBackend) throws {
        let device = try backend.device()
        func adapted(_ dtype: DType) throws -> (any LanguageModel, ParameterArena) {
            let (model, _) = try load(name, on: device, dtype: dtype)
            let arena = try LowRankAdaptation(rank: 4).attach(to: model, seed: 1, on: device)
            for parameter in arena.parameters where parameter.name.contains("lora_B") {
                try parameter.assign((0..<parameter.count).map { Float($0 % 7) / 50 - 0.05 })
            }
            model.setTraining(true)
            return (model, arena)
        }
        let (model, arena) = try adapted(.bf16)
        let (reference, theirs) = try adapted(.f32)
        try round(reference.parameters)
        let (exact, reduced) = (
            try step(reference, theirs, reduced: false, on: device), try step(model, arena, reduced: true, on: device)
        )
        for (index, parameter) in arena.parameters.enumerated() {
            #expect(distance(reduced.gradients[index], exact.gradients[index]) < 0.1, "\(parameter.name)")
        }
        let before = try model.forward(TokenBatch(ids, rows: 2)).logits.values()
        try model.mergeAdapters()
        try reference.mergeAdapters()
        let after = try model.forward(TokenBatch(ids, rows: 2)).logits.values()
        #expect(distance(after, before) < 1e-5)
        for (mine, other) in zip(model.parameters, reference.parameters) {
            #expect(try distance(mine.values(), other.values()) < 1e-6, "\(mine.name)")
        }
    }

    /// A step of the blocks on a device without bytes, which names its operations.
    @Test(
        "what losses see of an encoder in a step is fp32, and near fp32's: logits of classes, vectors of texts",
        arguments: TestBackend.available)
    func encoderAnswers(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (model, arena) = try EncoderDirectory.load(Project.golden("models/bert_cls"), on: device)
        try arena.keepWorkingCopy()
        let batch = try EncoderGoldenTests.batch(GoldenModel("bert_cls"))
        let pattern: [Float] = [0.9, -0.4, 0.7, 0.2, -0.8]
        func step(_ number: Int, _ stored: DType) throws -> (values: [Float], gradient: [Float]) {
            let output = try model.forward(batch)
            #expect(output.hidden.dtype == stored)
            let logits = try #require(output.logits)
            let y = try number == 0 ? logits : TokenPooling.allCases[number - 1](output.hidden, batch.tokens)
            #expect(y.dtype == .f32)
            let upstream = (0..<y.count).map { pattern[$0 % pattern.count] }
            try y.backward(upstream: Tensor(upstream, y.shape, on: device))
            defer { arena.clearGradients() }
            return (try y.values(), try arena.parameters.flatMap { try $0.gradientValues() })
        }
        for number in 0...TokenPooling.allCases.count {
            let exact = try step(number, .f32)
            let reduced = try model.withReducedPrecision { try step(number, .bf16) }
            #expect(distance(reduced.values, exact.values) < 0.03 && reduced.values != exact.values, "\(number)")
            let (g, reference) = (reduced.gradient, exact.gradient)
            let dot = zip(g, reference).reduce(0) { $0 + $1.0 * $1.1 }
            let norms = (g.reduce(0) { $0 + $1 * $1 } * reference.reduce(0) { $0 + $1 * $1 }).squareRoot()
            #expect(dot > 0.98 * norms && norms > 0, "\(number)")
        }
    }

    @Test("blocks convert nothing, forward and backward", arguments: ["llama_gqa_untied", "gemma2", "gpt2"] + encoders)
    func unconverted(_ name: String) throws {
        let plan = PlannedDevice()
        let device = Device(.planned(plan))
        let config = Project.golden("models/\(name)/config.json")
        let json = JSONCursor(try JSON.read(config), file: config)
        let model: any LanguageModel =
            if Self.encoders.contains(name) {
                try MaskedLanguageModel(json)
            } else {
                try LanguageModelRegistry.make(json)
            }
        let arena = try model.materialize(on: device, seed: 1)
        try arena.keepWorkingCopy()
        model.setTraining(true)
        model.setDropout(.init(seed: 4, step: 2, firstSample: 0))
        let tokens = try TokenBatch(ids, rows: 2)
        let upstream = try Tensor(view: device.compute.empty(model.hidden(tokens).last.shape), on: device)
        let names = try model.withReducedPrecision {
            let before = plan.operationCount
            let states = try model.hidden(tokens).last
            #expect(states.dtype == .bf16)
            try states.backward(upstream: upstream)
            return plan.operations.dropFirst(before).map(\.name)
        }
        #expect(names.contains("flash_attention_backward") && !names.contains("convert"), "\(names)")
    }

    @Test("half the bytes of weights and of activations", arguments: TestBackend.fast)
    func memory(_ backend: TestBackend) throws {
        let config = """
            {"model_type": "llama", "vocab_size": 32, "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 8,
             "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 256, "rms_norm_eps": 1e-5}
            """
        func model() throws -> any LanguageModel {
            try LanguageModelRegistry.make(JSONCursor(try JSON.parse(config, file: "c"), file: "c"))
        }
        let weights = try [DType.f32, .bf16].map { dtype in
            let device = try backend.ownDevice()
            let arena = try model().materialize(on: device, seed: 1, trains: false, dtype: dtype)
            return withExtendedLifetime(arena) { device.compute.memory.byPurpose[.parameters] ?? 0 }
        }
        #expect(weights[1] < weights[0] * 52 / 100, "\(weights)")

        let device = try backend.ownDevice()
        let trained = try model()
        trained.setTraining(true)
        let arena = try trained.materialize(on: device, seed: 1)
        try arena.keepWorkingCopy()
        let tokens = try TokenBatch((0..<1024).map { Int32($0 * 7 % 32) }, rows: 8)
        func kept(_ reduced: Bool) throws -> Int {
            func body() throws -> Int {
                let before = device.compute.memory.live
                let states = try trained.hidden(tokens)
                return withExtendedLifetime(states) { device.compute.memory.live - before }
            }
            return try reduced ? trained.withReducedPrecision(body) : body()
        }
        let (full, half) = (try kept(false), try kept(true))
        #expect(half < full * 55 / 100, "\(half) of \(full) bytes")
    }
}
