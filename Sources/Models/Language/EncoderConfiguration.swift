import RetortKernels
import RetortRuntime
import RetortSupport

/// What config.json says of an encoder of BERT's family, in BERT's keys or in DistilBERT's. What is not understood here is kept and written back.
public struct EncoderConfiguration: Sendable {
    /// What the numbers of a classification head are.
    public enum Problem: String, Sendable, CaseIterable {
        case regression
        case singleLabel = "single_label_classification"
        case multiLabel = "multi_label_classification"
    }

    public let modelType: String
    public let vocabulary: Int
    public let hidden: Int
    public let intermediate: Int
    public let layers: Int
    public let heads: Int
    public let maxPositions: Int
    /// Kinds of tokens (first text, second text); 0 for an encoder without.
    public let tokenTypes: Int
    public let activation: MatmulActivation
    public let epsilon: Float
    /// Its embedding is not trained by being read; nil: there is none.
    public let paddingToken: Int32?
    public let initializerRange: Float
    /// Probabilities of dropout in training: of what is added or embedded, of attention's probabilities, before the classifier.
    public let dropout: Float
    public let attentionDropout: Float
    public let classifierDropout: Float
    /// Whether the masked-language head's matrix is the embedding.
    public let isTied: Bool
    /// What `architectures` names; nothing where it names nothing.
    public let head: EncoderHead
    /// nil: not said.
    public let problem: Problem?
    let names: EncoderNames
    /// The file as it was read.
    public let json: JSON

    public static let modelTypes = EncoderNames.all.map(\.modelType)

    /// - Throws: `RetortError` 65 with the place for what is missing, contradictory, or not supported.
    public init(_ config: JSONCursor) throws {
        json = config.value
        let kind = try config.member("model_type")
        modelType = try kind.string()
        guard let names = EncoderNames.all.first(where: { [modelType] in $0.modelType == modelType }) else {
            throw kind.failure(
                "\(modelType.quoted(limit: 200)) is not an encoder that is known: "
                    + Self.modelTypes.joined(separator: ", "))
        }
        self.names = names
        /// The value under the family's own key, else under the common one.
        func value(_ key: String) throws -> JSONCursor {
            let own = names.keys[key] ?? key
            return try config.optional(own) ?? config.optional(key) ?? config.member(own)
        }
        func size(_ key: String, most: Int = 1 << 24) throws -> Int { try value(key).int(in: 1...most) }
        vocabulary = try size("vocab_size")
        hidden = try size("hidden_size")
        intermediate = try size("intermediate_size")
        layers = try size("num_hidden_layers", most: 4096)
        heads = try size("num_attention_heads", most: 65536)
        guard hidden % heads == 0 else {
            throw try value("num_attention_heads").failure("\(heads) heads do not divide \(hidden)")
        }
        maxPositions = try size("max_position_embeddings")
        tokenTypes = names.hasTypes ? try config.optional("type_vocab_size")?.int(in: 1...65536) ?? 2 : 0
        activation = try Self.activation(config.optional(names.keys["hidden_act"] ?? "hidden_act"))
        epsilon = names.hasTypes ? Float(try config.optional("layer_norm_eps")?.double(in: 0...1) ?? 1e-12) : 1e-12
        if let padding = config.value["pad_token_id"] {
            paddingToken =
                padding == .null ? nil : Int32(try config.member("pad_token_id").int(in: 0...(vocabulary - 1)))
        } else {
            paddingToken = 0
        }
        initializerRange = Float(try config.optional("initializer_range")?.double(in: 0...10) ?? 0.02)
        dropout = try config.dropout(names.keys["hidden_dropout_prob"] ?? "hidden_dropout_prob") ?? 0.1
        attentionDropout =
            try config.dropout(names.keys["attention_probs_dropout_prob"] ?? "attention_probs_dropout_prob") ?? 0.1
        classifierDropout =
            try config.dropout(names.keys["classifier_dropout"] ?? "classifier_dropout")
            ?? names.classifierDropout ?? dropout
        isTied = try config.optional("tie_word_embeddings")?.bool() ?? true
        problem = try config.optional("problem_type").map { cursor in
            guard let problem = Problem(rawValue: try cursor.string()) else {
                throw cursor.failure("it is one of \(Problem.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            return problem
        }
        head = try Self.head(config, names)
        try Self.refuseOthers(config)
    }

    /// Kinds of attention and positions that this family can have, and this program has not.
    private static func refuseOthers(_ config: JSONCursor) throws {
        for key in ["is_decoder", "add_cross_attention", "sinusoidal_pos_embds"] {
            if let flag = try config.optional(key), try flag.bool() { throw flag.failure("only false is supported") }
        }
        if let kind = try config.optional("position_embedding_type"), try kind.string() != "absolute" {
            throw kind.failure("only absolute positions are supported")
        }
    }

    private static func activation(_ cursor: JSONCursor?) throws -> MatmulActivation {
        let known: [(String, MatmulActivation)] = [
            ("gelu", .geluExact), ("gelu_new", .geluTanh), ("gelu_pytorch_tanh", .geluTanh), ("relu", .relu),
            ("silu", .silu), ("swish", .silu), ("tanh", .tanh), ("sigmoid", .sigmoid),
        ]
        guard let cursor else { return .geluExact }
        let name = try cursor.string()
        guard let (_, activation) = known.first(where: { $0.0 == name }) else {
            throw cursor.failure("this program knows \(known.map(\.0).joined(separator: ", "))")
        }
        return activation
    }

    /// What the first of `architectures` has.
    private static func head(_ config: JSONCursor, _ names: EncoderNames) throws -> EncoderHead {
        guard let first = try config.optional("architectures")?.elements().first else { return .none }
        switch try first.string() {
        case names.className + "Model": return .none
        // Pre-training's other head, which compares sentences, is passed over.
        case names.className + "ForMaskedLM", names.className + "ForPreTraining": return .maskedLanguage
        case names.className + "ForSequenceClassification": return .classification(classes: try classes(config))
        case let other:
            throw first.failure(
                "\(other.quoted(limit: 200)) is not supported",
                help: "this program has \(names.className)Model, …ForMaskedLM and …ForSequenceClassification")
        }
    }

    /// Labels are named; old files may only count them; without either there are two.
    private static func classes(_ config: JSONCursor) throws -> Int {
        let count = try config.optional("num_labels")
        let number = try count?.int(in: 1...(1 << 24))
        guard let labels = try config.optional("id2label") else { return number ?? 2 }
        let named = try labels.members().count
        guard named > 0 else { throw labels.failure("it names no label") }
        if let count, let number, number != named { throw count.failure("id2label names \(named) labels") }
        return named
    }

    /// The file for a model with this head, saved: what it says of its own head stays as it is.
    func json(with head: EncoderHead) -> JSON {
        guard case .object(var object) = json else { return json }
        object.set("architectures", .array([.string(names.className + Self.suffix(head))]))
        guard case .classification(let classes) = head, head != self.head else { return .object(object) }
        let labels = (0..<classes).map { "LABEL_\($0)" }
        object.set("id2label", .object(labels.enumerated().map { ("\($0)", .string($1)) }))
        object.set("label2id", .object(labels.enumerated().map { ($1, .int($0)) }))
        // It would contradict them; readers count the labels.
        return .object(object.members.filter { $0.key != "num_labels" }.map { ($0.key, $0.value) })
    }

    private static func suffix(_ head: EncoderHead) -> String {
        switch head {
        case .none: "Model"
        case .maskedLanguage: "ForMaskedLM"
        case .classification: "ForSequenceClassification"
        }
    }
}

extension JSONCursor {
    /// A probability of dropout; nil where there is none.
    func dropout(_ key: String) throws -> Float? {
        guard let cursor = try optional(key) else { return nil }
        let probability = try cursor.double(in: 0...1)
        guard Float(probability) < 1 else { throw cursor.failure("dropout of everything leaves nothing to train") }
        return Float(probability)
    }
}
