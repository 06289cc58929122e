import RetortModels
import RetortSupport

/// The config.json of a fresh encoder, from the sizes that a recipe states.
enum FreshEncoder {
    /// What may stand beside the kind of an encoder.
    static let sections: [RecipeSection] = [
        RecipeSection("bert", "BERT (Devlin et al. 2018) with fresh weights.", fields),
        RecipeSection("distilbert", "DistilBERT (Sanh et al. 2019) with fresh weights.", fields),
    ]

    private static let fields =
        [
            ("hidden", 1 << 20, "width of a token's vector"),
            ("intermediate", 1 << 20, "width between the two layers of the feed-forward block"),
            ("layers", 1024, "blocks"), ("heads", 1024, "attention heads"),
        ].map { RecipeField($0, .integer(1...$1), .required, $2) } + [
            RecipeField(
                "vocabulary", .integer(1...(1 << 24)), .optional, "tokens (default: those of the tokenizer)"),
            RecipeField("positions", .integer(1...(1 << 24)), .defaulted("512"), "tokens of the longest text"),
            RecipeField("dropout", .number(0...0.99), .defaulted("0.1"), "of sums and of attention, in training"),
            RecipeField(
                "initializer-range", .number(0...10), .defaulted("0.02"), "standard deviation of fresh weights"),
        ]

    /// What config.json calls the sizes of a kind of encoder.
    static func names(_ kind: String) -> SizeNames {
        let names =
            kind == "distilbert"
            ? ["dim", "hidden_dim", "n_layers", "n_heads"]
            : ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]
        return SizeNames(pairs: Array(zip(["hidden", "intermediate", "layers", "heads"], names)))
    }

    /// - Parameters:
    ///   - vocabulary: tokens where the recipe names no number.
    ///   - pad: the token that fills rows up.
    static func json(_ node: RecipeNode, vocabulary: Int, pad: Int) -> JSON {
        let kind = node.required("kind").text
        let isBERT = kind == "bert"
        let dropout = JSON.double(node.required("dropout").number)
        var config = JSONObject()
        config.set("architectures", [.string(isBERT ? "BertModel" : "DistilBertModel")])
        config.set("model_type", .string(kind))
        config.set("vocab_size", .int(node["vocabulary"]?.integer ?? vocabulary))
        for (key, name) in names(kind).pairs { config.set(name, .int(node.required(key).integer)) }
        config.set("max_position_embeddings", .int(node.required("positions").integer))
        config.set(isBERT ? "hidden_act" : "activation", "gelu")
        config.set(isBERT ? "hidden_dropout_prob" : "dropout", dropout)
        config.set(isBERT ? "attention_probs_dropout_prob" : "attention_dropout", dropout)
        config.set("initializer_range", .double(node.required("initializer-range").number))
        if isBERT {
            config.set("type_vocab_size", 2)
            config.set("layer_norm_eps", 1e-12)
        } else {
            config.set("seq_classif_dropout", dropout)
            config.set("sinusoidal_pos_embds", false)
        }
        config.set("pad_token_id", .int(pad))
        config.set("torch_dtype", "float32")
        return .object(config)
    }
}
