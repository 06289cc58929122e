import RetortKernels
import RetortRuntime
import RetortSupport

/// GPT-2 (Radford et al. 2019): layer norm, attention with learned positions, layer norm, feed-forward with GELU (tanh); the embedding is the
/// head. Weights of projections are `[inputs, outputs]`, as OpenAI's.
public final class GPT2: LanguageModel {
    public static let modelTypes = ["gpt2"]

    public let json: JSON
    public let vocabulary: Int
    public let maxPositions: Int
    public var isTraining = true
    public var checkpointsActivations = false
    public let children: [any Module]
    private let tokens: Embedding
    private let positions: Embedding
    private let blocks: [Block]
    private let norm: LayerNormalization
    private let dropout: DropoutLayer

    public init(_ config: JSONCursor) throws {
        json = config.value
        /// The names that all other models have for these sizes are taken too, as transformers takes them.
        func place(_ key: String, _ common: String) throws -> JSONCursor {
            try config.optional(common) ?? config.member(key)
        }
        func size(_ place: JSONCursor, most: Int = 1 << 24) throws -> Int { try place.int(in: 1...most) }
        vocabulary = try size(config.member("vocab_size"))
        maxPositions = try size(place("n_positions", "max_position_embeddings"))
        let hidden = try size(place("n_embd", "hidden_size"))
        let headCount = try place("n_head", "num_attention_heads")
        let heads = try size(headCount, most: 65536)
        guard hidden % heads == 0 else { throw headCount.failure("\(heads) heads do not divide \(hidden)") }
        let inner = try config.optional("n_inner")?.int(in: 1...(1 << 24)) ?? 4 * hidden
        let layers = try size(place("n_layer", "num_hidden_layers"), most: 4096)
        if let activation = try config.optional("activation_function"), try activation.string() != "gelu_new" {
            throw activation.failure("GPT-2 is computed with gelu_new only")
        }
        for (key, expected) in [
            ("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false), ("add_cross_attention", false),
            ("tie_word_embeddings", true),
        ] {
            if let flag = try config.optional(key), try flag.bool() != expected {
                throw flag.failure("only \(expected) is supported")
            }
        }
        let drops = Drops(
            attention: try config.dropout("attn_pdrop") ?? 0.1, sum: try config.dropout("resid_pdrop") ?? 0.1)
        dropout = DropoutLayer("transformer.drop", probability: try config.dropout("embd_pdrop") ?? 0.1)
        let epsilon = Float(try config.optional("layer_norm_epsilon")?.double(in: 0...1) ?? 1e-5)
        let start = Initializer.normal(
            deviation: Float(try config.optional("initializer_range")?.double(in: 0...10) ?? 0.02))
        tokens = Embedding("transformer.wte", rows: vocabulary, columns: hidden, initializer: start)
        positions = Embedding("transformer.wpe", rows: maxPositions, columns: hidden, initializer: start)
        blocks = (0..<layers).map {
            Block(
                "transformer.h.\($0).", hidden: hidden, heads: heads, inner: inner, epsilon: epsilon, start: start,
                drops: drops)
        }
        norm = LayerNormalization("transformer.ln_f", columns: hidden, epsilon: epsilon)
        children = [tokens, positions, dropout] + blocks + [norm]
    }

    public var layerCount: Int { blocks.count }
    public var signals: [String] { SignalNames.ofDecoder(layers: blocks.count) }

    public func head() throws -> OutputHead { try OutputHead(weight: tokens.weight.tensor) }

    public func hidden(_ batch: TokenBatch, cache: KeyValueCache?, capturing paths: Set<String>) throws -> HiddenStates
    {
        var recorder = SignalRecorder(paths)
        let past = cache?.length ?? 0
        let places = try batch.positions(after: past)
        let reached = Int(places.max() ?? 0) + 1
        guard reached <= maxPositions else {
            throw TensorError("\(reached) tokens, but the model has \(maxPositions) positions")
        }
        let shape: Dimensions = [batch.rows, batch.length]
        var x = try dropout(tokens(batch.ids, shape: shape) + positions(places, shape: shape))
        recorder.keep("embeddings", x)
        let pass = try AttentionPass(
            AttentionMask(isCausal: true, validKeys: batch.validKeys(after: past), documents: batch.documents), batch,
            past: past,
            on: x.device)
        for (index, block) in blocks.enumerated() {
            if checkpointsActivations, cache == nil, !recorder.wantsInside(of: index) {
                x = try x.recomputing { x in
                    var nothing = SignalRecorder([])
                    return try block(x, pass, cache: nil, layer: index, &nothing)
                }
            } else {
                x = try block(x, pass, cache: cache, layer: index, &recorder)
            }
            recorder.keep("layers.\(index).hidden", x)
        }
        cache?.advance(by: batch.length)
        x = try norm(x)
        recorder.keep("norm", x)
        return HiddenStates(last: x, signals: recorder.signals)
    }

    /// The first checkpoints have no prefix.
    public func storedNames(of parameter: String) -> [String] {
        [parameter, String(parameter.dropFirst("transformer.".count))]
    }

    /// Masks that were saved as buffers, and the tied head.
    public func passesOver(_ stored: String) -> Bool {
        stored.hasSuffix(".attn.bias") || stored.hasSuffix(".attn.masked_bias") || stored == "lm_head.weight"
    }

    public var tiedArrays: [TiedArray] {
        [
            TiedArray(
                stored: "lm_head.weight", parameter: tokens.weight.name, role: "the embedding", canBeUntied: false)
        ]
    }

    /// y = x · weight + bias, weight `[inputs, outputs]`.
    private final class Projection: Adaptable {
        let weight: Parameter
        let bias: Parameter
        let activation: MatmulActivation
        var isTraining = true
        var adapter: LowRankAdapter?

        init(_ name: String, _ inputs: Int, _ outputs: Int, _ start: Initializer, activation: MatmulActivation = .none)
        {
            weight = Parameter(name + ".weight", [inputs, outputs], start)
            bias = Parameter(name + ".bias", [outputs], .zeros)
            self.activation = activation
        }

        var isTransposed: Bool { true }
        var children: [any Module] { adapter.map { [$0] } ?? [] }
        var parameters: [Parameter] { [weight, bias] }

        func callAsFunction(_ x: Tensor) throws -> Tensor {
            let matrix = weight.tensor.transposed(0, 1)
            return try adapter?.product(x, weight: matrix, bias: bias.tensor, activation: activation)
                ?? x.linear(matrix, bias: bias.tensor, activation: activation)
        }
    }

    /// Probabilities of dropout inside a block: of attention's probabilities, and of what is added.
    private struct Drops {
        let attention: Float
        let sum: Float
    }

    private final class Block: Module {
        let children: [any Module]
        var isTraining = true
        private let heads: Int
        private let before: LayerNormalization
        private let all: Projection
        private let output: Projection
        private let after: LayerNormalization
        private let up: Projection
        private let down: Projection
        private let attentionDropout: DropoutLayer
        private let outputDropout: DropoutLayer
        private let downDropout: DropoutLayer

        init(
            _ name: String, hidden: Int, heads: Int, inner: Int, epsilon: Float, start: Initializer, drops: Drops
        ) {
            self.heads = heads
            before = LayerNormalization(name + "ln_1", columns: hidden, epsilon: epsilon)
            all = Projection(name + "attn.c_attn", hidden, 3 * hidden, start)
            output = Projection(name + "attn.c_proj", hidden, hidden, start)
            after = LayerNormalization(name + "ln_2", columns: hidden, epsilon: epsilon)
            up = Projection(name + "mlp.c_fc", hidden, inner, start, activation: .geluTanh)
            down = Projection(name + "mlp.c_proj", inner, hidden, start)
            attentionDropout = DropoutLayer(name + "attn.attn_dropout", probability: drops.attention)
            outputDropout = DropoutLayer(name + "attn.resid_dropout", probability: drops.sum)
            downDropout = DropoutLayer(name + "mlp.dropout", probability: drops.sum)
            children = [before, all, output, after, up, down, attentionDropout, outputDropout, downDropout]
        }

        func callAsFunction(
            _ x: Tensor, _ pass: AttentionPass, cache: KeyValueCache?, layer: Int, _ recorder: inout SignalRecorder
        ) throws -> Tensor {
            let (rows, tokens, hidden) = (x.shape[0], x.shape[1], x.shape[2])
            let width = hidden / heads
            let split = try all(before(x)).reshaped([rows, tokens, 3, heads, width])
            let heard = try attend(split, pass, cache, layer, &recorder)
            let mixed = try heard.reshaped([rows, tokens, hidden])
            let middle = try x + outputDropout(output(mixed))
            return try middle + downDropout(down(up(after(middle))))
        }

        private func attend(
            _ split: Tensor, _ pass: AttentionPass, _ cache: KeyValueCache?, _ layer: Int,
            _ recorder: inout SignalRecorder
        ) throws -> Tensor {
            let names =
                recorder.wantsAny
                ? ["queries", "keys", "values", "attention"].map { SignalNames.path(layer, $0) } : []
            if cache == nil, !names.contains(where: recorder.wants),
                let heard = try pass.packed(split, dropout: attentionDropout)
            {
                return heard
            }
            let (rows, tokens, width) = (split.shape[0], split.shape[1], split.shape[4])
            func part(_ i: Int) throws -> Tensor {
                try split.narrowed(axis: 2, i..<(i + 1)).reshaped([rows, tokens, heads, width])
            }
            let q = try part(0)
            var (k, v) = (try part(1), try part(2))
            for (name, signal) in zip(names, [q, k, v]) { recorder.keep(name, signal) }
            if let cache { (k, v) = try cache.extend(layer, keys: k, values: v) }
            let showing = names.last.map(recorder.wants) ?? false
            let (heard, attention) = try pass(q, k, v, dropout: attentionDropout, showing: showing)
            if let attention, let name = names.last { recorder.keep(name, attention) }
            return heard
        }
    }
}

/// What language models call their signals.
public enum SignalNames {
    static func ofDecoder(layers: Int) -> [String] {
        ["embeddings", "norm"]
            + (0..<layers).flatMap { layer in
                ["hidden", "attention", "queries", "keys", "values"].map { path(layer, $0) }
            }
    }

    /// Of a block, counted from 0.
    public static func path(_ layer: Int, _ signal: String) -> String { "layers.\(layer).\(signal)" }
}
