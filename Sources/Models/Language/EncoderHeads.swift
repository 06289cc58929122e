import RetortKernels
import RetortRuntime

/// Which token stands at each place: a layer with the encoder's activation, a norm, and the embedding once more, or a matrix of its own.
final class MaskedLanguageHead: Module {
    let children: [any Module]
    var isTraining = true
    private let transform: Linear
    private let norm: LayerNormalization
    private let bias: Parameter
    /// nil where the embedding is the matrix.
    private let matrix: Parameter?

    init(_ c: EncoderConfiguration) {
        transform = c.linear(c.names.transform, c.hidden, c.hidden, activation: c.activation)
        norm = LayerNormalization(c.names.transformNorm, columns: c.hidden, epsilon: c.epsilon)
        bias = Parameter(c.names.decoderBias, [c.vocabulary], .zeros)
        matrix =
            c.isTied
            ? nil
            : Parameter(
                c.names.decoder + ".weight", [c.vocabulary, c.hidden], .normal(deviation: c.initializerRange))
        children = [transform, norm]
    }

    var parameters: [Parameter] { children.flatMap { $0.parameters } + (matrix.map { [$0] } ?? []) + [bias] }

    /// x `[rows, tokens, hidden]` → what the matrix sees, of the same shape.
    func callAsFunction(_ x: Tensor, _ recorder: inout SignalRecorder) throws -> Tensor {
        let seen = try norm(transform(x))
        recorder.keep("transform", seen)
        return seen
    }

    /// The matrix and its bias. Words: `[vocabulary, hidden]`.
    func output(words: Tensor) throws -> OutputHead {
        try OutputHead(weight: matrix?.tensor ?? words, bias: bias.tensor)
    }
}

/// Classes of a text from its vector: DistilBERT's has a layer of its own in front.
final class ClassificationHead: Module {
    let children: [any Module]
    var isTraining = true
    private let before: Linear?
    private let dropout: DropoutLayer
    private let classifier: Linear

    init(_ c: EncoderConfiguration, classes: Int) {
        before = c.names.preClassifier.map { c.linear($0, c.hidden, c.hidden, activation: .relu) }
        dropout = DropoutLayer("classifier.dropout", probability: c.classifierDropout)
        classifier = c.linear("classifier", c.hidden, classes)
        children = (before.map { [$0] } ?? []) + [dropout, classifier]
    }

    /// text `[rows, hidden]` → `[rows, classes]`, fp32 whatever the text is stored as.
    func callAsFunction(_ text: Tensor, _ recorder: inout SignalRecorder) throws -> Tensor {
        let seen = try before.map { try $0(text) } ?? text
        recorder.keep("pooled", seen)
        return try classifier(dropout(seen), storedAs: .f32)
    }
}
