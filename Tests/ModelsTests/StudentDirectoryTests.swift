import Foundation
import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Students before their training: what they have of their teachers, bit by bit.
@Suite("Students cut out of teachers")
struct StudentDirectoryTests {
    private static let models = DecoderGoldenTests.names + EncoderGoldenTests.names

    private func folder() throws -> String { try ScratchFolder().path("sub/student") }

    /// A directory's arrays by their names in the model.
    private func arrays(_ path: String) throws -> [String: [Float]] {
        let config = try ModelDirectory.configuration(path + "/config.json")
        let device = try TestBackend.cpu.device()
        let type = try config.member("model_type").string()
        let module: any Module
        if EncoderConfiguration.modelTypes.contains(type) {
            module = try EncoderDirectory.load(path, on: device).model
        } else {
            module = try LanguageModelDirectory.load(path, on: device).model
        }
        return try Dictionary(uniqueKeysWithValues: module.parameters.map { ($0.name, try $0.values()) })
    }

    private func cut(
        _ teacher: String, _ layers: LayerChoice = .all, _ widths: StudentWidths = .init()
    ) throws -> (path: String, made: StudentDirectory) {
        let path = try folder()
        return (path, try .cut(from: teacher, layers: layers, widths: widths, to: path))
    }

    @Test("chosen layers have the teacher's bits", arguments: models)
    func layers(_ name: String) throws {
        let teacher = Project.golden("models/\(name)")
        let all = try arrays(teacher)
        let count = try TextModelPlan(ModelDirectory.configuration(teacher + "/config.json")).layers
        for (choice, numbers) in [
            (LayerChoice.these([count - 1]), [count - 1]), (.every(2), Array(stride(from: 0, to: count, by: 2))),
            (.all, Array(0..<count)),
        ] {
            let (path, made) = try cut(teacher, choice)
            #expect(made.layers == numbers && made.layerCount == count)
            let own = try arrays(path)
            #expect(own.values.reduce(0) { $0 + $1.count } == made.parameters)
            for (array, values) in own {
                // The first number of a path is the block's.
                let parts = array.split(separator: ".").map { Int($0) == nil ? String($0) : String(numbers[Int($0)!]) }
                let original = try #require(all[parts.joined(separator: ".")], "\(array)")
                #expect(values.map(\.bitPattern) == original.map(\.bitPattern), "\(array)")
            }
            #expect(numbers.count < count || own.count == all.count)
        }
    }

    @Test("with every layer it writes what the teacher writes", arguments: DecoderGoldenTests.names)
    func whole(_ name: String) throws {
        let golden = try GoldenModel(name)
        let generate = try golden.json.member("generate")
        let prompt = try generate.member("prompt_ids").elements().map { Int32(try $0.int()) }
        let answer = try generate.member("output_ids").elements().map { Int32(try $0.int()) }
        let (path, _) = try cut(Project.golden("models/\(name)"), .every(1))
        let (model, _) = try LanguageModelDirectory.load(path, on: try TestBackend.cpu.device())
        #expect(try model.generate(prompt, count: answer.count) == answer)
        #expect(FileManager.default.fileExists(atPath: path + "/generation_config.json"))
    }

    @Test("narrower matrices are the first rows and columns, of whole heads")
    func widths() throws {
        // 6 heads of 8, each three of them with common keys.
        let teacher = Project.golden("models/llama_gqa_untied")
        let all = try arrays(teacher)
        let (path, _) = try cut(teacher, .these([1]), .init(hidden: 20, intermediate: 30, heads: 4, keyValueHeads: 2))
        let own = try arrays(path)
        func at(_ arrays: [String: [Float]], _ name: String, _ row: Int, _ column: Int, of columns: Int) -> Float {
            arrays[name]![row * columns + column]
        }
        for (row, column) in [(0, 0), (3, 19), (17, 5)] {
            // Heads 0, 1 of the first three, 3, 4 of the others.
            for (head, original) in [0, 1, 3, 4].enumerated() {
                #expect(
                    at(own, "model.layers.0.self_attn.q_proj.weight", head * 8 + row % 8, column, of: 20)
                        == at(all, "model.layers.1.self_attn.q_proj.weight", original * 8 + row % 8, column, of: 48))
                #expect(
                    at(own, "model.layers.0.self_attn.o_proj.weight", row, head * 8 + column % 8, of: 32)
                        == at(all, "model.layers.1.self_attn.o_proj.weight", row, original * 8 + column % 8, of: 48))
            }
            #expect(
                at(own, "model.layers.0.mlp.down_proj.weight", row, column, of: 30)
                    == at(all, "model.layers.1.mlp.down_proj.weight", row, column, of: 112))
            #expect(
                at(own, "model.embed_tokens.weight", row, column, of: 20)
                    == at(all, "model.embed_tokens.weight", row, column, of: 48))
        }
        #expect(own["model.norm.weight"]! == Array(all["model.norm.weight"]![..<20]))
        let config = try JSON.read(path + "/config.json")
        #expect(config["head_dim"] == 8 && config["hidden_size"] == 20 && config["num_hidden_layers"] == 1)
        let (model, _) = try LanguageModelDirectory.load(path, on: try TestBackend.cpu.device())
        #expect(try model.generate([1, 2, 3], count: 5).count == 5)
    }

    @Test("GPT-2's queries, keys and values are cut each for itself")
    func fused() throws {
        let teacher = Project.golden("models/gpt2")
        let all = try arrays(teacher)
        let (path, _) = try cut(teacher, .all, .init(hidden: 16))
        let own = try arrays(path)
        let name = "transformer.h.2.attn.c_attn"
        for part in 0..<3 {
            for (row, column) in [(0, 0), (15, 15), (7, 3)] {
                #expect(
                    own[name + ".weight"]![row * 48 + part * 16 + column]
                        == all[name + ".weight"]![row * 96 + part * 32 + column])
                #expect(own[name + ".bias"]![part * 16 + column] == all[name + ".bias"]![part * 32 + column])
            }
        }
        let config = try JSON.read(path + "/config.json")
        #expect(config["n_embd"] == 16 && config["n_head"] == 2 && config["n_inner"] == .null)
        #expect(own["transformer.h.0.mlp.c_fc.weight"]!.count == 16 * 64)
        let (model, _) = try LanguageModelDirectory.load(path, on: try TestBackend.cpu.device())
        #expect(try model.generate([1, 2, 3], count: 5).count == 5)
        // Encoders alike.
        for name in EncoderGoldenTests.names {
            let (path, _) = try cut(Project.golden("models/\(name)"), .every(2), .init(intermediate: 24, heads: 3))
            #expect(try EncoderDirectory.load(path, on: TestBackend.cpu.device()).model.hidden == 24)
        }
    }

    /// What a teacher's other heads and neurons add is made 0: without them the student must say the same, which it does only if each query
    /// still meets its keys.
    @Test("what is cut off is all that is lost", arguments: ["llama_gqa_untied", "qwen3", "mistral_swa", "gemma2"])
    func function(_ name: String) throws {
        let device = try TestBackend.cpu.device()
        let source = Project.golden("models/\(name)")
        let (model, _) = try LanguageModelDirectory.load(source, on: device)
        let config = try ModelDirectory.configuration(source + "/config.json")
        let (heads, inner) = (
            try config.member("num_attention_heads").int(), try config.member("intermediate_size").int()
        )
        let (shared, width) = (try config.member("num_key_value_heads").int(), try config.member("head_dim").int())
        let each = heads / shared
        for parameter in model.parameters {
            let columns = parameter.shape.last ?? 1
            var values = try parameter.values()
            if parameter.name.hasSuffix("o_proj.weight") {
                for i in values.indices where i % columns / width % each != 0 { values[i] = 0 }
            } else if parameter.name.hasSuffix("down_proj.weight") {
                for i in values.indices where i % columns >= inner / 2 { values[i] = 0 }
            }
            try parameter.assign(values)
        }
        let teacher = try ScratchFolder()
        try LanguageModelDirectory.save(model, to: teacher.path)
        let (path, made) = try cut(
            teacher.path, .all, .init(intermediate: inner / 2, heads: shared, keyValueHeads: shared))
        #expect(made.parameters < model.parameterCount)
        let (student, _) = try LanguageModelDirectory.load(path, on: device)
        let tokens = try TokenBatch([3, 14, 15, 9, 26, 5, 35, 8], rows: 1)
        let (theirs, own) = try Autograd.withoutGradients {
            (try model.forward(tokens).logits.values(), try student.forward(tokens).logits.values())
        }
        expectClose(own, theirs.map(Double.init), absolute: 1e-5 * Double(theirs.map(abs).max() ?? 1), name)
    }

    @Test("windows stay with their layers; unknown keys stay")
    func configuration() throws {
        let windowed = try ModelCopy(
            of: "qwen2",
            set: [
                ("use_sliding_window", true), ("sliding_window", 4), ("max_window_layers", 1), ("layer_types", nil),
                ("of_our_own", ["x": 1]),
            ])
        for (choice, first) in [([0], 1), ([1], 0)] {
            let config = try JSON.read(cut(windowed.path, .these(choice)).path + "/config.json")
            #expect(config["max_window_layers"] == .int(first) && config["of_our_own"] == ["x": 1])
        }
        let typed = try ModelCopy(
            of: "qwen2",
            set: [
                ("use_sliding_window", true), ("sliding_window", 4), ("max_window_layers", 1),
                ("layer_types", ["full_attention", "sliding_attention"]),
            ])
        let config = try JSON.read(cut(typed.path, .these([1])).path + "/config.json")
        #expect(config["layer_types"] == ["sliding_attention"])
        #expect(
            try JSON.read(cut(typed.path).path + "/config.json")["layer_types"]
                == ["full_attention", "sliding_attention"])
        // Gemma 2 has a window in every second layer where nothing is said of them.
        let silent = try ModelCopy(of: "gemma2", set: [("layer_types", nil)])
        #expect(
            try JSON.read(cut(silent.path, .these([0, 2])).path + "/config.json")["layer_types"]
                == ["sliding_attention", "sliding_attention"])
        #expect(
            try JSON.read(cut(silent.path, .these([1])).path + "/config.json")["layer_types"] == ["full_attention"])
        #expect(try JSON.read(cut(silent.path).path + "/config.json")["layer_types"] == nil)
        let old = try JSON.read(
            cut(Project.golden("models/distilbert_mlm"), .these([1])).path + "/config.json")
        #expect(old["n_layers"] == 1 && old["num_hidden_layers"] == nil)
    }

    @Test("widths that a config leaves out are the family's")
    func absentWidths() throws {
        let config = JSONCursor(
            [
                "model_type": "gemma2", "vocab_size": 8, "hidden_size": 64, "intermediate_size": 8,
                "num_hidden_layers": 2, "num_attention_heads": 8,
            ], file: "config.json")
        guard case .object(var json) = config.value else { return }
        let sharing = try StudentWidths(hidden: 32).describe(
            in: config, .decoder, decoder: DecoderConfiguration(config), &json)
        #expect(sharing == .init(teacher: 4, student: 4))
        #expect(json["head_dim"] == 256 && json["hidden_size"] == 32 && json["num_key_value_heads"] == nil)
    }

    @Test("fresh weights depend on the seed and nothing else")
    func fresh() throws {
        for name in ["qwen3", "gpt2", "bert_cls"] {
            let config = Project.golden("models/\(name)/config.json")
            let paths = try [1, 1, 2].map { seed in
                let path = try folder()
                let made = try StudentDirectory.fresh(config: config, seed: UInt64(seed), to: path)
                #expect(made.layers == nil && made.parameters > 1000)
                return path
            }
            let files = try paths.map { try contents(of: $0)["model.safetensors"] }
            #expect(files[0] == files[1] && files[0] != files[2])
            let values = try arrays(paths[0])
            let trained = try arrays(Project.golden("models/\(name)"))
            #expect(Set(values.keys) == Set(trained.keys))
        }
    }

    @Test("what cannot be made is said, and leaves nothing behind")
    func refusals() throws {
        func refused(
            _ exit: ExitCode, _ words: String, _ model: String = "llama_gqa_untied", _ layers: LayerChoice = .all,
            _ widths: StudentWidths = .init()
        ) throws {
            let path = try folder()
            let error = thrown(RetortError.self) {
                _ = try StudentDirectory.cut(
                    from: Project.golden("models/\(model)"), layers: layers, widths: widths, to: path)
            }
            #expect(error?.exit == exit && "\(error!)".contains(words), "\(String(describing: error))")
            #expect(!FileManager.default.fileExists(atPath: path))
        }
        try refused(.usage, "layer 3 is not there", "llama_gqa_untied", .these([0, 3]))
        try refused(.usage, "ascending", "llama_gqa_untied", .these([1, 0]))
        try refused(.usage, "ascending", "llama_gqa_untied", .these([1, 1]))
        try refused(.usage, "every 4", "llama_gqa_untied", .every(4))
        try refused(.usage, "every 0", "llama_gqa_untied", .every(0))
        try refused(.usage, "hidden 49", "llama_gqa_untied", .all, .init(hidden: 49))
        try refused(.usage, "hidden 0", "llama_gqa_untied", .all, .init(hidden: 0))
        try refused(.usage, "intermediate 113", "llama_gqa_untied", .all, .init(intermediate: 113))
        try refused(.usage, "do not divide 3", "llama_gqa_untied", .all, .init(heads: 3))
        try refused(.usage, "6 each", "llama_gqa_untied", .all, .init(keyValueHeads: 1))
        try refused(.usage, "3 heads of 8", "gpt2", .all, .init(hidden: 16, heads: 3))
        try refused(.usage, "hidden 20", "gpt2", .all, .init(hidden: 20))
        try refused(.usage, "keys and values of its own", "gpt2", .all, .init(keyValueHeads: 2))
        try refused(.missingInput, "no model directory", "nowhere")
        try refused(.badData, "not a model of text", "vit_cls")

        let there = try ScratchFolder()
        let error = thrown(RetortError.self) {
            _ = try StudentDirectory.cut(
                from: Project.golden("models/qwen3"), layers: .all, widths: .init(), to: there.path)
        }
        #expect(error?.exit == .cannotCreate && FileManager.default.fileExists(atPath: there.path))

        let (model, _) = try LanguageModelDirectory.load(
            Project.golden("models/qwen3"), on: try TestBackend.cpu.device())
        let last = model.parameters.last!
        try last.assign([Float](repeating: .nan, count: last.count))
        let broken = try ScratchFolder()
        try LanguageModelDirectory.save(model, to: broken.path)
        let path = try folder()
        let nan = thrown(RetortError.self) {
            _ = try StudentDirectory.cut(from: broken.path, layers: .all, widths: .init(), to: path)
        }
        #expect(nan?.exit == .badData && !FileManager.default.fileExists(atPath: path))
    }
}
