import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport

/// A decoder of the Llama family (Touvron et al. 2023, arXiv:2302.13971): RMS norm, attention with rotary positions and grouped queries,
/// RMS norm, SwiGLU; with what `GemmaTraits` says where it is a Gemma.
public final class Decoder: LanguageModel {
    public static let modelTypes = DecoderConfiguration.modelTypes

    public let configuration: DecoderConfiguration
    public var isTraining = true
    public var checkpointsActivations = false
    public let children: [any Module]
    private let embedding: Embedding
    private let blocks: [DecoderBlock]
    private let norm: RMSNormalization
    /// nil where the embedding is the head.
    private let untiedHead: Linear?
    private var table: RotaryTable?
    /// What the table's frequencies are of, where they depend on that.
    private var tableReach: Int?

    public convenience init(_ config: JSONCursor) throws { self.init(try DecoderConfiguration(config)) }

    public init(_ configuration: DecoderConfiguration) {
        let c = configuration
        self.configuration = c
        let start = Initializer.normal(deviation: c.initializerRange)
        embedding = Embedding("model.embed_tokens", rows: c.vocabulary, columns: c.hidden, initializer: start)
        blocks = (0..<c.layers).map { DecoderBlock("model.layers.\($0).", c, layer: $0) }
        norm = RMSNormalization(
            "model.norm", columns: c.hidden, epsilon: c.epsilon, weightOffset: c.normOffset)
        untiedHead = c.isTied ? nil : Linear("lm_head", inputs: c.hidden, outputs: c.vocabulary, bias: false)
        untiedHead?.weight.initializer = start
        children = [embedding] + blocks + [norm] + (untiedHead.map { [$0] } ?? [])
    }

    public var json: JSON { configuration.json }
    public var vocabulary: Int { configuration.vocabulary }
    public var layerCount: Int { blocks.count }
    public var maxPositions: Int { configuration.reach }
    public var signals: [String] { SignalNames.ofDecoder(layers: blocks.count) }

    /// Old checkpoints store the frequencies; tied ones may store the head again.
    public func passesOver(_ stored: String) -> Bool {
        stored.hasSuffix("rotary_emb.inv_freq") || configuration.isTied && stored == "lm_head.weight"
    }

    public var tiedArrays: [TiedArray] {
        guard configuration.isTied else { return [] }
        return [
            TiedArray(
                stored: "lm_head.weight", parameter: embedding.weight.name, role: "the embedding", canBeUntied: true)
        ]
    }

    public func head() throws -> OutputHead {
        let weight = untiedHead?.weight ?? embedding.weight
        return try OutputHead(weight: weight.tensor, softCap: configuration.gemma?.logitCap)
    }

    public func hidden(_ tokens: TokenBatch, cache: KeyValueCache?, capturing paths: Set<String>) throws -> HiddenStates
    {
        var recorder = SignalRecorder(paths)
        let past = cache?.length ?? 0
        var x = try embedding(tokens.ids, shape: [tokens.rows, tokens.length])
        if let scale = configuration.embeddingScale(storedAs: x.dtype) { x = try x * scale }
        recorder.keep("embeddings", x)
        let device = x.device
        let positions = try tokens.positions(after: past)
        let place = Place(
            table: try rotaryTable(past + tokens.length, reach: Int((positions.max() ?? -1) + 1), on: device),
            positions: try device.view(positions, [positions.count], .i32),
            passes: try passes(tokens, past: past, on: device))
        for (index, block) in blocks.enumerated() {
            if checkpointsActivations, cache == nil, !recorder.wantsInside(of: index) {
                x = try x.recomputing { x in
                    var nothing = SignalRecorder([])
                    return try block(x, place, cache: nil, layer: index, &nothing)
                }
            } else {
                x = try block(x, place, cache: cache, layer: index, &recorder)
            }
            recorder.keep("layers.\(index).hidden", x)
        }
        cache?.advance(by: tokens.length)
        x = try norm(x)
        recorder.keep("norm", x)
        return HiddenStates(last: x, signals: recorder.signals)
    }

    /// Where the tokens of a pass stand.
    struct Place {
        let table: RotaryTable
        let positions: View
        /// How they attend, by the layers' windows.
        let passes: [Int?: AttentionPass]
    }

    private func passes(_ tokens: TokenBatch, past: Int, on device: ComputeDevice) throws -> [Int?: AttentionPass] {
        var passes: [Int?: AttentionPass] = [:]
        for window in Set(configuration.windows) {
            let mask = AttentionMask(
                isCausal: true, window: window, validKeys: tokens.validKeys(after: past), documents: tokens.documents)
            passes[window] = try AttentionPass(
                mask, tokens, past: past, scale: configuration.attentionScale,
                softCap: configuration.gemma?.attentionCap, on: device)
        }
        return passes
    }

    /// A table that knows the positions below `count`; it grows by doubling.
    /// - Parameter reach: tokens of the longest text.
    private func rotaryTable(_ count: Int, reach: Int, on device: ComputeDevice) throws -> RotaryTable {
        let c = configuration
        let needed = c.scaling.depends(onReach: reach) ? reach : nil
        if let table, table.cosines.shape[0] >= count, needed == tableReach { return table }
        var rows = 64
        while rows < count { rows *= 2 }
        let grown = try RotaryTable(
            width: c.headWidth, theta: c.theta, scaling: c.scaling, positions: rows, reach: reach, on: device)
        (table, tableReach) = (grown, needed)
        return grown
    }
}

/// Rows of a table by token: `weight` `[rows, columns]`.
final class Embedding: Module {
    let weight: Parameter
    /// A row that is not trained by being read.
    let paddingIndex: Int32?
    var isTraining = true

    init(_ name: String, rows: Int, columns: Int, initializer: Initializer, paddingIndex: Int32? = nil) {
        weight = Parameter(name + ".weight", [rows, columns], initializer)
        self.paddingIndex = paddingIndex
    }

    var parameters: [Parameter] { [weight] }

    func callAsFunction(_ ids: [Int32], shape: Dimensions) throws -> Tensor {
        try weight.tensor.gatherRows(
            ids, shape: shape, paddingIndex: paddingIndex, storedAs: weight.activations)
    }
}

/// Norm, self-attention, sum; norm, gated feed-forward, sum; in Gemma 2 with a norm before each sum.
final class DecoderBlock: Module {
    let children: [any Module]
    var isTraining = true
    private let configuration: DecoderConfiguration
    private let window: Int?
    private let before: RMSNormalization
    private let query: Linear
    private let key: Linear
    private let value: Linear
    private let output: Linear
    private let queryNorm: RMSNormalization?
    private let keyNorm: RMSNormalization?
    private let after: RMSNormalization
    /// Of what attention, and what the feed-forward block, gives, before it is added.
    private let attentionNorm: RMSNormalization?
    private let feedForwardNorm: RMSNormalization?
    private let gate: Linear
    private let up: Linear
    private let down: Linear
    private let dropout: DropoutLayer
    private let attentionInputs: LinearGroup
    private let feedForwardInputs: LinearGroup

    init(_ name: String, _ c: DecoderConfiguration, layer: Int) {
        configuration = c
        window = c.windows[layer]
        func linear(_ path: String, _ inputs: Int, _ outputs: Int, bias: Bool) -> Linear {
            let linear = Linear(name + path, inputs: inputs, outputs: outputs, bias: bias)
            linear.weight.initializer = .normal(deviation: c.initializerRange)
            linear.bias?.initializer = .zeros
            return linear
        }
        func norm(_ path: String, _ columns: Int) -> RMSNormalization {
            RMSNormalization(name + path, columns: columns, epsilon: c.epsilon, weightOffset: c.normOffset)
        }
        let (queries, keys) = (c.heads * c.headWidth, c.keyValueHeads * c.headWidth)
        before = norm("input_layernorm", c.hidden)
        query = linear("self_attn.q_proj", c.hidden, queries, bias: c.hasQueryBias)
        key = linear("self_attn.k_proj", c.hidden, keys, bias: c.hasQueryBias)
        value = linear("self_attn.v_proj", c.hidden, keys, bias: c.hasQueryBias)
        output = linear("self_attn.o_proj", queries, c.hidden, bias: c.hasOutputBias)
        queryNorm = c.normalisesQueries ? norm("self_attn.q_norm", c.headWidth) : nil
        keyNorm = c.normalisesQueries ? norm("self_attn.k_norm", c.headWidth) : nil
        // The name that others give to the norm in front of the feed-forward block is the one behind attention here.
        let normalisesOutputs = c.gemma?.normalisesOutputs ?? false
        after = norm(normalisesOutputs ? "pre_feedforward_layernorm" : "post_attention_layernorm", c.hidden)
        attentionNorm = normalisesOutputs ? norm("post_attention_layernorm", c.hidden) : nil
        feedForwardNorm = normalisesOutputs ? norm("post_feedforward_layernorm", c.hidden) : nil
        gate = linear("mlp.gate_proj", c.hidden, c.intermediate, bias: c.hasFeedForwardBias)
        up = linear("mlp.up_proj", c.hidden, c.intermediate, bias: c.hasFeedForwardBias)
        down = linear("mlp.down_proj", c.intermediate, c.hidden, bias: c.hasFeedForwardBias)
        dropout = DropoutLayer(name + "self_attn.dropout", probability: c.attentionDropout)
        attentionInputs = LinearGroup([query, key, value])
        feedForwardInputs = LinearGroup([gate, up])
        children =
            [query, key, value, output, gate, up, down, before, after, dropout]
            + [queryNorm, keyNorm, attentionNorm, feedForwardNorm].compactMap { $0 }
    }

    /// x `[rows, tokens, hidden]`.
    func callAsFunction(
        _ x: Tensor, _ place: Decoder.Place, cache: KeyValueCache?, layer: Int, _ recorder: inout SignalRecorder
    ) throws -> Tensor {
        let c = configuration
        let (rows, tokens) = (x.shape[0], x.shape[1])
        let joined = try recorder.wantsAny ? nil : joined(x, place, cache, layer)
        let (q, k, v) = try joined ?? projected(before(x), place, cache, layer, &recorder)
        let showing = recorder.wantsAny && recorder.wants(SignalNames.path(layer, "attention"))
        let (heard, attention) = try place.passes[window]!(q, k, v, dropout: dropout, showing: showing)
        if let attention { recorder.keep(SignalNames.path(layer, "attention"), attention) }
        let mixed = try heard.reshaped([rows, tokens, c.heads * c.headWidth])
        let middle = try attentionNorm.map { try x + $0(output(mixed)) } ?? output(mixed, plus: x)
        let inner = try activated(middle, isRead: cache != nil)
        return try feedForwardNorm.map { try middle + $0(down(inner)) } ?? down(inner, plus: middle)
    }

    /// Queries, and keys and values of all tokens that were read, by one product, which has the norm with it where tokens are few, and one
    /// launch behind it; nil where that cannot be.
    private func joined(_ x: Tensor, _ place: Decoder.Place, _ cache: KeyValueCache?, _ layer: Int) throws -> (
        q: Tensor, k: Tensor, v: Tensor
    )? {
        // A cache of another type takes keys and values that are converted first: nothing is multiplied for it here.
        guard let cache, queryNorm == nil, cache.keeps(x.dtype),
            let all = try attentionInputs.joined(x, after: before)
        else { return nil }
        return try cache.extend(
            layer, projected: all, place.table, positions: place.positions, heads: configuration.heads,
            keyValueHeads: configuration.keyValueHeads)
    }

    /// Queries, keys and values `[rows, tokens, heads, width]`, the first two turned to their positions; keys and values of the cache, where
    /// there is one.
    private func projected(
        _ normed: Tensor, _ place: Decoder.Place, _ cache: KeyValueCache?, _ layer: Int,
        _ recorder: inout SignalRecorder
    ) throws -> (q: Tensor, k: Tensor, v: Tensor) {
        let c = configuration
        let (rows, tokens) = (normed.shape[0], normed.shape[1])
        /// `[rows, tokens, heads, width]`, turned to their positions unless they are values.
        func split(_ projected: Tensor, _ heads: Int, _ norm: RMSNormalization?, turns: Bool) throws -> Tensor {
            var y = projected
            if let norm { y = try norm(y.reshaped([rows * tokens, heads, c.headWidth])) }
            if turns {
                y = try y.reshaped([rows * tokens, heads * c.headWidth]).rotated(
                    place.table, positions: place.positions, heads: heads)
            }
            return try y.reshaped([rows, tokens, heads, c.headWidth])
        }
        let (q, k, v) = (
            try split(query(normed), c.heads, queryNorm, turns: true),
            try split(key(normed), c.keyValueHeads, keyNorm, turns: true),
            try split(value(normed), c.keyValueHeads, nil, turns: false)
        )
        if recorder.wantsAny {
            for (name, signal) in [("queries", q), ("keys", k), ("values", v)] {
                recorder.keep(SignalNames.path(layer, name), signal)
            }
        }
        guard let (all, values) = try cache?.extend(layer, keys: k, values: v) else { return (q, k, v) }
        return (q, all, values)
    }

    /// activation(gate) · up of the norm of x.
    /// - Parameter isRead: tokens are read, not learned from: a layer that is computed again for its gradients must find the same bits.
    private func activated(_ x: Tensor, isRead: Bool) throws -> Tensor {
        if isRead, let y = try feedForwardInputs.gated(configuration.activation, x, after: after) { return y }
        let inner = try after(x)
        return try Tensor.gated(configuration.activation, gate: gate(inner), up: up(inner))
    }
}
