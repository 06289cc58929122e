import RetortRuntime
import RetortSupport

/// What a family's config.json calls the sizes that a student may have less of.
struct SizeKeys: Sendable {
    let layers: String
    let hidden: String
    let intermediate: String
    let heads: String
    /// nil: each head has keys and values of its own.
    var keyValueHeads: String?
    /// nil: a head is hidden / heads wide.
    var headWidth: String?

    static let decoder = SizeKeys(
        layers: "num_hidden_layers", hidden: "hidden_size", intermediate: "intermediate_size",
        heads: "num_attention_heads", keyValueHeads: "num_key_value_heads", headWidth: "head_dim")

    /// GPT-2: its own keys, or the common ones where the file has those, as the model reads them.
    static func gpt2(_ config: JSONCursor) -> SizeKeys {
        func key(_ own: String, _ common: String) -> String { config.value[common] == nil ? own : common }
        return SizeKeys(
            layers: key("n_layer", "num_hidden_layers"), hidden: key("n_embd", "hidden_size"), intermediate: "n_inner",
            heads: key("n_head", "num_attention_heads"))
    }

    /// A relative of BERT's: its own keys, or the common ones where the file has those.
    static func encoder(_ names: EncoderNames, _ config: JSONCursor) -> SizeKeys {
        func key(_ common: String) -> String {
            guard let own = names.keys[common] else { return common }
            return config.value[own] == nil && config.value[common] != nil ? common : own
        }
        return SizeKeys(
            layers: key("num_hidden_layers"), hidden: key("hidden_size"), intermediate: key("intermediate_size"),
            heads: key("num_attention_heads"))
    }
}

/// A language model or an encoder as a config.json describes it, not on a device: names and shapes, and what checkpoints call them.
struct TextModelPlan {
    let module: any Module
    /// config.json as it is saved.
    let json: JSON
    let layers: Int
    let keys: SizeKeys
    let storedNames: (String) -> [String]
    let passesOver: (String) -> Bool
    let tiedArrays: [TiedArray]
    /// Arrays that a checkpoint may lack; who loads it draws them.
    let mayLack: (String) -> Bool

    /// - Throws: `RetortError` 65 with the place for what is missing, contradictory, or not supported.
    init(_ config: JSONCursor) throws {
        let kind = try config.member("model_type")
        let name = try kind.string()
        if EncoderConfiguration.modelTypes.contains(name) {
            let model = try EncoderModelRegistry.find(config).init(config, head: nil)
            self.init(
                module: model, json: model.json, layers: model.layerCount,
                keys: .encoder(try EncoderConfiguration(config).names, config), storedNames: model.storedNames,
                passesOver: model.passesOver, tiedArrays: model.tiedArrays,
                mayLack: { model.head == .none && $0.contains("pooler.") })
            return
        }
        guard LanguageModelRegistry.all.contains(where: { $0.modelTypes.contains(name) }) else {
            let known = LanguageModelRegistry.all.flatMap { $0.modelTypes } + EncoderConfiguration.modelTypes
            throw kind.failure(
                "\(name.quoted(limit: 200)) is not a model of text that is known: \(known.joined(separator: ", "))")
        }
        let model = try LanguageModelRegistry.make(config)
        self.init(
            module: model, json: model.json, layers: model.layerCount, keys: name == "gpt2" ? .gpt2(config) : .decoder,
            storedNames: model.storedNames, passesOver: model.passesOver, tiedArrays: model.tiedArrays,
            mayLack: { _ in false })
    }

    private init(
        module: any Module, json: JSON, layers: Int, keys: SizeKeys, storedNames: @escaping (String) -> [String],
        passesOver: @escaping (String) -> Bool, tiedArrays: [TiedArray], mayLack: @escaping (String) -> Bool
    ) {
        self.module = module
        self.json = json
        self.layers = layers
        self.keys = keys
        self.storedNames = storedNames
        self.passesOver = passesOver
        self.tiedArrays = tiedArrays
        self.mayLack = mayLack
    }
}
