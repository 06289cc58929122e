import RetortRuntime
import RetortSupport

/// A model that reads a text in both directions at once. Parameters have the names of Hugging Face's checkpoints.
public protocol EncoderModel: Module, SendableMetatype, TokenLayers {
    /// What config.json calls it under `model_type`.
    static var modelTypes: [String] { get }

    /// - Parameters:
    ///   - config: the whole of config.json.
    ///   - head: what stands on the encoder; nil: what config.json says under `architectures`.
    /// - Throws: `RetortError` 65 with the place for what is missing, contradictory, or not supported.
    init(_ config: JSONCursor, head: EncoderHead?) throws

    /// config.json as it has to be saved: what is not understood is kept.
    var json: JSON { get }
    var head: EncoderHead { get }
    var vocabulary: Int { get }
    /// Width of a token.
    var hidden: Int { get }
    var layerCount: Int { get }
    /// Whether blocks are computed again in backward instead of kept (activation checkpointing).
    var checkpointsActivations: Bool { get set }
    /// Tokens that it can read at most.
    var maxPositions: Int { get }
    /// What fills a batch's shorter rows.
    var paddingToken: Int32 { get }
    /// What `forward` can show: `embeddings` and `layers.<i>.hidden` (a block's output) `[rows, tokens, hidden]`; `layers.<i>.attention`
    /// `[rows, heads, tokens, tokens]`, and what it is made of, `.queries`, `.keys` and `.values` `[rows, tokens, heads, width]`; where it has them `pooled` (what the classifier sees) `[rows, hidden]` and `transform` (what the
    /// vocabulary's head sees) `[rows, tokens, hidden]`.
    var signals: [String] { get }

    /// - `paths`: signals to keep.
    /// - Throws: `TensorError` for a token or type that the model does not have, and for more tokens than it has positions.
    func forward(_ batch: EncoderBatch, capturing paths: Set<String>) throws -> EncoderOutput

    /// Reads a batch up to what the matrix of the masked-language head sees, `last` `[rows, tokens, hidden]`: losses that never form all
    /// logits begin here.
    /// - Throws: as `forward`, and where there is no such head.
    func predicting(_ batch: EncoderBatch, capturing paths: Set<String>) throws -> HiddenStates

    /// What makes logits of it.
    /// - Throws: `TensorError` where there is no masked-language head.
    func vocabularyHead() throws -> OutputHead

    /// What checkpoints call a parameter, the usual name first.
    func storedNames(of parameter: String) -> [String]
    /// Whether a stored tensor that is no parameter may be passed over: buffers, and heads that this model does not have.
    func passesOver(_ stored: String) -> Bool
    /// Of those passed over, the ones that are a parameter once more: where files hold them, they must be equal.
    var tiedArrays: [TiedArray] { get }
    /// Whether a parameter belongs to the head, which begins anew when another stands on the encoder.
    func isOfHead(_ parameter: String) -> Bool
}

extension EncoderModel {
    public func forward(_ batch: EncoderBatch) throws -> EncoderOutput { try forward(batch, capturing: []) }
}

/// What stands on an encoder.
public enum EncoderHead: Sendable, Equatable {
    /// Nothing: tokens' vectors are what it gives.
    case none
    /// Which token stands at each place.
    case maskedLanguage
    /// Numbers for a text or a pair of texts: classes, or values where `EncoderConfiguration.problem` says so.
    case classification(classes: Int)
}

/// What an encoder gives.
public struct EncoderOutput {
    /// Of each token, `[rows, tokens, hidden]`; nothing of value at padding. bf16 in a step of reduced precision, as signals are.
    public let hidden: Tensor
    /// `[rows, tokens, vocabulary]` of a masked-language head, `[rows, classes]` of a classifier, fp32 always; nil without a head.
    public let logits: Tensor?
    /// By path.
    public let signals: [String: Tensor]
}

/// Every encoder that config.json can name. One line here for each file.
public enum EncoderModelRegistry {
    public static let all: [any EncoderModel.Type] = [Encoder.self]

    /// A model as config.json describes it, not yet on a device.
    /// - `head`: what shall stand on it; nil: what config.json says.
    /// - Throws: `RetortError` 65 with the place for what is missing, contradictory, or not supported.
    public static func make(_ config: JSONCursor, head: EncoderHead? = nil) throws -> any EncoderModel {
        try find(config).init(config, head: head)
    }

    /// - Throws: `RetortError` 65 for a model_type that is not known.
    static func find(_ config: JSONCursor) throws -> any EncoderModel.Type {
        let kind = try config.member("model_type")
        let name = try kind.string()
        guard let type = all.first(where: { $0.modelTypes.contains(name) }) else {
            throw kind.failure(
                "\(name.quoted(limit: 200)) is not an encoder that is known: "
                    + all.flatMap { $0.modelTypes }.joined(separator: ", "))
        }
        return type
    }
}
