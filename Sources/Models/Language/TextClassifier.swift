import RetortKernels
import RetortRuntime
import RetortSupport

/// An encoder with a classification head and its tokenizer: texts or pairs of texts in, a number for each class out.
public struct TextClassifier {
    public let model: any EncoderModel
    /// The classes' names, by number.
    public let classes: [String]
    /// Whether its numbers are values, not classes.
    public let isRegression: Bool
    public let tokenizer: Tokenizer

    /// A directory's, frozen.
    /// - `dtype`: what its matrices are stored as, f32 or bf16; it computes in fp32.
    /// - Throws: `RetortError` 65 or 66 for the directory; 65 for a model without such a head, or with one that may choose several classes
    ///   at once.
    public init(_ folder: String, dtype: DType = .f32, on device: Device) throws {
        model = try EncoderDirectory.load(folder, on: device, trains: false, dtype: dtype).model
        let config = JSONCursor(model.json, file: folder + "/config.json")
        guard case .classification(let count) = model.head else {
            throw RetortError.badData("the model has no classification head", at: .init(file: config.file))
        }
        let problem = try config.optional("problem_type")
        if let problem, try problem.string() == EncoderConfiguration.Problem.multiLabel.rawValue {
            throw problem.failure("a text of one class each is supported, not one of several")
        }
        isRegression =
            try problem.map { try $0.string() == EncoderConfiguration.Problem.regression.rawValue } ?? (count == 1)
        classes = try EncoderDirectory.classNames(config, count)
        tokenizer = try Tokenizer.load(folder)
        guard tokenizer.idLimit <= model.vocabulary else {
            throw RetortError.badData(
                "the tokenizer has ids up to \(tokenizer.idLimit - 1), the model \(model.vocabulary) tokens",
                at: .init(file: folder))
        }
    }

    /// Logits of texts, row-major `[texts, classes]`, in their order.
    /// - Parameters:
    ///   - texts: each one text, or a pair.
    ///   - length: tokens read of each at most; nil: as many as the model has positions.
    ///   - rows: texts read at once; it changes nothing but speed and memory.
    /// - Throws: `RetortError` 65 for a text of which the tokenizer makes no token; 75 when a signal asked to stop.
    public func logits(_ texts: [[String]], length: Int? = nil, rows: Int = 32) throws -> [Float] {
        model.setTraining(false)
        let cut = Truncation(length: min(length ?? tokenizer.truncation?.length ?? .max, model.maxPositions))
        let encodings = try texts.enumerated().map { index, parts in
            let encoding =
                parts.count == 2
                ? try tokenizer.encode(parts[0], parts[1], truncation: cut)
                : try tokenizer.encode(parts[0], truncation: cut)
            guard encoding.count > 0 else {
                throw RetortError.badData(
                    "text \(index + 1) is empty", why: "the tokenizer puts no token around a text")
            }
            return encoding
        }
        // Texts of like length are read together: padding costs as much as text.
        let order = encodings.indices.sorted { (encodings[$0].count, $0) < (encodings[$1].count, $1) }
        let width = classes.count
        var logits = [Float](repeating: 0, count: texts.count * width)
        for start in stride(from: 0, to: order.count, by: rows) {
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
            let part = order[start..<min(order.count, start + rows)]
            let batch = try EncoderBatch(part.map { encodings[$0] }, padding: model.paddingToken)
            guard let values = try Autograd.withoutGradients({ try model.forward(batch).logits?.values() }) else {
                throw RetortError.internalBug("a classifier without logits")
            }
            for (row, index) in part.enumerated() {
                logits.replaceSubrange(
                    (index * width)..<((index + 1) * width), with: values[(row * width)..<((row + 1) * width)])
            }
        }
        return logits
    }
}
