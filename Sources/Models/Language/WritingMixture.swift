import RetortRuntime

/// A second model that has a say in what is written: tokens are drawn from share · its probabilities + (1 − share) · the writer's, both read
/// in lock-step. MiniLLM's sampling (Gu et al. 2024, arXiv:2306.08543), where the teacher keeps the student from texts that game the loss.
public struct WritingMixture {
    public let model: any LanguageModel
    /// 0 to 1.
    public let share: Float

    public init(_ model: any LanguageModel, share: Float) {
        self.model = model
        self.share = share
    }
}

/// Reads what is written with the second model of a mixture.
struct MixtureReader {
    private let reader: CachedReader
    private let share: Float

    /// - Parameters:
    ///   - writer: the writer's vocabulary.
    ///   - limit: the tokens that are written, the first ones; nil: all.
    /// - Throws: `TensorError` for a model of another vocabulary, unless what is written is among the tokens of both, and for an impossible
    ///   share.
    init(_ mixture: WritingMixture, writer: Int, limit: Int? = nil) throws {
        let other = mixture.model.vocabulary
        guard other == writer || limit.map({ $0 <= min(other, writer) }) ?? false else {
            throw TensorError("a mixture of vocabularies of \(writer) and \(other) tokens")
        }
        guard (0...1).contains(mixture.share) else { throw TensorError("a share of \(mixture.share) of a mixture") }
        mixture.model.setTraining(false)
        reader = CachedReader(mixture.model, vocabulary: min(limit ?? other, other))
        share = mixture.share
    }

    /// ln of the mixed probabilities `[rows, vocabulary]`, on the writer's device.
    /// - Parameter own: the writer's logits.
    func mixed(_ own: Tensor, _ tokens: TokenBatch) throws -> Tensor {
        var other = try reader.logits(tokens).softmax()
        let here = Device(own.device)
        if Device(other.device).description != here.description {
            other = try Tensor(other.values(), other.shape, on: here)
        }
        return try (own.softmax() * (1 - share) + other * share).log()
    }

    func keep(_ rows: [Int]) throws { try reader.keep(rows) }
    func leap(over tokens: Int) { reader.leap(over: tokens) }
}
