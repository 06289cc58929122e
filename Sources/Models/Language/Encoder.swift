import RetortKernels
import RetortRuntime
import RetortSupport

/// BERT (Devlin et al. 2018, arXiv:1810.04805) and DistilBERT (Sanh et al. 2019, arXiv:1910.01108): words, learned positions and types, then
/// blocks that normalise what they add, every token seeing all that are not padding.
public final class Encoder: EncoderModel {
    public static let modelTypes = EncoderConfiguration.modelTypes

    public let configuration: EncoderConfiguration
    public let head: EncoderHead
    public var isTraining = true
    /// Whether a block's inner numbers are computed again in backward instead of being kept (activation checkpointing). Blocks whose
    /// attention is captured are kept.
    public var checkpointsActivations = false
    public let children: [any Module]
    private let words: Embedding
    private let positions: Embedding
    /// nil for an encoder without types.
    private let types: Embedding?
    private let norm: LayerNormalization
    private let dropout: DropoutLayer
    private let blocks: [EncoderBlock]
    private let pooler: Linear?
    private let language: MaskedLanguageHead?
    private let classifier: ClassificationHead?

    public convenience init(_ config: JSONCursor, head: EncoderHead?) throws {
        let configuration = try EncoderConfiguration(config)
        let head = head ?? configuration.head
        if head == .maskedLanguage, !configuration.isTied, configuration.names.pooler != nil {
            // Hugging Face's BERT has two biases there, one of which does nothing.
            throw try config.member("tie_word_embeddings").failure(
                "a masked-language head of its own matrix is supported for distilbert only")
        }
        self.init(configuration, head: head)
    }

    init(_ configuration: EncoderConfiguration, head: EncoderHead) {
        let (c, n) = (configuration, configuration.names)
        self.configuration = c
        self.head = head
        let root = head == .none ? "" : n.prefix
        let start = Initializer.normal(deviation: c.initializerRange)
        func table(_ name: String, _ rows: Int, padding: Int32? = nil) -> Embedding {
            Embedding(
                root + "embeddings." + name, rows: rows, columns: c.hidden, initializer: start, paddingIndex: padding)
        }
        words = table("word_embeddings", c.vocabulary, padding: c.paddingToken)
        positions = table("position_embeddings", c.maxPositions)
        types = c.tokenTypes > 0 ? table("token_type_embeddings", c.tokenTypes) : nil
        norm = LayerNormalization(root + "embeddings.LayerNorm", columns: c.hidden, epsilon: c.epsilon)
        dropout = DropoutLayer(root + "embeddings.dropout", probability: c.dropout)
        blocks = (0..<c.layers).map { EncoderBlock(root + n.layers + "\($0).", c) }
        // As Hugging Face's: the one model without a pooler is the one that has no use for it.
        pooler =
            head == .maskedLanguage
            ? nil : n.pooler.map { c.linear(root + $0, c.hidden, c.hidden, activation: .tanh) }
        language = head == .maskedLanguage ? MaskedLanguageHead(c) : nil
        if case .classification(let classes) = head {
            classifier = ClassificationHead(c, classes: classes)
        } else {
            classifier = nil
        }
        children =
            ([words, positions, types, norm, dropout] as [(any Module)?]).compactMap { $0 } + blocks
            + ([pooler, language, classifier] as [(any Module)?]).compactMap { $0 }
    }

    public var json: JSON { configuration.json(with: head) }
    public var vocabulary: Int { configuration.vocabulary }
    public var hidden: Int { configuration.hidden }
    public var layerCount: Int { blocks.count }
    public var maxPositions: Int { configuration.maxPositions }
    public var paddingToken: Int32 { configuration.paddingToken ?? 0 }
    public var signals: [String] {
        ["embeddings"]
            + blocks.indices.flatMap { layer in
                ["hidden", "attention", "queries", "keys", "values"].map { SignalNames.path(layer, $0) }
            }
            + (pooler != nil || classifier != nil ? ["pooled"] : []) + (language != nil ? ["transform"] : [])
    }

    public func forward(_ batch: EncoderBatch, capturing paths: Set<String>) throws -> EncoderOutput {
        var recorder = SignalRecorder(paths)
        let x = try states(batch, &recorder)
        var logits: Tensor?
        if let language { logits = try vocabularyHead().logits(language(x, &recorder)) }
        if pooler != nil || classifier != nil {
            let first = try x.narrowed(axis: 1, 0..<1).reshaped([batch.tokens.rows, hidden])
            let text = try pooler.map { try $0(first) } ?? first
            if let classifier {
                logits = try classifier(text, &recorder)
            } else {
                recorder.keep("pooled", text)
            }
        }
        return EncoderOutput(hidden: x, logits: logits, signals: recorder.signals)
    }

    public func predicting(_ batch: EncoderBatch, capturing paths: Set<String>) throws -> HiddenStates {
        guard let language else { throw TensorError("the encoder has no masked-language head") }
        var recorder = SignalRecorder(paths)
        let x = try states(batch, &recorder)
        return HiddenStates(last: try language(x, &recorder), signals: recorder.signals)
    }

    public func vocabularyHead() throws -> OutputHead {
        guard let language else { throw TensorError("the encoder has no masked-language head") }
        return try language.output(words: words.weight.tensor)
    }

    /// Embeddings and blocks: `[rows, tokens, hidden]`.
    private func states(_ batch: EncoderBatch, _ recorder: inout SignalRecorder) throws -> Tensor {
        let length = batch.tokens.length
        guard length <= maxPositions else {
            throw TensorError("\(length) tokens, but the model has \(maxPositions) positions")
        }
        var x = try embed(batch)
        recorder.keep("embeddings", x)
        let pass = try AttentionPass(batch, on: x.device)
        for (index, block) in blocks.enumerated() {
            if checkpointsActivations, !recorder.wantsInside(of: index) {
                x = try x.recomputing { input in
                    var nothing = SignalRecorder([])
                    return try block(input, pass, layer: index, &nothing)
                }
            } else {
                x = try block(x, pass, layer: index, &recorder)
            }
            recorder.keep("layers.\(index).hidden", x)
        }
        return x
    }

    private func embed(_ batch: EncoderBatch) throws -> Tensor {
        let (rows, length) = (batch.tokens.rows, batch.tokens.length)
        let shape: Dimensions = [rows, length]
        let places = (0..<rows).flatMap { _ in (0..<length).map(Int32.init) }
        var x = try words(batch.tokens.ids, shape: shape) + positions(places, shape: shape)
        if let types {
            x = try x + types(batch.typeIDs ?? [Int32](repeating: 0, count: rows * length), shape: shape)
        }
        return try dropout(norm(x))
    }

    // MARK: Checkpoints

    /// With the encoder's prefix or without, whichever is not usual for this head; the first checkpoints call a norm's arrays gamma and beta.
    public func storedNames(of parameter: String) -> [String] {
        let prefix = configuration.names.prefix
        var names = [parameter]
        if head == .none {
            names.append(prefix + parameter)
        } else if parameter.hasPrefix(prefix) {
            names.append(String(parameter.dropFirst(prefix.count)))
        }
        return names
            + names.filter { $0.contains("LayerNorm.") }.map {
                $0.replacing("LayerNorm.weight", with: "LayerNorm.gamma")
                    .replacing("LayerNorm.bias", with: "LayerNorm.beta")
            }
    }

    /// Positions that old versions saved as a buffer, and heads and poolers that this model does not have.
    public func passesOver(_ stored: String) -> Bool {
        if isOfHead(stored) || stored.hasSuffix("embeddings.position_ids") { return true }
        guard head == .maskedLanguage, let pooler = configuration.names.pooler else { return false }
        return stored.hasPrefix(pooler) || stored.hasPrefix(configuration.names.prefix + pooler)
    }

    /// The matrix of the vocabulary, and BERT's second bias, of which one works.
    public var tiedArrays: [TiedArray] {
        guard head == .maskedLanguage, configuration.isTied else { return [] }
        let names = configuration.names
        let canBeUntied = names.pooler == nil
        return [
            TiedArray(
                stored: names.decoder + ".weight", parameter: words.weight.name, role: "the embedding",
                canBeUntied: canBeUntied),
            TiedArray(
                stored: names.decoder + ".bias", parameter: names.decoderBias, role: "the head's bias",
                canBeUntied: canBeUntied),
        ]
    }

    public func isOfHead(_ parameter: String) -> Bool {
        configuration.names.heads.contains { parameter.hasPrefix($0) }
    }
}

extension EncoderConfiguration {
    /// A projection that begins as Hugging Face's.
    func linear(_ name: String, _ inputs: Int, _ outputs: Int, activation: MatmulActivation = .none) -> Linear {
        let linear = Linear(name, inputs: inputs, outputs: outputs, activation: activation)
        linear.weight.initializer = .normal(deviation: initializerRange)
        linear.bias?.initializer = .zeros
        return linear
    }
}
