import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// What config.json means where it leaves something out: the defaults of transformers' classes.
@Suite("Configurations of decoders")
struct DecoderConfigurationTests {
    private func configuration(_ type: String, heads: Int = 64, _ more: [String: JSON] = [:]) throws
        -> DecoderConfiguration
    {
        var object = JSONObject()
        object.set("model_type", .string(type))
        for (key, value) in [
            ("vocab_size", 8), ("hidden_size", heads * 4), ("intermediate_size", 8), ("num_hidden_layers", 2),
            ("num_attention_heads", heads),
        ] { object.set(key, .int(value)) }
        for (key, value) in more { object.set(key, value) }
        return try DecoderConfiguration(JSONCursor(.object(object), file: "config.json"))
    }

    @Test("keys that are absent, and keys that are null")
    func absent() throws {
        let llama = try configuration("llama")
        #expect(llama.keyValueHeads == 64 && llama.headWidth == 4 && llama.maxPositions == 2048)
        #expect(llama.windows == [nil, nil])
        let mistral = try configuration("mistral")
        #expect(mistral.keyValueHeads == 8 && mistral.headWidth == 4 && mistral.maxPositions == 131_072)
        #expect(mistral.windows == [4096, 4096])
        let whole = try configuration("mistral", ["sliding_window": .null, "num_key_value_heads": .null])
        #expect(whole.keyValueHeads == 64 && whole.windows == [nil, nil])
        let qwen2 = try configuration("qwen2", ["use_sliding_window": true, "max_window_layers": 1])
        #expect(qwen2.keyValueHeads == 32 && qwen2.headWidth == 4 && qwen2.maxPositions == 32_768)
        #expect(qwen2.windows == [nil, 4096])
        #expect(try configuration("qwen3").headWidth == 128)
        #expect(try configuration("qwen3", ["head_dim": .null]).headWidth == 4)
        let refused = thrown(RetortError.self) { _ = try configuration("qwen2", heads: 14) }
        #expect(refused?.why.contains("num_key_value_heads is missing") == true, "\(String(describing: refused))")
    }

    @Test("GPT-2 by the names that other models have for its sizes")
    func commonNames() throws {
        func gpt2(_ names: [String: String]) throws -> GPT2 {
            var object = JSONObject()
            object.set("model_type", "gpt2")
            for (key, value) in ["vocab_size": 11, "n_positions": 16, "n_embd": 12, "n_layer": 3, "n_head": 2] {
                object.set(names[key] ?? key, .int(value))
            }
            return try GPT2(JSONCursor(.object(object), file: "config.json"))
        }
        let own = try gpt2([:])
        let common = try gpt2([
            "n_positions": "max_position_embeddings", "n_embd": "hidden_size", "n_layer": "num_hidden_layers",
            "n_head": "num_attention_heads",
        ])
        #expect(common.layerCount == 3 && common.maxPositions == 16)
        #expect(own.parameters.map(\.name) == common.parameters.map(\.name))
        #expect(own.parameters.map(\.shape) == common.parameters.map(\.shape))
        let plan = try TextModelPlan(JSONCursor(common.json, file: "config.json"))
        #expect(plan.keys.layers == "num_hidden_layers" && plan.keys.hidden == "hidden_size")
    }
}
