import RetortKernels
import RetortRuntime

/// How the log-probability of an answer is made of its tokens'.
public enum AnswerLikelihood: Sendable {
    /// Σ ln q(token): of the answer as a whole; a longer one is less likely.
    case sum
    /// The mean of ln q(token): lengths do not count.
    case mean

    /// ln q(answer) of each row, `[rows]`, in nats.
    /// - Parameters:
    ///   - tokens: ln q(token) `[rows · length]`, 0 where no token of an answer follows.
    ///   - labels: `[rows · length]`, negative there.
    ///   - rows: answers.
    public func callAsFunction(_ tokens: Tensor, _ labels: [Int32], rows: Int) throws -> Tensor {
        let length = labels.count / max(1, rows)
        let sums = try tokens.reshaped([rows, length]).sum(1)
        guard self == .mean else { return sums }
        let shares = (0..<rows).map { row in
            1 / Float(max(1, labels[row * length..<(row + 1) * length].count { $0 >= 0 }))
        }
        return try sums * Tensor(shares, [rows], on: Device(tokens.device))
    }

    /// In a contract, behind "ln q(answer)".
    var words: String {
        switch self {
        case .sum: "summed over its tokens"
        case .mean: "mean over its tokens"
        }
    }
}

/// How likely the two answers to each of some prompts are, the log-probabilities `[pairs]` in nats: what preference losses are made of.
public struct AnswerPairs {
    /// ln q of the better answers and of the worse ones.
    public let chosen: Tensor
    public let rejected: Tensor
    /// The same of the reference model, constants; nil where a loss has none.
    public let reference: (chosen: Tensor, rejected: Tensor)?

    public init(chosen: Tensor, rejected: Tensor, reference: (chosen: Tensor, rejected: Tensor)? = nil) {
        (self.chosen, self.rejected, self.reference) = (chosen, rejected, reference)
    }

    /// ln q(chosen) − ln q(rejected), less the same of the reference.
    func margin() throws -> Tensor {
        let own = try chosen - rejected
        return try reference.map { try own - ($0.chosen - $0.rejected) } ?? own
    }

    /// ln q − ln r of the better answers and of the worse ones.
    func ratios() throws -> (chosen: Tensor, rejected: Tensor) {
        guard let reference else { throw TensorError("a loss of answers beside a reference, without one") }
        return (try chosen - reference.chosen, try rejected - reference.rejected)
    }
}

extension AnswerPairs {
    /// Of the rows of a batch, in turns the better and the worse answer to a prompt.
    init(_ input: LanguageInput, _ likelihood: AnswerLikelihood) throws {
        let rows = input.tokens.rows
        guard rows > 0, rows.isMultiple(of: 2) else { throw TensorError("pairs of answers in \(rows) rows") }
        func halves(_ tokens: Tensor) throws -> (chosen: Tensor, rejected: Tensor) {
            let pairs = try likelihood(tokens, input.targets, rows: rows).reshaped([rows / 2, 2])
            return (
                try pairs.narrowed(axis: 1, 0..<1).reshaped([rows / 2]),
                try pairs.narrowed(axis: 1, 1..<2).reshaped([rows / 2])
            )
        }
        let own = try halves(input.hidden.chunkedLogProbabilities(input.labels, head: input.head, chunk: input.chunk))
        self.init(chosen: own.chosen, rejected: own.rejected, reference: try input.reference.map(halves))
    }
}
