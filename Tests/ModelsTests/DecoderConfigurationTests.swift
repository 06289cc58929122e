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

    @Test("Gemma: what is absent, what is null, and what is refused")
    func gemma() throws {
        let first = try configuration("gemma", ["hidden_act": "gelu", "attn_logit_softcapping": 50])
        #expect(first.keyValueHeads == 16 && first.headWidth == 256 && first.maxPositions == 8192 && first.isTied)
        #expect(first.windows == [nil, nil] && first.activation == .gegluTanh && first.normOffset == 1)
        #expect(first.attentionScale == 1 / 16 && first.gemma?.normalisesOutputs == false)
        #expect(first.gemma?.attentionCap == nil && first.gemma?.logitCap == nil)

        let second = try configuration("gemma2")
        #expect(second.keyValueHeads == 4 && second.headWidth == 256 && second.maxPositions == 8192 && second.isTied)
        #expect(second.windows == [4096, nil] && second.gemma?.normalisesOutputs == true)
        #expect(second.gemma?.attentionCap == 50 && second.gemma?.logitCap == 30 && second.attentionScale == 1 / 16)
        let other = try configuration(
            "gemma2",
            [
                "attn_logit_softcapping": .null, "final_logit_softcapping": .null, "query_pre_attn_scalar": 64,
                "sliding_window": 7, "layer_types": ["full_attention", "sliding_attention"],
                "tie_word_embeddings": false,
            ])
        #expect(other.gemma?.attentionCap == nil && other.gemma?.logitCap == nil && other.attentionScale == 1 / 8)
        #expect(other.windows == [nil, 7] && !other.isTied)
        let whole: [String: JSON] = ["sliding_window": .null, "layer_types": ["full_attention", "full_attention"]]
        #expect(try configuration("gemma2", whole).windows == [nil, nil])

        // √3072 is 55.43; transformers rounds it to bf16 where embeddings are.
        let wide = try configuration("gemma2", ["hidden_size": 3072])
        #expect(wide.embeddingScale(storedAs: .bf16) == 55.5)
        #expect(wide.embeddingScale(storedAs: .f32) == Float(3072).squareRoot())
        #expect(try configuration("llama").embeddingScale(storedAs: .f32) == nil)

        let refusals: [(String, JSON, String)] = [
            ("sliding_window", .null, "how wide"), ("final_logit_softcapping", 0, "final_logit_softcapping"),
            ("hidden_activation", "silu", "gelu_pytorch_tanh"), ("use_bidirectional_attention", true, "behind"),
            ("hidden_size", 250, "divide"),
        ]
        for (key, value, word) in refusals {
            let error = thrown(RetortError.self) { _ = try configuration("gemma2", [key: value]) }
            #expect(error?.exit == .badData && "\(error!)".contains(word), "\(String(describing: error))")
        }
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
