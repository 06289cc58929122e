import Foundation
import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Language models with adapters: they begin as they were, only the adapters learn, and merged or saved for PEFT they are the same model.
@Suite("Low-rank adaptation of language models")
struct LowRankAdaptationTests {
    static let names = ["llama_gqa_untied", "qwen2", "gemma2", "gpt2"]
    static let ids: [Int32] = [5, 17, 33, 2, 44, 40, 11, 8, 23, 3, 41, 7]

    /// A frozen model with adapters that took some steps.
    static func trained(
        _ name: String, _ adaptation: LowRankAdaptation, _ device: Device
    ) throws -> (model: any LanguageModel, arena: ParameterArena, losses: [Float]) {
        let (model, _) = try LanguageModelDirectory.load(
            Project.golden("models/\(name)"), on: device, trains: false)
        let arena = try adaptation.attach(to: model, seed: 1, on: device)
        let optimizer = try Adam(arena)
        let tokens = try TokenBatch(ids, rows: 2)
        let targets = try device.compute.view(Array(ids.dropFirst()) + [1], [ids.count], .i32)
        model.setTraining(true)
        var losses: [Float] = []
        for step in 0..<4 {
            model.setDropout(.init(seed: 1, step: step))
            let logits = try model.forward(tokens).logits.reshaped([ids.count, model.vocabulary])
            let loss = try logits.crossEntropy(targets, scale: 1 / Float(ids.count)).total
            losses.append(try loss.item())
            try loss.backward()
            #expect(model.parameters.allSatisfy { !$0.hasGradient })
            #expect(arena.parameters.allSatisfy { $0.hasGradient })
            try optimizer.step(learningRate: 0.02)
        }
        model.setTraining(false)
        return (model, arena, losses)
    }

    private func logits(_ model: any LanguageModel) throws -> [Float] {
        try Autograd.withoutGradients { try model.forward(TokenBatch(Self.ids, rows: 2)).logits.values() }
    }

    @Test("from the first step to the merged weights", arguments: names, TestBackend.fast)
    func life(_ name: String, _ backend: TestBackend) throws {
        let device = try backend.device()
        let (base, _) = try LanguageModelDirectory.load(Project.golden("models/\(name)"), on: device)
        let (start, arena) = try {
            let (model, _) = try LanguageModelDirectory.load(
                Project.golden("models/\(name)"), on: device, trains: false)
            return (model, try LowRankAdaptation(rank: 4).attach(to: model, seed: 1, on: device))
        }()
        // At the start an adapter changes nothing; GPT-2's activation is then no longer part of the product.
        let (own, plain) = (try logits(start), try logits(base))
        #expect(own == plain || name == "gpt2")
        expectClose(own, plain.map(Double.init), absolute: 1e-6 * Double(plain.map(abs).max() ?? 1))
        let layers = start.adaptableLayers
        #expect(layers.count == (name == "gpt2" ? 4 : 7) * start.layerCount)
        #expect(arena.count == layers.reduce(0) { $0 + 4 * ($1.inputs + $1.outputs) })
        #expect(start.parameterCount == base.parameterCount)

        let (model, _, losses) = try Self.trained(name, .init(rank: 4), device)
        #expect(losses.last! < losses[0], "\(losses)")
        for (own, old) in zip(model.parameters, base.parameters) {
            #expect(try own.values().map(\.bitPattern) == old.values().map(\.bitPattern), "\(own.name)")
        }
        let adapted = try logits(model)
        #expect(try adapted != logits(base))
        let size = Double(adapted.map(abs).max() ?? 1)
        try model.mergeAdapters()
        #expect(model.adaptableLayers.allSatisfy { $0.adapter == nil })
        expectClose(try logits(model), adapted.map(Double.init), absolute: 2e-5 * size, name)
        let folder = try ScratchFolder()
        try LanguageModelDirectory.save(model, to: folder.path)
        let (again, _) = try LanguageModelDirectory.load(folder.path, on: device)
        #expect(try logits(again) == logits(model))
    }

    @Test("targets by the last part of their path or more of it; a cache hears them too")
    func targets() throws {
        let device = try TestBackend.cpu.device()
        func adapted(_ name: String, _ targets: [String]) throws -> (model: any LanguageModel, paths: [String]) {
            let model = try Self.trained(name, .init(rank: 2, targets: targets), device).model
            return (model, model.adaptableLayers.filter { $0.adapter != nil }.map(\.name))
        }
        let (model, paths) = try adapted("llama_gqa_untied", ["v_proj", "model.layers.1.mlp.down_proj"])
        #expect(
            paths == [
                "model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.v_proj", "model.layers.1.mlp.down_proj",
                "model.layers.2.self_attn.v_proj",
            ])
        let text = try model.generate([5, 17, 33], count: 12)
        try model.mergeAdapters()
        #expect(try model.generate([5, 17, 33], count: 12) == text)
        #expect(try adapted("gpt2", ["c_proj"]).paths.count == 6)
        #expect(try adapted("gpt2", ["mlp.c_proj"]).paths.count == 3)

        for (name, target, words) in [
            ("llama_gqa_untied", "q_prj", "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"),
            ("llama_gqa_untied", "lm_head", "down_proj"), ("gpt2", "q_proj", "c_attn, c_proj, c_fc"),
            ("gpt2", "proj", "c_proj"),
        ] {
            let error = thrown(RetortError.self) { _ = try adapted(name, [target]) }
            #expect(error?.exit == .usage && "\(error!)".contains(words), "\(String(describing: error))")
        }
    }

    @Test("dropout: other numbers in each step, none in evaluation")
    func dropout() throws {
        let device = try TestBackend.cpu.device()
        let plain = try Self.trained("qwen2", .init(rank: 4), device)
        let dropped = try Self.trained("qwen2", .init(rank: 4, dropout: 0.3), device)
        #expect(plain.losses[0] == dropped.losses[0] && plain.losses[2] != dropped.losses[2])
        #expect(try logits(dropped.model) == logits(dropped.model))
    }

    @Test("the files are PEFT's")
    func files() throws {
        let device = try TestBackend.cpu.device()
        for (name, adaptation, prefix, shapes) in [
            (
                "llama_gqa_untied", LowRankAdaptation(rank: 2, alpha: 5, targets: ["v_proj", "q_proj"]),
                "base_model.model.model.layers.0.self_attn.v_proj", [[2, 48], [16, 2]]
            ),
            ("gpt2", .init(rank: 3, alpha: 1.5), "base_model.model.transformer.h.2.attn.c_attn", [[3, 32], [96, 3]]),
        ] {
            let (model, arena, _) = try Self.trained(name, adaptation, device)
            let folder = try ScratchFolder()
            try AdapterDirectory.save(adaptation, of: model, base: "some/base", to: folder.path)
            #expect(
                try Set(contents(of: folder.path).keys) == ["adapter_config.json", "adapter_model.safetensors"])
            let file = try SafeTensors(path: folder.path("adapter_model.safetensors"))
            #expect(file.tensors.count == arena.parameters.count)
            for (matrix, shape) in zip(["lora_A", "lora_B"], shapes) {
                #expect(try file.tensor("\(prefix).\(matrix).weight").shape == shape)
            }
            let first = arena.parameters[0]
            #expect(try file.floats("base_model.model." + first.name) == first.values())
            let config = try JSON.read(folder.path("adapter_config.json"))
            #expect(config["peft_type"] == "LORA" && config["r"] == .int(adaptation.rank))
            #expect(config["lora_alpha"] == (name == "gpt2" ? 1.5 : 5))
            #expect(config["fan_in_fan_out"] == .bool(name == "gpt2"))
            #expect(
                config["target_modules"] == (name == "gpt2" ? ["c_attn", "c_proj", "c_fc"] : ["v_proj", "q_proj"]))
            #expect(config["base_model_name_or_path"] == "some/base")
        }
    }
}
