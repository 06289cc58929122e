import RetortModels
import RetortRuntime
import RetortSupport

/// The decoders that benchmarks of language models use, with fresh weights.
struct BenchDecoder {
    let hidden: Int
    let intermediate: Int
    let layers: Int
    let heads: Int
    let keyValueHeads: Int
    let vocabulary: Int

    /// 12.6 million parameters, the head tied to the embedding: scripts/pytorch/language.py has the same.
    static let small = BenchDecoder(
        hidden: 384, intermediate: 1024, layers: 6, heads: 6, keyValueHeads: 2, vocabulary: 8192)

    /// As config.json.
    var json: JSON {
        [
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": .int(hidden),
            "intermediate_size": .int(intermediate), "num_hidden_layers": .int(layers),
            "num_attention_heads": .int(heads), "num_key_value_heads": .int(keyValueHeads),
            "vocab_size": .int(vocabulary), "max_position_embeddings": 2048, "tie_word_embeddings": true,
            "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "initializer_range": 0.02,
            "torch_dtype": "float32",
        ]
    }

    /// Not yet on a device.
    func model() throws -> any LanguageModel { try LanguageModelRegistry.make(JSONCursor(json, file: "bench")) }

    /// Tokens that are neither all alike nor in order.
    func tokens(_ count: Int, _ random: inout BenchRandom) -> [Int32] {
        (0..<count).map { _ in Int32(random.integer(below: vocabulary)) }
    }
}
