/// How many rows (tokens) of logits a chunked loss holds at a time.
public enum ChunkSize: Sendable, Equatable {
    /// An eighth of the rows, which is at most about a tenth of what all logits and their gradient take; not more than fit in
    /// `automaticBytes`, but never fewer than `leastRows`.
    case automatic
    /// As many as fit in this many bytes, at least one.
    case bytes(Int)
    case rows(Int)

    public static let automaticBytes = 256 << 20
    /// Each chunk reads the heads anew: a product of fewer rows waits for memory, not for arithmetic.
    public static let leastRows = 128

    /// Rows of a chunk, at least 1.
    /// - Parameter bytesOfRow: what one row takes in all buffers of a chunk.
    /// - Throws: `TensorError` for a size that is not positive.
    func rows(of total: Int, bytesOfRow: Int) throws -> Int {
        let most: Int
        switch self {
        case .automatic:
            most = max(Self.leastRows, min((total + 7) / 8, Self.automaticBytes / max(1, bytesOfRow)))
        case .bytes(let bytes):
            guard bytes > 0 else { throw TensorError("a chunk of \(bytes) bytes: give a positive number") }
            most = max(1, bytes / max(1, bytesOfRow))
        case .rows(let rows):
            guard rows > 0 else { throw TensorError("a chunk of \(rows) rows: give a positive number") }
            most = rows
        }
        return max(1, min(total, most))
    }
}
