import RetortModels
import RetortSupport

/// The config.json of a fresh model, from the sizes that a recipe states.
enum FreshConfiguration {
    /// What may stand beside the kind of a model.
    static let sections: [RecipeSection] =
        DecoderConfiguration.modelTypes.map {
            RecipeSection(
                $0, "A decoder of the Llama family with fresh weights.",
                decoderSizes.map(\.field) + shared + decoder + ($0 == "gemma2" ? gemma2 : []))
        } + [
            RecipeSection("gpt2", "GPT-2 (Radford et al. 2019) with fresh weights.", gptSizes.map(\.field) + shared)
        ]

    /// A key of the recipe and what config.json calls it.
    private struct Size {
        let field: RecipeField
        let name: String

        init(
            _ key: String, _ name: String, most: Int = 1 << 20, _ summary: String,
            _ presence: RecipeField.Presence = .required
        ) {
            field = RecipeField(key, .integer(1...most), presence, summary)
            self.name = name
        }
    }

    private static let decoderSizes = [
        Size("hidden", "hidden_size", "width of the residual stream"),
        Size("intermediate", "intermediate_size", "width between the two layers of the feed-forward block"),
        Size("layers", "num_hidden_layers", most: 1024, "blocks"),
        Size("heads", "num_attention_heads", most: 1024, "attention heads"),
        Size(
            "key-value-heads", "num_key_value_heads", most: 1024, "heads of keys and values (default: heads)", .optional
        ),
        Size("head-width", "head_dim", most: 1024, "width of a head (default: hidden / heads)", .optional),
    ]

    private static let gptSizes = [
        Size("hidden", "n_embd", "width of the residual stream"),
        Size("layers", "n_layer", most: 1024, "blocks"),
        Size("heads", "n_head", most: 1024, "attention heads"),
    ]

    /// What config.json calls the sizes of a kind of model.
    static func names(_ kind: String) -> SizeNames {
        SizeNames(pairs: (kind == "gpt2" ? gptSizes : decoderSizes).map { ($0.field.key, $0.name) })
    }

    private static let shared = [
        RecipeField(
            "vocabulary", .integer(1...(1 << 24)), .optional,
            "tokens (default: the teacher's, else those of the tokenizer)"),
        RecipeField("positions", .integer(1...(1 << 24)), .defaulted("2048"), "tokens of the longest text"),
        RecipeField("initializer-range", .number(0...10), .defaulted("0.02"), "standard deviation of fresh weights"),
    ]

    private static let decoder = [
        RecipeField("tied", .flag, .defaulted("true"), "whether the embedding is the output head too"),
        RecipeField("epsilon", .number(0...1), .defaulted("1e-5"), "added to the mean square by the norms"),
        RecipeField("theta", .number(1...1e12), .defaulted("10000"), "base of the rotary frequencies"),
    ]

    private static let gemma2 = [
        RecipeField(
            "window", .integer(1...(1 << 24)), .defaulted("4096"),
            "tokens that each second layer sees, from the first layer on"),
        RecipeField(
            "attention-soft-cap", .number(0...1e6), .defaulted("50"),
            "what attention's scores stay below, cap·tanh(score/cap); 0: no cap"),
        RecipeField(
            "logit-soft-cap", .number(0...1e6), .defaulted("30"),
            "what logits stay below, cap·tanh(logit/cap); 0: no cap"),
    ]

    /// - Parameters:
    ///   - vocabulary: tokens where the recipe names no number.
    ///   - settings: another model's config.json, whose special tokens are taken over.
    /// - Throws: `RetortError` 78 when nothing says how many tokens there are, or how wide a head is.
    static func json(_ node: RecipeNode, vocabulary: Int?, settings: JSON?) throws -> JSON {
        guard let vocabulary = node["vocabulary"]?.integer ?? vocabulary else {
            throw RetortError.recipe(
                "nothing says how many tokens the model knows", at: node.location,
                help: "add vocabulary, a teacher or a tokenizer")
        }
        let kind = node.required("kind").text
        var config = JSONObject()
        config.set("architectures", [.string(className(kind))])
        config.set("model_type", .string(kind))
        config.set("vocab_size", .int(vocabulary))
        for size in kind == "gpt2" ? gptSizes : decoderSizes {
            if let value = node[size.field.key] { config.set(size.name, .int(value.integer)) }
        }
        let positions = JSON.int(node.required("positions").integer)
        config.set("initializer_range", .double(node.required("initializer-range").number))
        if kind == "gpt2" {
            config.set("n_positions", positions)
            config.set("activation_function", "gelu_new")
            config.set("layer_norm_epsilon", 1e-5)
            for key in ["embd_pdrop", "attn_pdrop", "resid_pdrop"] { config.set(key, 0.0) }
        } else {
            config.set("max_position_embeddings", positions)
            if config["num_key_value_heads"] == nil {
                config.set("num_key_value_heads", .int(node.required("heads").integer))
            }
            config.set("tie_word_embeddings", .bool(node.required("tied").flag))
            try setFamily(kind, node, &config)
            config.set("rms_norm_eps", .double(node.required("epsilon").number))
            config.set("rope_theta", .double(node.required("theta").number))
            config.set("attention_dropout", 0.0)
        }
        config.set("torch_dtype", "float32")
        for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
            if let value = settings?[key] { config.set(key, value) }
        }
        return .object(config)
    }

    /// What a family of decoders has of its own, and what transformers would take for keys that are absent.
    private static func setFamily(_ kind: String, _ node: RecipeNode, _ config: inout JSONObject) throws {
        func cap(_ key: String) -> JSON {
            let value = node.required(key).number
            return value > 0 ? .double(value) : .null
        }
        switch kind {
        case "mistral":
            config.set("hidden_act", "silu")
            // transformers' default is a window of 4096.
            config.set("sliding_window", .null)
        case "qwen3":
            config.set("hidden_act", "silu")
            config.set("head_dim", .int(try headWidth(node)))
        case "gemma":
            config.set("hidden_act", "gelu_pytorch_tanh")
            config.set("head_dim", .int(try headWidth(node)))
        case "gemma2":
            let width = try headWidth(node)
            config.set("hidden_activation", "gelu_pytorch_tanh")
            config.set("head_dim", .int(width))
            config.set("query_pre_attn_scalar", .int(width))
            config.set("sliding_window", .int(node.required("window").integer))
            config.set("attn_logit_softcapping", cap("attention-soft-cap"))
            config.set("final_logit_softcapping", cap("logit-soft-cap"))
        default: config.set("hidden_act", "silu")
        }
    }

    private static func headWidth(_ node: RecipeNode) throws -> Int {
        if let width = node["head-width"] { return width.integer }
        let (hidden, heads) = (node.required("hidden"), node.required("heads").integer)
        guard hidden.integer % heads == 0 else {
            throw RetortError.recipe(
                "\(heads) heads do not divide \(hidden.integer)", at: hidden.location,
                help: "give head-width, or a multiple of heads")
        }
        return hidden.integer / heads
    }

    private static func className(_ kind: String) -> String {
        switch kind {
        case "gpt2": "GPT2LMHeadModel"
        case "mistral": "MistralForCausalLM"
        case "qwen2": "Qwen2ForCausalLM"
        case "qwen3": "Qwen3ForCausalLM"
        case "gemma": "GemmaForCausalLM"
        case "gemma2": "Gemma2ForCausalLM"
        default: "LlamaForCausalLM"
        }
    }
}
