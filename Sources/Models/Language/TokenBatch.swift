import RetortRuntime

/// Token sequences of one length, padded where they are not, or packed with several documents each.
public struct TokenBatch: Sendable {
    public let rows: Int
    public let length: Int
    /// Row-major `[rows, length]`.
    public let ids: [Int32]
    /// Row-major like `ids`: false for padding; nil: all count.
    public let valid: [Bool]?
    /// Row-major like `ids`: a number for each document of a row, the same for its tokens, which are neighbours. Tokens see their own
    /// document only, and positions start again with each. nil: a row is one document.
    public let documents: [Int32]?
    /// Of each row how many tokens in front are padding, those in a cache among them: what is written behind prompts of different lengths
    /// has one place in all rows. nil: none.
    public let padding: [Int]?

    /// - Throws: `TensorError` when the counts do not fit.
    public init(_ ids: [Int32], rows: Int, valid: [Bool]? = nil, documents: [Int32]? = nil) throws {
        guard rows > 0, !ids.isEmpty, ids.count % rows == 0, valid == nil || valid?.count == ids.count else {
            throw TensorError("\(ids.count) tokens in \(rows) rows, \(valid?.count ?? ids.count) of them marked")
        }
        guard documents == nil || documents?.count == ids.count else {
            throw TensorError("\(ids.count) tokens, \(documents?.count ?? 0) of them with their document")
        }
        self.ids = ids
        self.rows = rows
        self.valid = valid
        self.documents = documents
        padding = nil
        length = ids.count / rows
    }

    /// Rows with padding in front, or what follows them.
    /// - Throws: `TensorError` when the counts do not fit.
    init(_ ids: [Int32], padding: [Int]) throws {
        guard !padding.isEmpty, !ids.isEmpty, ids.count % padding.count == 0, padding.allSatisfy({ $0 >= 0 }) else {
            throw TensorError("\(ids.count) tokens in \(padding.count) rows")
        }
        self.ids = ids
        rows = padding.count
        length = ids.count / rows
        self.padding = padding
        (valid, documents) = (nil, nil)
    }

    /// Prompts side by side, all ending at one place.
    /// - Parameter pad: fills up the shorter ones; nobody looks at it.
    init(prompts: [[Int32]], pad: Int32) throws {
        let longest = prompts.map(\.count).max() ?? 0
        let padding = prompts.map { longest - $0.count }
        try self.init(
            zip(prompts, padding).flatMap { [Int32](repeating: pad, count: $1) + $0 }, padding: padding)
    }

    /// Row-major `[rows, past + length]`: which keys count, behind `past` tokens that were read before; nil: all.
    func validKeys(after past: Int) -> [Bool]? {
        guard let padding, padding.contains(where: { $0 > 0 }) else { return valid }
        return padding.flatMap { front in (0..<(past + length)).map { $0 >= front } }
    }

    /// The place of each token in its document, row-major, behind `past` tokens that were read before.
    func positions(after past: Int) throws -> [Int32] {
        if let padding {
            return padding.flatMap { front in (past..<(past + length)).map { Int32(max(0, $0 - front)) } }
        }
        guard let documents else { return (0..<rows).flatMap { _ in (past..<(past + length)).map(Int32.init) } }
        guard past == 0 else { throw TensorError("packed documents behind \(past) tokens in a cache") }
        var positions: [Int32] = []
        for at in ids.indices {
            let continues = at % length > 0 && documents[at] == documents[at - 1]
            positions.append(continues ? positions[at - 1] + 1 : 0)
        }
        return positions
    }
}
