import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// `student.save-dtype`: the same training, its student rounded before it is measured and saved.
@Suite("Types of saved weights")
struct SavedTypeTests {
    private struct Saved: Equatable {
        let types: Set<ElementType>
        let values: [String: [Float]]
        let dtype: JSON?

        init(_ folder: String) throws {
            let file = try SafeTensors(path: folder + "/model.safetensors")
            types = Set(file.tensors.map(\.type))
            values = Dictionary(uniqueKeysWithValues: try file.tensors.map { ($0.name, try file.floats($0.name)) })
            // Fresh models have the older of the two keys, and keep it.
            let config = try JSON.read(folder + "/config.json")
            dtype = config["dtype"] ?? config["torch_dtype"]
        }
    }

    private static func rounded(_ value: Float, _ type: SavedType) -> Float {
        type == .bf16 ? FloatFormats.float(bfloat16: FloatFormats.bfloat16(value)) : Float(Float16(value))
    }

    /// A model that was saved in f32, and the same of a run that rounds.
    private func expectRounded(_ plain: String, _ small: String, _ type: SavedType) throws {
        let (plain, small) = (try Saved(plain), try Saved(small))
        #expect(plain.types == [.float32] && small.types == [type == .bf16 ? .bfloat16 : .float16])
        #expect(small.dtype == .string(type == .bf16 ? "bfloat16" : "float16"))
        #expect(small.values == plain.values.mapValues { $0.map { Self.rounded($0, type) } })
        #expect(small.values != plain.values)
    }

    @Test(
        "language models: students are rounded, their teacher is not", arguments: TestBackend.fast,
        [SavedType.bf16, .f16])
    func language(_ backend: TestBackend, _ type: SavedType) throws {
        let small = try SmallLanguage(backend)
        _ = try small.start("plain", "seeds=[0]").run()
        let results = try small.start("small", "seeds=[0]", "student.save-dtype=\(type.rawValue)").run()
        func folder(_ run: String, _ role: String) -> String { small.folder.path("\(run)/\(role)/seed-0/final") }
        for role in ["student-alone", "student"] {
            try expectRounded(folder("plain", role), folder("small", role), type)
        }
        #expect(try Saved(folder("plain", "teacher")) == Saved(folder("small", "teacher")))
        // What was measured is what was saved.
        let device = try backend.device()
        let rows = (40..<56).map { row in
            let step = 1 + row % 5
            let tokens = (0..<10).map { Int32((row * 7 + $0 * step) % 24) }
            return TokenizedExample(tokens: tokens, isTarget: [Bool](repeating: true, count: 10))
        }
        for (index, run) in ["small", "plain"].enumerated() {
            let model = try LanguageModelDirectory.load(folder(run, "student"), on: device).model
            let evaluation = try LanguageEvaluation(
                model, LanguageBatches(TokenizedCorpus(rows), batch: 5, seed: nil), on: device)
            let said = try #require(results.arms[2].seeds[0].metrics["cross_entropy"])
            #expect(
                (abs(evaluation.crossEntropy - said) < 1e-6) == (index == 0),
                "\(run) \(evaluation.crossEntropy) \(said)")
        }
    }

    @Test("encoders of sentences", arguments: TestBackend.fast)
    func encoders(_ backend: TestBackend) throws {
        let small = try SmallEncoders(backend)
        let common = ["seeds=[0]", "train.steps=12"]
        let plain = try small.losses("plain", common)
        #expect(try small.losses("small", common + ["student.save-dtype=bf16"]) == plain, "training is the same")
        for role in ["student", "cosine"] {
            let end = "\(role)/seed-0/final"
            try expectRounded(small.folder.path("plain/" + end), small.folder.path("small/" + end), .bf16)
            #expect(
                try Set(contents(of: small.folder.path("plain/" + end)).keys)
                    == Set(contents(of: small.folder.path("small/" + end)).keys))
        }
    }

    @Test(
        "classifiers of pictures, statistics and peers included, have their run's numbers", arguments: TestBackend.fast)
    func pictures(_ backend: TestBackend) throws {
        let folder = try ScratchFolder()
        try SamplePictures(channels: 3, height: 8, width: 8).writeFolder(folder, "data", train: 24, test: 12)
        let recipe = try folder.write(
            """
            data: {kind: images, path: data, height: 8, width: 8}
            teacher: {model: {kind: cnn, channels: [4, 5]}}
            student: {model: {kind: cnn, channels: [3, 2]}}
            arms: {pair: {objective: [{loss: cross-entropy}, {loss: forward-kl}], scheme: {kind: mutual}}}
            train: {epochs: 3, batch: 8, optimizer: {kind: adam, lr: 0.01}}
            """, to: "small.yaml")
        let device = try backend.device()
        func run(_ output: String, _ overrides: String...) throws -> RunResults {
            try TrainingRun(
                Recipe.read(recipe, overrides: overrides), device: device, output: folder.path(output),
                progress: Progress(quiet: true)
            ).run()
        }
        _ = try run("plain")
        let results = try run("small", "student.save-dtype=bf16")
        for end in ["pair/seed-0/final", "pair/seed-0/peers/1"] {
            try expectRounded(folder.path("plain/" + end), folder.path("small/" + end), .bf16)
        }
        let teacher = "teacher/seed-0/final"
        #expect(try Saved(folder.path("plain/" + teacher)) == Saved(folder.path("small/" + teacher)))
        for (arm, end) in zip(results.arms.dropFirst(), ["pair/seed-0/final", "pair/seed-0/peers/1"]) {
            let measured = try evaluate(
                model: folder.path("small/" + end), teacher: folder.path("small/" + teacher),
                on: EvaluationData(folder.path("data")), device: device)
            let (own, other) = (arm.seeds[0], measured.arms[1].seeds[0])
            for key in ["accuracy", "macro_f1", "agreement", "kl_to_teacher"] {
                #expect(own.metrics[key] == other.metrics[key] && own.metrics[key] != nil, "\(arm.role) \(key)")
            }
        }
    }

    @Test("what the type cannot hold is said, and all that was trained together is saved as it is")
    func overflow() throws {
        let small = try SmallRun(.cpu)
        let device = try TestBackend.cpu.device()
        let directory = try RunDirectory(
            output: small.folder.path("run"), recipe: small.recipe(), device: device)
        func trained(_ seed: UInt64, _ largest: Float) throws -> MLP {
            let model = MLP([4, 3])
            _ = try model.materialize(on: device, seed: seed)
            var weights = try model.parameters[0].values()
            weights[1] = largest
            try model.parameters[0].assign(weights)
            return model
        }
        func values(_ model: any Model) throws -> [[Float]] { try model.parameters.map { try $0.values() } }
        // A student, and a peer of which f16 cannot hold one weight.
        let models = [try trained(1, 0.3), try trained(2, 70_000)]
        let before = try models.map { try values($0) }
        let paths = ["final", "peers/1"].map { directory.folder("taught", 0) + "/" + $0 }
        let error = thrown(RetortError.self) {
            try directory.round(models, to: .f16, at: paths) { try ModelDirectory.save(models[$0], to: $1) }
        }
        #expect(error?.exit == .recipe && error?.what.contains("70000.0, which f16 cannot hold") == true)
        #expect(paths.allSatisfy { error?.why.contains($0) == true } && error?.help.contains("bf16") == true)
        #expect(try paths.map { try values(ModelDirectory.load($0, on: device).model) } == before)
        #expect(try models.map { try values($0) } == before, "nothing was rounded")
        try directory.round(models, to: .bf16, at: paths) { _, _ in Issue.record("bf16 has the range") }
        #expect(try models.map { try values($0) } == before.map { $0.map { $0.map { Self.rounded($0, .bf16) } } })
    }

    @Test("whose recipes have the key")
    func recipes() throws {
        for name in ["encoder/masked.yaml", "encoder/speakers.yaml", "language/stories.yaml", "digits.yaml"] {
            _ = try readRecipe(Project.recipe(name), overrides: ["student.save-dtype=f16"])
        }
        let wrong = thrown(RetortError.self) {
            _ = try readRecipe(Project.recipe("digits.yaml"), overrides: ["student.save-dtype=f8"])
        }
        #expect(wrong?.exit == .recipe && wrong.map { "\($0)".contains("f32, bf16, f16") } == true)
        let none = thrown(RetortError.self) {
            _ = try readRecipe(Project.recipe("recommender.yaml"), overrides: ["student.save-dtype=bf16"])
        }
        #expect(none?.exit == .recipe)
    }
}
