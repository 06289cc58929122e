import RetortRuntime
import RetortSupport

/// What config.json says of a decoder of the Llama family: Llama 1–3, Mistral, Qwen2, Qwen3, Gemma 1 and 2, in the old and the new style of
/// keys. What is not understood here is kept and written back.
public struct DecoderConfiguration: Sendable {
    public let modelType: String
    public let vocabulary: Int
    public let hidden: Int
    public let intermediate: Int
    public let layers: Int
    public let heads: Int
    /// Heads of keys and values; each is shared by heads / keyValueHeads queries.
    public let keyValueHeads: Int
    public let headWidth: Int
    public let epsilon: Float
    public let maxPositions: Int
    public let theta: Double
    public let scaling: RotaryTable.Scaling
    /// Whether the output head is the embedding.
    public let isTied: Bool
    /// Biases of the projections to queries, keys and values; of the one from heads; of the feed-forward block.
    public let hasQueryBias: Bool
    public let hasOutputBias: Bool
    public let hasFeedForwardBias: Bool
    /// Whether queries and keys are normalised (Qwen3).
    public let normalisesQueries: Bool
    /// Of each layer: how many keys a query sees; nil: all before it.
    public let windows: [Int?]
    public let initializerRange: Float
    /// Of attention's probabilities, in training.
    public let attentionDropout: Float
    /// nil for other families than Gemma's.
    public let gemma: GemmaTraits?
    /// The file as it was read.
    public let json: JSON

    public static let modelTypes = ["llama", "mistral", "qwen2", "qwen3"] + GemmaTraits.modelTypes

    /// - Throws: `RetortError` 65 with the place for what is missing, contradictory, or not supported.
    public init(_ config: JSONCursor) throws {
        json = config.value
        let kind = try config.member("model_type")
        modelType = try kind.string()
        guard Self.modelTypes.contains(modelType) else {
            throw kind.failure(
                "\(modelType.quoted(limit: 200)) is not a decoder that is known: "
                    + Self.modelTypes.joined(separator: ", "))
        }
        func size(_ key: String, most: Int = 1 << 24) throws -> Int { try config.member(key).int(in: 1...most) }
        func flag(_ key: String) throws -> Bool { try config.optional(key)?.bool() ?? false }
        vocabulary = try size("vocab_size")
        hidden = try size("hidden_size")
        intermediate = try size("intermediate_size")
        layers = try size("num_hidden_layers", most: 4096)
        heads = try size("num_attention_heads", most: 65536)
        let absent = Absent.of(modelType)
        keyValueHeads = try Self.keyValueHeads(config, heads: heads, absent: absent)
        if let width = try config.optional("head_dim") {
            headWidth = try width.int(in: 2...65536)
        } else if let width = absent.headWidth, !config.holds("head_dim") {
            headWidth = width
        } else {
            guard hidden % heads == 0 else {
                throw try config.member("num_attention_heads").failure("\(heads) heads do not divide \(hidden)")
            }
            headWidth = hidden / heads
        }
        guard headWidth % 2 == 0 else {
            let cause = try config.optional("head_dim") ?? config.member("num_attention_heads")
            throw cause.failure("a head of \(headWidth) numbers has no pairs to turn")
        }
        epsilon = Float(try config.optional("rms_norm_eps")?.double(in: 0...1) ?? 1e-6)
        maxPositions = try config.optional("max_position_embeddings")?.int(in: 1...(1 << 28)) ?? absent.positions
        (theta, scaling) = try Self.rotary(config, positions: maxPositions)
        isTied = try config.optional("tie_word_embeddings")?.bool() ?? absent.isTied
        gemma = try GemmaTraits(config, modelType, hidden: hidden, heads: heads, headWidth: headWidth)
        switch modelType {
        case "qwen2": (hasQueryBias, hasOutputBias) = (true, false)
        case "mistral": (hasQueryBias, hasOutputBias) = (false, false)
        default: (hasQueryBias, hasOutputBias) = (try flag("attention_bias"), try flag("attention_bias"))
        }
        hasFeedForwardBias = try gemma == nil && flag("mlp_bias")
        normalisesQueries = modelType == "qwen3"
        windows = try Self.windows(config, modelType, layers, absent: absent)
        attentionDropout = try config.dropout("attention_dropout") ?? 0
        initializerRange = Float(try config.optional("initializer_range")?.double(in: 0...10) ?? 0.02)
        if gemma == nil, let activation = try config.optional("hidden_act"), try activation.string() != "silu" {
            throw activation.failure("decoders of this family are computed with silu only")
        }
    }

    /// What transformers takes for keys that config.json does not have; null says something else: none, or as many as there are heads.
    private struct Absent {
        var positions = 2048
        var keyValueHeads: Int?
        var headWidth: Int?
        var window: Int?
        var isTied = false

        static func of(_ modelType: String) -> Absent {
            switch modelType {
            case "mistral": Absent(positions: 131_072, keyValueHeads: 8, window: 4096)
            case "qwen2": Absent(positions: 32_768, keyValueHeads: 32, window: 4096)
            case "qwen3": Absent(positions: 32_768, keyValueHeads: 32, headWidth: 128, window: 4096)
            case "gemma": Absent(positions: 8192, keyValueHeads: 16, headWidth: 256, isTied: true)
            case "gemma2": Absent(positions: 8192, keyValueHeads: 4, headWidth: 256, window: 4096, isTied: true)
            default: Absent()
            }
        }
    }

    private static func keyValueHeads(_ config: JSONCursor, heads: Int, absent: Absent) throws -> Int {
        let key = "num_key_value_heads"
        if let given = try config.optional(key) {
            let count = try given.int(in: 1...heads)
            guard heads % count == 0 else { throw given.failure("\(count) does not divide \(heads) heads") }
            return count
        }
        guard let usual = absent.keyValueHeads, !config.holds(key) else { return heads }
        guard heads % usual == 0 else {
            throw try config.member("num_attention_heads").failure(
                "\(key) is missing, and the \(usual) that it stands for do not divide \(heads) heads",
                help: "write \(key) into config.json")
        }
        return usual
    }

    private static func rotary(_ config: JSONCursor, positions: Int) throws -> (Double, RotaryTable.Scaling) {
        let parameters = try config.optional("rope_parameters")
        let theta = try (parameters?.optional("rope_theta") ?? config.optional("rope_theta"))?.double(in: 1e-3...1e12)
        guard let scaling = try parameters ?? config.optional("rope_scaling") else { return (theta ?? 10000, .none) }
        let kind = try scaling.optional("rope_type") ?? scaling.optional("type")
        func number(_ key: String) throws -> Double { try scaling.member(key).double(in: 1e-6...1e9) }
        switch try kind?.string() ?? "default" {
        case "default": return (theta ?? 10000, .none)
        case "linear": return (theta ?? 10000, .linear(factor: try number("factor")))
        case "llama3":
            return (
                theta ?? 10000,
                .llama3(
                    factor: try number("factor"), lowFrequencyFactor: try number("low_freq_factor"),
                    highFrequencyFactor: try number("high_freq_factor"),
                    originalPositions: try scaling.member("original_max_position_embeddings").int(in: 1...(1 << 28)))
            )
        case "dynamic":
            return (theta ?? 10000, .dynamic(factor: try number("factor"), originalPositions: positions))
        case "yarn": return (theta ?? 10000, .yarn(try yarn(scaling, positions: positions)))
        case let other:
            throw (kind ?? scaling).failure(
                "the rotary scaling \(other.quoted()) is not supported; default, linear, dynamic, llama3 and yarn are")
        }
    }

    private static func yarn(_ scaling: JSONCursor, positions: Int) throws -> RotaryTable.YaRN {
        func number(_ key: String) throws -> Double? { try scaling.optional(key)?.double(in: 0...1e9) }
        let given = try scaling.optional("original_max_position_embeddings")?.int(in: 1...(1 << 28))
        let original = given ?? positions
        let factor =
            try given == nil || scaling.optional("factor") != nil
            ? scaling.member("factor").double(in: 1e-6...1e9) : Double(positions) / Double(original)
        var yarn = RotaryTable.YaRN(factor: factor, originalPositions: original)
        // 0 is as good as nothing, as in transformers.
        if let fast = try number("beta_fast"), fast > 0 { yarn.fast = fast }
        if let slow = try number("beta_slow"), slow > 0 { yarn.slow = slow }
        if let truncates = try scaling.optional("truncate")?.bool() { yarn.truncates = truncates }
        if let given = try number("attention_factor") {
            yarn.attentionFactor = given
        } else if let one = try number("mscale"), let all = try number("mscale_all_dim"), one > 0, all > 0 {
            yarn.attentionFactor =
                RotaryTable.YaRN.attentionFactor(factor, weight: one)
                / RotaryTable.YaRN.attentionFactor(factor, weight: all)
        }
        return yarn
    }

    /// Positions that the model can be asked for: those of the scaling where it reaches further than max_position_embeddings says.
    var reach: Int {
        func stretched(_ factor: Double, _ original: Int) -> Int {
            max(maxPositions, Int(min(factor * Double(original), Double(1 << 28))))
        }
        return switch scaling {
        case .dynamic(let factor, let original): stretched(factor, original)
        case .yarn(let yarn): stretched(yarn.factor, yarn.originalPositions)
        case .none, .linear, .llama3: maxPositions
        }
    }

    private static func windows(_ config: JSONCursor, _ modelType: String, _ layers: Int, absent: Absent) throws
        -> [Int?]
    {
        let none = [Int?](repeating: nil, count: layers)
        let key = "sliding_window"
        let given = try config.optional(key)?.int(in: 1...(1 << 28)) ?? (config.holds(key) ? nil : absent.window)
        guard !["llama", "gemma"].contains(modelType) else { return none }
        guard modelType != "gemma2" else {
            let slides = try slidingLayers(config, layers) ?? (0..<layers).map(GemmaTraits.slides)
            guard let window = given else {
                guard slides.contains(true) else { return none }
                throw try config.member(key).failure("layers look through a window, and nothing says how wide it is")
            }
            return slides.map { $0 ? window : nil }
        }
        guard let window = given else { return none }
        guard modelType != "mistral" else { return [Int?](repeating: window, count: layers) }
        guard try config.optional("use_sliding_window")?.bool() ?? false else { return none }
        if let slides = try slidingLayers(config, layers) { return slides.map { $0 ? window : nil } }
        let first = try config.optional("max_window_layers")?.int(in: 0...(1 << 20)) ?? 28
        return (0..<layers).map { $0 >= first ? window : nil }
    }

    /// Of each layer, whether it looks through the window; nil where config.json does not say it one by one.
    private static func slidingLayers(_ config: JSONCursor, _ layers: Int) throws -> [Bool]? {
        guard let types = try config.optional("layer_types") else { return nil }
        let elements = try types.elements()
        guard elements.count == layers else { throw types.failure("there are \(layers) layers") }
        return try elements.map { type -> Bool in
            switch try type.string() {
            case "full_attention": return false
            case "sliding_attention": return true
            case let other: throw type.failure("the attention \(other.quoted()) is unknown")
            }
        }
    }
}
