import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// An encoder and the texts of a run as it reads them: what it answers to some of them, its vectors or its head's numbers.
final class AnsweringEncoder {
    let encoder: SentenceEncoder
    private let encodings: EncodedTexts
    private let head: EncoderHead
    let device: Device

    /// - Parameter encodings: of all texts of the run, by number, made by its tokenizer.
    init(_ encoder: SentenceEncoder, _ encodings: EncodedTexts, head: EncoderHead, on device: Device) {
        (self.encoder, self.encodings, self.head, self.device) = (encoder, encodings, head, device)
    }

    /// An encoder of vectors from a directory, frozen.
    /// - Parameters:
    ///   - texts: what it will be asked about.
    ///   - length: tokens of each at most, where the directory does not say fewer; nil: as it says.
    ///   - dtype: what its matrices are stored as.
    /// - Throws: `RetortError` 65 or 66 for the directory; 65 for a text of which the tokenizer makes no token; 73, 74.
    convenience init(
        vectorsOf folder: String, _ texts: TextSet, length: Int?, dtype: DType, on device: Device
    ) throws {
        var settings = try SentenceSettings(in: folder)
        if let length { settings.length = min(length, settings.length ?? length) }
        let encoder = try SentenceEncoder(folder, settings: settings, dtype: dtype, on: device)
        self.init(
            encoder, try texts.encoded(encoder.tokenizer, length: encoder.readLength), head: .none, on: device)
    }

    var model: any EncoderModel { encoder.model }

    /// Where a text's vector, or what the classifier sees of it, is found among the signals.
    static let embedding = "embedding"
    static let catalog = SignalCatalog(stages: [], embedding: embedding)

    /// Numbers of an answer.
    var width: Int { if case .classification(let classes) = head { classes } else { model.hidden } }
    /// Numbers of the embedding.
    var embeddingWidth: Int { model.hidden }

    /// The tokens of texts, by their numbers.
    func tokens(_ numbers: [Int32]) throws -> EncoderBatch {
        try device.dataTimes.counting(.preparing) {
            try EncoderBatch(numbers.map { encodings[Int($0)] }, padding: model.paddingToken)
        }
    }

    /// Texts by their numbers: `[texts, width]` on the tape, fp32 as its signals are. Without a head the answer is the vector, which then is the
    /// embedding too.
    /// - Parameter paths: signals of the model to keep beside the embedding.
    func answer(_ numbers: [Int32], capturing paths: Set<String> = []) throws -> ModelOutput {
        let batch = try tokens(numbers)
        // Losses are made of operations on fp32.
        func shown(_ output: EncoderOutput) throws -> [String: Tensor] {
            try output.signals.mapValues { try $0.stored(as: .f32) }
        }
        guard case .classification = head else {
            let output = try model.forward(batch, capturing: paths)
            let vectors = try encoder.settings.vectors(of: output.hidden, batch.tokens)
            return ModelOutput(logits: vectors, signals: try shown(output).merging([Self.embedding: vectors]) { $1 })
        }
        let output = try model.forward(batch, capturing: paths.union(["pooled"]))
        let signals = try shown(output)
        guard let logits = output.logits, let pooled = signals["pooled"] else {
            throw RetortError.internalBug("a classifier without logits")
        }
        return ModelOutput(logits: logits, signals: signals.merging([Self.embedding: pooled]) { $1 })
    }

    /// What it answers, on the host: row-major `[texts, width]`, in their order; and the embeddings where they are something else.
    /// - Throws: `RetortError` 75 when a signal asked to stop.
    func answers(
        _ numbers: [Int32], embeddings: Bool = false, said: (Int) -> Void = { _ in }
    ) throws -> (values: [Float], embeddings: [Float]) {
        model.setTraining(false)
        let lengths = numbers.map { encodings.length(of: Int($0)) }
        let order = numbers.indices.sorted {
            (lengths[$0], $0) < (lengths[$1], $1)
        }
        let wide = embeddings ? embeddingWidth : 0
        var values = [Float](repeating: 0, count: numbers.count * width)
        var vectors = [Float](repeating: 0, count: numbers.count * wide)
        for start in stride(from: 0, to: order.count, by: Self.rows) {
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
            let part = Array(order[start..<min(order.count, start + Self.rows)])
            let output = try Autograd.withoutGradients { try answer(part.map { numbers[$0] }) }
            try Self.scatter(output.logits, part, width, into: &values)
            if wide > 0, let signal = output.signals[Self.embedding] {
                try Self.scatter(signal, part, wide, into: &vectors)
            }
            said(start + part.count)
        }
        return (values, vectors)
    }

    /// Texts read at once; it changes nothing but speed and memory.
    private static let rows = 32

    private static func scatter(_ rows: Tensor, _ places: [Int], _ width: Int, into all: inout [Float]) throws {
        let values = try rows.values()
        for (row, place) in places.enumerated() {
            all.replaceSubrange(
                (place * width)..<((place + 1) * width), with: values[(row * width)..<((row + 1) * width)])
        }
    }
}
