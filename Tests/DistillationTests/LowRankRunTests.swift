import Foundation
import RetortData
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A recipe with adapters, whole.
@Suite("Language model runs with adapters")
struct LowRankRunTests {
    private static let recipe = """
        data: {kind: tokens, path: rows.safetensors}
        student: {path: base, lora: {rank: 4, dropout: 0.1}}
        arms:
          student-alone: {objective: [{loss: cross-entropy}]}
        train: {steps: 30, batch: 8, optimizer: {kind: adamw, lr: 0.01}, schedule: {kind: cosine, warmup: 4}, clip: 1}
        """

    /// With a model that learned a little, in `base`.
    private func small(_ backend: TestBackend, width: Int = 16) throws -> SmallLanguage {
        let sizes = "hidden: \(width), intermediate: \(2 * width), layers: 2, heads: 2"
        let small = try SmallLanguage(
            backend, SmallLanguage.recipe.replacing("hidden: 16, intermediate: 32, layers: 2, heads: 2", with: sizes))
        _ = try small.start("first", "seeds=[0]", "teacher.train.steps=20", "train.steps=2").run()
        try FileManager.default.moveItem(
            atPath: small.folder.path("first/teacher/seed-0/final"), toPath: small.folder.path("base"))
        try small.folder.write(Self.recipe, to: "small.yaml")
        return small
    }

    @Test("trained, measured, merged and saved", arguments: TestBackend.fast)
    func run(_ backend: TestBackend) throws {
        let small = try small(backend)
        let untouched = try contents(of: small.folder.path("base"))
        let results = try small.start("run").run()
        let result = results.arms[0].seeds[0]
        let device = try backend.device()
        let base = try LanguageModelDirectory.load(small.folder.path("base"), on: device).model
        #expect(result.metrics["parameters"] == Double(base.parameterCount))
        // Four matrices of 16 × 16, three of 16 × 32, in two blocks.
        #expect(result.metrics["trainable_parameters"] == Double(2 * 4 * (4 * 32 + 3 * 48)))
        #expect(try contents(of: small.folder.path("base")) == untouched)

        let folder = small.folder.path("run/student-alone/seed-0")
        #expect(try Set(contents(of: folder + "/final").keys) == ["config.json", "model.safetensors"])
        #expect(
            try Set(contents(of: folder + "/adapter").keys) == ["adapter_config.json", "adapter_model.safetensors"])
        let final = try LanguageModelDirectory.load(folder + "/final", on: device).model
        for (new, old) in zip(final.parameters, base.parameters) {
            #expect(try (new.values() != old.values()) == new.name.contains("_proj."), "\(new.name)")
        }
        // final/ has the run's numbers, better than those it began with.
        let rows = (40..<56).map { row in
            let step = 1 + row % 5
            let tokens = (0..<10).map { Int32((row * 7 + $0 * step) % 24) }
            return TokenizedExample(tokens: tokens, isTarget: [Bool](repeating: true, count: 10))
        }
        func entropy(_ model: any LanguageModel) throws -> Double {
            try LanguageEvaluation(model, LanguageBatches(TokenizedCorpus(rows), batch: 5, seed: nil), on: device)
                .crossEntropy
        }
        let reached = try #require(result.metrics["cross_entropy"])
        #expect(try abs(entropy(final) - reached) < 1e-5)
        #expect(try entropy(base) > reached + 0.02)
        // Two runs are equal bit by bit.
        _ = try small.start("again").run()
        for part in ["final/model.safetensors", "adapter/adapter_model.safetensors"] {
            let path = "student-alone/seed-0/" + part
            #expect(
                try contents(of: small.folder.path("run"))[path] == contents(of: small.folder.path("again"))[path])
        }
    }

    @Test("gradients and the optimizer's state are the adapters' alone")
    func memory() throws {
        let small = try small(.cpu, width: 128)
        func peak(_ output: String, isFull: Bool) throws -> Double {
            let lora = ", lora: {rank: 4, dropout: 0.1}"
            try small.folder.write(
                isFull ? Self.recipe.replacing(lora, with: "") : Self.recipe, to: "small.yaml")
            let run = try readRecipe(small.folder.path("small.yaml"), overrides: ["train.steps=3"]).start(
                on: try TestBackend.cpu.ownDevice(), output: small.folder.path(output), progress: Progress(quiet: true))
            let result = try run.run().arms[0].seeds[0]
            #expect((result.metrics["trainable_parameters"] == nil) == isFull)
            return try #require(result.metrics["peak_bytes"])
        }
        let (lora, full) = (try peak("lora", isFull: false), try peak("full", isFull: true))
        let parameters = Double(
            try LanguageModelDirectory.load(
                small.folder.path("base"), on: TestBackend.cpu.device()
            ).model.parameterCount)
        print("peak bytes of a step: LoRA \(Int(lora)), full \(Int(full)), weights \(Int(parameters) * 4)")
        // A gradient and two moments of 4 bytes for each weight are spared. Adapters have a value beside theirs, `[rank, inputs]` and
        // `[outputs, rank]` with rows padded to 16, and keep what dropout leaves of their inputs: 80 tokens.
        let layers = [(128, 128), (128, 128), (128, 128), (128, 128), (128, 256), (128, 256), (256, 128)]
        let adapters = 2 * layers.reduce(0) { $0 + 4 * $1.0 + 16 * $1.1 }
        let inputs = 2 * 80 * layers.reduce(0) { $0 + $1.0 }
        #expect(full - lora > 12 * parameters - Double(16 * adapters + 4 * inputs))
    }

    @Test("what cannot be adapted is refused with the place")
    func refusals() throws {
        let small = try small(.cpu)
        func refused(_ lora: String, _ words: String) throws {
            try small.folder.write(
                Self.recipe.replacing("{rank: 4, dropout: 0.1}", with: lora), to: "small.yaml")
            let error = thrown(RetortError.self) { _ = try small.start("run") }
            #expect(error?.exit == .recipe && "\(error!)".contains(words), "\(String(describing: error))")
            #expect(error?.location?.line == 2)
            #expect(!FileManager.default.fileExists(atPath: small.folder.path("run")))
        }
        try refused("{targets: [q_proj, value]}", "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj")
        try refused("{rank: 0}", "rank")
        try refused("{ranks: 4}", "rank")
        try refused("{alpha: 0}", "alpha")
        try refused("{dropout: 1}", "dropout")
        try refused("{targets: []}", "targets")
        let fresh = "model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, vocabulary: 24}"
        try small.folder.write(Self.recipe.replacing("path: base", with: fresh), to: "small.yaml")
        let error = thrown(RetortError.self) { _ = try small.start("run") }
        #expect(error?.exit == .recipe && error?.what.contains("lora adapts a trained model") == true)
    }
}
