import RetortKernels
import RetortSupport

/// What a Gemma (Gemma Team 2024, arXiv:2403.08295) or a Gemma 2 (arXiv:2408.00118) has beyond a Llama, as config.json and the defaults of
/// transformers say it: norms whose weights are stored as what they are beyond 1, embeddings times √hidden, GELU (tanh) in the gate; Gemma 2 has
/// norms behind attention and feed-forward block too, a scale of scores of its own, windows in each second layer, and soft caps on scores and
/// logits.
public struct GemmaTraits: Sendable {
    /// Multiplies scores.
    public let attentionScale: Float
    /// What scores stay below in size; nil: they are as they are.
    public let attentionCap: Float?
    /// What logits stay below in size; nil: they are as they are.
    public let logitCap: Float?
    /// Whether what attention and the feed-forward block give is normalised before it is added.
    public let normalisesOutputs: Bool

    static let modelTypes = ["gemma", "gemma2"]

    /// nil for another family.
    init?(_ config: JSONCursor, _ modelType: String, hidden: Int, heads: Int, headWidth: Int) throws {
        guard Self.modelTypes.contains(modelType) else { return nil }
        let isSecond = modelType == "gemma2"
        normalisesOutputs = isSecond
        if let flag = try config.optional("use_bidirectional_attention"), try flag.bool() {
            throw flag.failure("a decoder whose tokens see those behind them is not supported")
        }
        if let activation = try config.optional(isSecond ? "hidden_activation" : "hidden_act") {
            // The first Gemma's files say gelu and mean what transformers takes it for.
            let known = ["gelu_pytorch_tanh"] + (isSecond ? [] : ["gelu"])
            guard try known.contains(activation.string()) else {
                throw activation.failure("Gemma is computed with gelu_pytorch_tanh only")
            }
        }
        guard isSecond else {
            attentionScale = 1 / Float(headWidth).squareRoot()
            (attentionCap, logitCap) = (nil, nil)
            return
        }
        guard hidden % heads == 0 else {
            throw try config.member("num_attention_heads").failure(
                "\(heads) heads do not divide \(hidden), which transformers asks of Gemma 2")
        }
        let width = try config.optional("query_pre_attn_scalar")?.double(in: 1e-6...1e9) ?? 256
        attentionScale = Float(1 / width.squareRoot())
        attentionCap = try Self.cap(config, "attn_logit_softcapping", absent: 50)
        logitCap = try Self.cap(config, "final_logit_softcapping", absent: 30)
    }

    private static func cap(_ config: JSONCursor, _ key: String, absent: Float) throws -> Float? {
        guard let given = try config.optional(key) else { return config.holds(key) ? nil : absent }
        return Float(try given.double(in: 1e-3...1e6))
    }

    /// Whether a layer of Gemma 2 looks through a window where config.json does not say it layer by layer.
    static func slides(_ layer: Int) -> Bool { layer % 2 == 0 }
}

extension DecoderConfiguration {
    /// What stands between the gate and the product in the feed-forward block.
    public var activation: GatedActivation { gemma == nil ? .swiglu : .gegluTanh }
    /// What is added to the stored weights of norms.
    public var normOffset: Float { gemma == nil ? 0 : 1 }
    /// Multiplies scores.
    public var attentionScale: Float { gemma?.attentionScale ?? 1 / Float(headWidth).squareRoot() }

    /// What embeddings are multiplied by; nil: nothing.
    /// - Parameter dtype: what they are stored as, to which the factor is rounded as transformers does: √3072 is 55.5 in bf16.
    func embeddingScale(storedAs dtype: DType) -> Float? {
        guard gemma != nil else { return nil }
        let scale = Float(Double(hidden).squareRoot())
        guard dtype == .bf16 else { return scale }
        let bits = scale.bitPattern
        return Float(bitPattern: (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
    }
}
