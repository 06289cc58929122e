import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Decoders against transformers: directories that `save_pretrained` wrote, in both styles of config, in one file and in shards, in f32,
/// bf16 and f16: logits, hidden states, attention, every gradient, three steps of AdamW, 32 greedy tokens.
@Suite("Decoders, goldens")
struct DecoderGoldenTests {
    static let names = [
        "llama_gqa_untied", "llama_tied_rope3_hd", "llama_bf16", "llama_sharded_legacycfg", "mistral_swa", "qwen2",
        "qwen2_fp16_legacycfg", "qwen3", "gemma", "gemma2", "gpt2",
    ]

    private struct Batch {
        let tokens: TokenBatch
        /// The next token where it counts, else −100; by token.
        let targets: [Int32]
        let counted: Int
    }

    private func batch(_ golden: GoldenModel) throws -> Batch {
        let shape = try golden.shape("input_ids")
        let ids = try golden.tensors.int64s("input_ids").map(Int32.init)
        let valid = try golden.tensors.int64s("attention_mask").map { $0 != 0 }
        let labels = try golden.labels()
        let targets = ids.indices.map { i in (i + 1) % shape[1] == 0 ? -100 : labels[i + 1] }
        return Batch(
            tokens: try TokenBatch(ids, rows: shape[0], valid: valid), targets: targets,
            counted: targets.count { $0 != -100 })
    }

    /// The values at tokens that are not padding: rows of `width` numbers in `[rows, tokens, width]`.
    private func kept(_ values: [Float], _ valid: [Bool], width: Int) -> [Float] {
        valid.indices.filter { valid[$0] }.flatMap { values[($0 * width)..<(($0 + 1) * width)] }
    }

    @Test("logits, signals, gradients, training, text", arguments: names, TestBackend.available)
    func agrees(_ name: String, _ backend: TestBackend) throws {
        let device = try backend.device()
        let golden = try GoldenModel(name)
        let (model, arena) = try LanguageModelDirectory.load(Project.golden("models/\(name)"), on: device)
        #expect(model.parameterCount == (try golden.json.member("param_count").int()))

        let generate = try golden.json.member("generate")
        let prompt = try generate.member("prompt_ids").elements().map { Int32(try $0.int()) }
        let answer = try generate.member("output_ids").elements().map { Int32(try $0.int()) }
        #expect(try model.generate(prompt, count: answer.count) == answer)

        let batch = try batch(golden)
        let valid = try #require(batch.tokens.valid)
        let (rows, length, layers) = (batch.tokens.rows, batch.tokens.length, model.layerCount)
        let targets = try device.compute.view(batch.targets, [rows * length], .i32)
        let optimizer = try Adam(
            arena, options: .init(beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, decoupled: true))
        let expected = try golden.trainingLosses()
        model.setTraining(true)
        for (step, reference) in expected.enumerated() {
            let output = try model.forward(batch.tokens, capturing: step == 0 ? Set(model.signals) : [])
            let vocabulary = model.vocabulary
            let loss = try output.logits.reshaped([rows * length, vocabulary]).crossEntropy(
                targets, scale: 1 / Float(batch.counted)
            ).total
            #expect(
                abs(Double(try loss.item()) - reference) < 4e-6 * Double(2 * step + 1) * max(1, reference), "\(step)")
            if step == 0 {
                func compare(_ values: [Float], _ key: String, width: Int) throws {
                    expectClose(
                        kept(values, valid, width: width),
                        kept(try golden.floats(key), valid, width: width).map(Double.init),
                        absolute: try golden.tolerance(key), key)
                }
                try compare(output.logits.values(), "logits", width: vocabulary)
                for state in 0...layers {
                    let path = state == 0 ? "embeddings" : state == layers ? "norm" : "layers.\(state - 1).hidden"
                    try compare(
                        #require(output.signals[path]).values(), "hidden_states.\(state)",
                        width: #require(output.signals[path]).shape[2])
                }
                for layer in 0..<layers where golden.tensors["attentions.\(layer)"] != nil {
                    let attention = try #require(output.signals["layers.\(layer).attention"])
                    let (own, theirs) = (try attention.values(), try golden.floats("attentions.\(layer)"))
                    // [rows, heads, queries, keys], at queries that are not padding.
                    let places = own.indices.filter { place in
                        let query = place / length % length
                        return valid[place / (length * length * attention.shape[1]) * length + query]
                    }
                    expectClose(
                        places.map { own[$0] }, places.map { Double(theirs[$0]) }, absolute: 1e-5, "attention \(layer)")
                }
            }
            guard step < expected.count - 1 else { break }
            try loss.backward()
            if step == 0 {
                let relative = try golden.json.member("f32_err").member("grad").member("max_rel_to_own_max").double()
                var compared = 0
                for parameter in model.parameters {
                    let key = "grad." + parameter.name
                    guard golden.tensors[key] != nil else { continue }
                    compared += 1
                    let gradient = try golden.floats(key).map(Double.init)
                    let largest = gradient.map(abs).max() ?? 0
                    expectClose(
                        try parameter.gradientValues(), gradient, absolute: (8 * relative + 2e-6) * largest + 1e-9,
                        parameter.name)
                }
                #expect(compared == golden.tensors.tensors.count { $0.name.hasPrefix("grad.") } && compared > 0)
            }
            try optimizer.step(learningRate: 0.003)
        }
        for stored in golden.tensors.tensors where stored.name.hasPrefix("after3.") {
            let parameter = try #require(
                model.parameters.first { "after3." + $0.name == stored.name }, "\(stored.name)")
            expectClose(
                try parameter.values(), try golden.floats(stored.name).map(Double.init), absolute: 2e-5, stored.name)
        }
    }

    @Test(
        "what is saved loads again, with the config's unknown keys",
        arguments: ["llama_sharded_legacycfg", "llama_bf16"])
    func roundTrip(_ name: String) throws {
        let device = try TestBackend.cpu.device()
        let (model, _) = try LanguageModelDirectory.load(Project.golden("models/\(name)"), on: device)
        let folder = try ScratchFolder()
        try LanguageModelDirectory.save(model, to: folder.path)
        let (again, _) = try LanguageModelDirectory.load(folder.path, on: device)
        for (a, b) in zip(model.parameters, again.parameters) {
            #expect(a.name == b.name)
            #expect(try a.values() == b.values(), "\(a.name)")
        }
        let old = try JSON.read(Project.golden("models/\(name)/config.json"))
        let new = try JSON.read(folder.path + "/config.json")
        guard case .object(let before) = old else { return }
        for member in before.members where !member.key.hasSuffix("dtype") {
            #expect(new[member.key] == member.value, "\(member.key)")
        }
        #expect(new[name.hasSuffix("legacycfg") ? "torch_dtype" : "dtype"] == "float32")
    }

    @Test("a cache changes nothing but the work", arguments: TestBackend.fast)
    func cached(_ backend: TestBackend) throws {
        let device = try backend.device()
        for name in ["mistral_swa", "qwen3", "gemma2", "gpt2"] {
            let (model, _) = try LanguageModelDirectory.load(Project.golden("models/\(name)"), on: device)
            let ids: [Int32] = [3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 32]
            try Autograd.withoutGradients {
                let whole = try model.forward(TokenBatch(ids, rows: 1)).logits.values()
                let cache = KeyValueCache(layers: model.layerCount)
                var parts: [Float] = []
                for part in [ids[0..<4], ids[4..<5], ids[5..<11]] {
                    parts += try model.forward(TokenBatch(Array(part), rows: 1), cache: cache, capturing: []).logits
                        .values()
                }
                expectClose(parts, whole.map(Double.init), absolute: 2e-6 * Double(whole.map(abs).max() ?? 1), name)
            }
        }
    }

    @Test("more tokens than the model has positions for, and tokens that it does not know")
    func limits() throws {
        let (model, _) = try LanguageModelDirectory.load(
            Project.golden("models/gpt2"), on: try TestBackend.cpu.device())
        #expect(
            thrown(TensorError.self) { _ = try model.forward(TokenBatch([Int32](repeating: 1, count: 65), rows: 1)) }
                != nil)
        #expect(thrown(TensorError.self) { _ = try model.forward(TokenBatch([97], rows: 1)) } != nil)
        #expect(thrown(TensorError.self) { _ = try TokenBatch([1, 2, 3], rows: 2) } != nil)
    }

    // MARK: Hostile directories

    /// The error of a copy of a good directory in which one piece of the config is replaced.
    private func error(_ piece: String, _ replacement: String) throws -> RetortError? {
        let folder = try ScratchFolder()
        let good = Project.golden("models/qwen3")
        let text = try String(contentsOfFile: good + "/config.json", encoding: .utf8)
        let changed = text.replacing(piece, with: replacement, maxReplacements: 1)
        #expect(changed != text, "\(piece)")
        try changed.write(toFile: folder.path + "/config.json", atomically: true, encoding: .utf8)
        try FileManager.default.copyItem(
            atPath: good + "/model.safetensors", toPath: folder.path + "/model.safetensors")
        return thrown(RetortError.self) {
            _ = try LanguageModelDirectory.load(folder.path, on: try TestBackend.cpu.device())
        }
    }

    @Test("configs that lie or ask for what is not there")
    func configs() throws {
        let cases = [
            (#""model_type": "qwen3""#, #""model_type": "gpt5""#, "gpt5"),
            (#""num_key_value_heads": 2"#, #""num_key_value_heads": 3"#, "does not divide"),
            (#""head_dim": 16"#, #""head_dim": 15"#, "no pairs"),
            (#""hidden_act": "silu""#, #""hidden_act": "gelu""#, "silu"),
            (#""vocab_size": 95"#, #""vocab_size": 96"#, "shape"),
            (#""vocab_size": 95"#, #""vocab_size": 99999999999"#, "vocab_size"),
            (#""num_hidden_layers": 3"#, #""num_hidden_layers": 2"#, "belongs to no parameter"),
            (#""rope_type": "default""#, #""rope_type": "longrope""#, "longrope"),
            (#""rope_type": "default""#, #""rope_type": "yarn""#, "factor"),
            (#""attention_dropout": 0.0"#, #""attention_dropout": 1.0"#, "dropout"),
        ]
        for (piece, replacement, word) in cases {
            let error = try #require(try error(piece, replacement), "\(replacement)")
            #expect(error.exit == .badData && "\(error.what) \(error.why)".contains(word), "\(error.what) \(error.why)")
            #expect(error.location != nil)
        }
    }

    @Test(
        "a head stored beside the embedding that it is tied to: an equal one is passed over, another refused",
        arguments: ["llama_bf16", "gemma", "gpt2"])
    func tiedTwice(_ name: String) throws {
        let device = try TestBackend.cpu.device()
        let table = name == "gpt2" ? "transformer.wte.weight" : "model.embed_tokens.weight"
        func copy(_ set: [(key: String, value: JSON?)] = [], adding: Float) throws -> ModelCopy {
            try ModelCopy(
                of: name, set: set, rename: { $0 }, copies: [(of: table, name: "lm_head.weight", adding: adding)])
        }
        let tokens = try TokenBatch([3, 14, 15, 9], rows: 1)
        func logits(_ folder: String) throws -> [Float] {
            try LanguageModelDirectory.load(folder, on: device).model.forward(tokens).logits.values()
        }
        let own = try logits(Project.golden("models/\(name)"))
        let other = try copy(adding: 0.5)
        #expect(try logits(copy(adding: 0).path) == own)
        let error = try #require(thrown(RetortError.self) { _ = try logits(other.path) })
        #expect(error.exit == .badData && error.location?.file == other.path + "/model.safetensors")
        #expect(error.what.contains("lm_head.weight differs from the embedding, \(table)"), "\(error.what)")
        let cut = thrown(RetortError.self) {
            _ = try StudentDirectory.cut(
                from: other.path, layers: .all, widths: .init(), to: other.path + "/student")
        }
        #expect(cut?.exit == .badData && !Folder.exists(other.path + "/student"))
        // Untied it is another model; of GPT-2 there is none.
        #expect(error.help.contains(name == "gpt2" ? "leave lm_head.weight out" : "set tie_word_embeddings to false"))
        guard name != "gpt2" else { return }
        #expect(try logits(copy([("tie_word_embeddings", false)], adding: 0.5).path) != own)
        // And a head that is not there is perhaps the embedding.
        let lost = try ModelCopy(of: name, set: [("tie_word_embeddings", false)])
        let missing = thrown(RetortError.self) { _ = try logits(lost.path) }
        #expect(missing?.exit == .badData && missing?.help.contains("set tie_word_embeddings to true") == true)
        // The last number is seen by pieces of every length.
        let files = try CheckpointFiles(folder: other.path)
        let unknown = thrown(RetortError.self) { _ = try files.tensor("?") }
        #expect(
            unknown?.help.hasPrefix("There is: 'lm_head.weight', 'model.embed_tokens.weight', 'model.layers.0.") == true
        )
        let same = try CheckpointFiles(folder: copy(adding: 0).path)
        for piece in [1, 7, 1000, 1 << 20] {
            #expect(try !files.areEqual("lm_head.weight", table, piece: piece), "\(piece)")
            #expect(try same.areEqual("lm_head.weight", table, piece: piece), "\(piece)")
        }
    }

    @Test("pickles and indexes that point elsewhere are refused")
    func files() throws {
        func error(_ prepare: (String) throws -> Void) throws -> RetortError {
            let folder = try ScratchFolder()
            try FileManager.default.copyItem(
                atPath: Project.golden("models/qwen3/config.json"), toPath: folder.path + "/config.json")
            try prepare(folder.path)
            return try #require(
                thrown(RetortError.self) {
                    _ = try LanguageModelDirectory.load(folder.path, on: try TestBackend.cpu.device())
                })
        }
        func write(_ text: String, _ path: String) throws {
            try text.write(toFile: path, atomically: true, encoding: .utf8)
        }
        let pickle = try error { try write("x", $0 + "/pytorch_model.bin") }
        #expect(pickle.exit == .badData && pickle.help.contains("safe_serialization"))
        // AutoModel would leave the head out.
        #expect(pickle.help.contains("AutoModelForCausalLM.from_pretrained"), "\(pickle.help)")
        #expect(try error { _ in }.exit == .missingInput)
        for shard in ["../model.safetensors", "/etc/passwd.safetensors", ".hidden.safetensors", "model.bin"] {
            let index = #"{"metadata": {}, "weight_map": {"model.norm.weight": "\#(shard)"}}"#
            let error = try error { try write(index, $0 + "/model.safetensors.index.json") }
            #expect(error.exit == .badData && "\(error.what) \(error.why)".contains("shard"), "\(error.what)")
        }
        let gone = #"{"weight_map": {"model.norm.weight": "model-1.safetensors"}}"#
        #expect(try error { try write(gone, $0 + "/model.safetensors.index.json") }.exit == .missingInput)
    }
}
