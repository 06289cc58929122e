/// How many rows (tokens) of logits a chunked loss holds at a time.
public enum ChunkSize: Sendable, Equatable {
    /// An eighth of the rows, which is at most about a tenth of what all logits and their gradient take; not more than fit in
    /// `automaticBytes`, but never fewer than `leastRows`.
    case automatic
    /// As many as fit in this many bytes, at least one; of a loss that holds a chunk many times over, with its copies.
    case bytes(Int)
    case rows(Int)

    public static let automaticBytes = 256 << 20
    /// Each chunk reads the heads anew: a product of fewer rows waits for memory, not for arithmetic.
    public static let leastRows = 128
    /// The same where a chunk is held many times over and a whole chunk of `leastRows` would not fit.
    static let leastComposedRows = 16
    /// What compositions hold of a chunk, about: sorted, in probabilities, in logarithms, and the gradients of all that.
    static let composedCopies = 10

    /// Rows of a chunk, at least 1.
    /// - Parameters:
    ///   - bytesOfRow: what one row takes in all buffers of a chunk.
    ///   - copies: how often a loss that is composed of operations holds that.
    /// - Throws: `TensorError` for a size that is not positive.
    func rows(of total: Int, bytesOfRow: Int, copies: Int = 1) throws -> Int {
        let most: Int
        switch self {
        case .automatic:
            let fitting = Self.automaticBytes / max(1, bytesOfRow * copies)
            let least =
                copies == 1 ? Self.leastRows : max(Self.leastComposedRows, min(Self.leastRows, fitting))
            most = max(least, min((total + 7) / 8, fitting))
        case .bytes(let bytes):
            guard bytes > 0 else { throw TensorError("a chunk of \(bytes) bytes: give a positive number") }
            most = max(1, bytes / max(1, bytesOfRow * copies))
        case .rows(let rows):
            guard rows > 0 else { throw TensorError("a chunk of \(rows) rows: give a positive number") }
            most = rows
        }
        return max(1, min(total, most))
    }
}
