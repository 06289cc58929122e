import RetortRuntime

/// Token sequences of one length, padded where they are not.
public struct TokenBatch: Sendable {
    public let rows: Int
    public let length: Int
    /// Row-major `[rows, length]`.
    public let ids: [Int32]
    /// Row-major like `ids`: false for padding; nil: all count.
    public let valid: [Bool]?

    /// - Throws: `TensorError` when the counts do not fit.
    public init(_ ids: [Int32], rows: Int, valid: [Bool]? = nil) throws {
        guard rows > 0, !ids.isEmpty, ids.count % rows == 0, valid == nil || valid?.count == ids.count else {
            throw TensorError("\(ids.count) tokens in \(rows) rows, \(valid?.count ?? ids.count) of them marked")
        }
        self.ids = ids
        self.rows = rows
        self.valid = valid
        length = ids.count / rows
    }
}
