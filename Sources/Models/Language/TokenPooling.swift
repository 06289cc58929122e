import RetortKernels
import RetortRuntime

/// How the vectors of a text's tokens become one.
public enum TokenPooling: String, Sendable, CaseIterable {
    /// Their mean.
    case mean
    /// The first token's.
    case cls
    /// The largest number of each column.
    case max

    /// - `hidden`: `[rows, tokens, hidden]`, f32 or bf16.
    /// - Returns: `[rows, hidden]`, fp32 always; padding does not count.
    public func callAsFunction(_ hidden: Tensor, _ tokens: TokenBatch) throws -> Tensor {
        guard hidden.rank == 3, hidden.shape[0] == tokens.rows, hidden.shape[1] == tokens.length else {
            throw TensorError("pooling of \(hidden.shape) over \(tokens.rows) rows of \(tokens.length) tokens")
        }
        let (rows, length, width) = (tokens.rows, tokens.length, hidden.shape[2])
        switch self {
        case .cls: return try hidden.narrowed(axis: 1, 0..<1).reshaped([rows, width]).stored(as: .f32)
        case .mean:
            // A mean over what counts is a product with its weights.
            var weights = [Float](repeating: 1 / Float(length), count: rows * length)
            if let valid = tokens.valid {
                for row in 0..<rows {
                    let places = (row * length)..<((row + 1) * length)
                    let count = valid[places].count { $0 }
                    for place in places { weights[place] = valid[place] ? 1 / Float(count) : 0 }
                }
            }
            return try Tensor(weights, [rows, 1, length], on: Device(hidden.device)).matmul(hidden)
                .reshaped([rows, width])
        case .max:
            let hidden = try hidden.stored(as: .f32)
            guard let valid = tokens.valid, valid.contains(false) else { return try hidden.max(1) }
            let below = valid.map { $0 ? Float(0) : -1e9 }
            return try (hidden + Tensor(below, [rows, length, 1], on: Device(hidden.device))).max(1)
        }
    }
}
