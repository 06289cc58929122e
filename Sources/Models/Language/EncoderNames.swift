/// What BERT and its relatives call the same things. A line in `all` is a relative.
struct EncoderNames: Sendable {
    /// Under `model_type` in config.json.
    let modelType: String
    /// What the names of Hugging Face's classes begin with.
    let className: String
    /// The family's own keys in config.json, by BERT's.
    let keys: [String: String]
    /// Whether tokens have types, and config.json an epsilon.
    let hasTypes: Bool
    /// Whether attention's output is dropped before it is added.
    let dropsAttention: Bool
    /// Where config.json is silent; nil: as everywhere else.
    let classifierDropout: Float?
    /// In front of the encoder's parameters where a head stands on it.
    let prefix: String
    let layers: String
    let query: String
    let key: String
    let value: String
    let attentionOutput: String
    let attentionNorm: String
    let up: String
    let down: String
    let outputNorm: String
    /// What turns the first token's vector into the text's: part of the encoder (tanh), or of the classification head (ReLU).
    let pooler: String?
    let preClassifier: String?
    let transform: String
    let transformNorm: String
    let decoder: String
    let decoderBias: String
    /// What parameters of heads begin with.
    let heads: [String]

    static let all = [
        // Devlin et al. 2018, arXiv:1810.04805
        EncoderNames(
            modelType: "bert", className: "Bert", keys: [:], hasTypes: true, dropsAttention: true,
            classifierDropout: nil, prefix: "bert.", layers: "encoder.layer.", query: "attention.self.query",
            key: "attention.self.key",
            value: "attention.self.value", attentionOutput: "attention.output.dense",
            attentionNorm: "attention.output.LayerNorm", up: "intermediate.dense", down: "output.dense",
            outputNorm: "output.LayerNorm", pooler: "pooler.dense", preClassifier: nil,
            transform: "cls.predictions.transform.dense", transformNorm: "cls.predictions.transform.LayerNorm",
            decoder: "cls.predictions.decoder", decoderBias: "cls.predictions.bias",
            heads: ["cls.", "classifier."]),
        // Sanh et al. 2019, arXiv:1910.01108
        EncoderNames(
            modelType: "distilbert", className: "DistilBert",
            keys: [
                "hidden_size": "dim", "intermediate_size": "hidden_dim", "num_hidden_layers": "n_layers",
                "num_attention_heads": "n_heads", "hidden_act": "activation", "hidden_dropout_prob": "dropout",
                "attention_probs_dropout_prob": "attention_dropout", "classifier_dropout": "seq_classif_dropout",
            ], hasTypes: false, dropsAttention: false, classifierDropout: 0.2, prefix: "distilbert.",
            layers: "transformer.layer.",
            query: "attention.q_lin", key: "attention.k_lin", value: "attention.v_lin",
            attentionOutput: "attention.out_lin", attentionNorm: "sa_layer_norm", up: "ffn.lin1", down: "ffn.lin2",
            outputNorm: "output_layer_norm", pooler: nil, preClassifier: "pre_classifier",
            transform: "vocab_transform", transformNorm: "vocab_layer_norm", decoder: "vocab_projector",
            decoderBias: "vocab_projector.bias",
            heads: ["vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "pre_classifier.", "classifier."]),
    ]
}
