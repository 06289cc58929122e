import RetortKernels
import RetortModels
import RetortRuntime

/// Scores of how tokens relate, and how far two models' are apart.
extension Tensor {
    /// Vectors `[rows, tokens, heads, width]` by heads, `[rows, heads, tokens, width]`, where heads may be cut anew.
    /// - Parameter heads: nil: as they are.
    public func byHeads(_ heads: Int? = nil) throws -> Tensor {
        let heads = heads ?? shape[2]
        let width = shape[2] * shape[3] / heads
        let (rows, tokens) = (shape[0], shape[1])
        return try reshaped([rows, tokens, heads, width]).permuted([0, 2, 1, 3]).reshaped([rows, heads, tokens, width])
    }

    /// x·yᵀ/√width `[rows, heads, tokens, tokens]` of `[rows, heads, tokens, width]`.
    public func relationScores(_ other: Tensor) throws -> Tensor {
        try matmul(other.transposed(2, 3)) * (1 / Float(shape[3]).squareRoot())
    }

    /// KL(teacher‖student) of the softmax of scores `[rows, heads, tokens, tokens]`, mean over heads, weighed token by token: a scalar in nats.
    /// - `hidden`: added to both, `[rows or 1, 1, tokens, tokens]`: large and negative where a token is not to be seen.
    /// - `weights`: `[rows, tokens]`.
    public func relationDivergence(_ teacher: Tensor, hidden: Tensor?, weights: Tensor) throws -> Tensor {
        func logs(_ scores: Tensor) throws -> Tensor { try (hidden.map { try scores + $0 } ?? scores).logSoftmax() }
        let perHead = try Tensor.klDivergence(logs(teacher), logs(self))
        return try (perHead.mean(1) * weights).sum()
    }

    /// Squared difference of scores `[rows, heads, tokens, tokens]`, mean over heads, weighed pair by pair: a scalar.
    /// - `weights`: `[rows, tokens, tokens]`.
    public func scoreDistance(_ teacher: Tensor, weights: Tensor) throws -> Tensor {
        try ((self - teacher).squared().mean(1) * weights).sum()
    }
}

extension LanguageInput {
    /// Which tokens see which, as the models have it: before them (of an encoder everywhere), in the same document, no padding.
    struct Sight {
        /// `[rows, 1, tokens, tokens]`: −10⁹ where a token is not seen. A number, for 0 · −∞ is none.
        let hidden: Tensor
        /// `[rows, tokens, tokens]`: the token's weight over the tokens it sees; 0 for those it does not.
        let pairs: Tensor
    }

    func sight() throws -> Sight {
        let (rows, length) = (tokens.rows, tokens.length)
        var hidden = [Float](repeating: -1e9, count: rows * length * length)
        var pairs = [Float](repeating: 0, count: rows * length * length)
        for row in 0..<rows {
            for query in 0..<length {
                let at = row * length + query
                let seen = (0...(isCausal ? query : length - 1)).filter { key in
                    let place = row * length + key
                    return tokens.valid?[place] ?? true
                        && tokens.documents.map { $0[place] == $0[at] } ?? true
                }
                // A token that would see nothing sees itself: it does not count, but it must be a number.
                for key in seen.isEmpty ? [query] : seen { hidden[at * length + key] = 0 }
                for key in seen { pairs[at * length + key] = 1 / Float(seen.count) }
            }
        }
        let device = Device(self.hidden.device)
        let weights = weightsOfTokens([rows, length, 1])
        return Sight(
            hidden: try Tensor(hidden, [rows, 1, length, length], on: device),
            pairs: try Tensor(pairs, [rows, length, length], on: device) * weights)
    }
}
