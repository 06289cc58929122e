import RetortRuntime
import RetortSupport

/// A model that predicts each token's successor, or, of an encoder (`MaskedLanguageModel`), the token that stands at a place. Parameters have
/// the names of Hugging Face's checkpoints.
public protocol LanguageModel: Module, SendableMetatype, TokenLayers {
    /// What config.json calls it under `model_type`.
    static var modelTypes: [String] { get }

    /// - Parameter config: the whole of config.json.
    /// - Throws: `RetortError` 65 with the place for what is missing, contradictory, or not supported.
    init(_ config: JSONCursor) throws

    /// config.json as it was read: what is not understood is kept and written back.
    var json: JSON { get }
    var vocabulary: Int { get }
    /// Blocks, each with keys and values of its own.
    var layerCount: Int { get }
    /// Tokens that it was made for at most.
    var maxPositions: Int { get }
    /// Whether tokens see those before them alone; an encoder's see all.
    var isCausal: Bool { get }
    /// What `forward` can show: `embeddings`, `layers.<i>.hidden` (a block's output) and `norm` (what the head sees), `[rows, tokens, hidden]`;
    /// `layers.<i>.attention` `[rows, heads, tokens, keys]`; `layers.<i>.queries`, `.keys` and `.values` `[rows, tokens, heads, width]`, turned to
    /// their positions where the model turns them, before a cache.
    var signals: [String] { get }

    /// Whether a block's inner numbers are computed again in backward instead of being kept (activation checkpointing). Blocks of which
    /// something inside is captured are kept.
    var checkpointsActivations: Bool { get set }

    /// Reads tokens, behind those in the cache where there is one, up to what the head sees: losses that never form all logits begin here.
    /// - `paths`: signals to keep.
    /// - Throws: `TensorError` for a token that the vocabulary does not have.
    func hidden(_ tokens: TokenBatch, cache: KeyValueCache?, capturing paths: Set<String>) throws -> HiddenStates

    /// What makes logits of hidden states: of each token's successor, one for each of the vocabulary.
    func head() throws -> OutputHead

    /// What checkpoints call a parameter, the usual name first.
    func storedNames(of parameter: String) -> [String]
    /// Whether a stored tensor that is no parameter may be passed over: buffers that old versions saved.
    func passesOver(_ stored: String) -> Bool
    /// Of those passed over, the ones that are a parameter once more: where files hold them, they must be equal.
    var tiedArrays: [TiedArray] { get }
}

/// What a language model makes of tokens before its head.
public struct HiddenStates {
    /// `[rows, tokens, hidden]`.
    public let last: Tensor
    /// By path.
    public let signals: [String: Tensor]

    public init(last: Tensor, signals: [String: Tensor] = [:]) {
        self.last = last
        self.signals = signals
    }
}

extension LanguageModel {
    /// Reads tokens, behind those in the cache where there is one.
    /// - `paths`: signals to keep.
    /// - Returns: logits `[rows, tokens, vocabulary]`: of each token's successor.
    /// - Throws: `TensorError` for a token that the vocabulary does not have.
    public func forward(_ tokens: TokenBatch, cache: KeyValueCache?, capturing paths: Set<String>) throws -> ModelOutput
    {
        let states = try hidden(tokens, cache: cache, capturing: paths)
        return ModelOutput(logits: try head().logits(states.last), signals: states.signals)
    }

    public func hidden(_ tokens: TokenBatch, capturing paths: Set<String> = []) throws -> HiddenStates {
        try hidden(tokens, cache: nil, capturing: paths)
    }

    public func forward(_ tokens: TokenBatch, capturing paths: Set<String> = []) throws -> ModelOutput {
        try forward(tokens, cache: nil, capturing: paths)
    }
    public func storedNames(of parameter: String) -> [String] { [parameter] }
    public var isCausal: Bool { true }
}

/// Every language model that config.json can name. One line here for each file.
public enum LanguageModelRegistry {
    public static let all: [any LanguageModel.Type] = [Decoder.self, GPT2.self]

    /// A fresh model, not yet on a device.
    /// - Parameter config: the whole of config.json.
    /// - Throws: `RetortError` 65 with the place for what is missing, contradictory, or not supported.
    public static func make(_ config: JSONCursor) throws -> any LanguageModel { try find(config).init(config) }

    /// - Throws: `RetortError` 65 for a model_type that is not known.
    static func find(_ config: JSONCursor) throws -> any LanguageModel.Type {
        let kind = try config.member("model_type")
        let name = try kind.string()
        guard let type = all.first(where: { $0.modelTypes.contains(name) }) else {
            throw kind.failure(
                "\(name.quoted(limit: 200)) is not a language model that is known: "
                    + all.flatMap { $0.modelTypes }.joined(separator: ", "))
        }
        return type
    }
}
