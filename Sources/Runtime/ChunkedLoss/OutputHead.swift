/// The last layer of a model, as the losses take it that never form all logits: z = x · weightᵀ + bias, and cap · tanh(z / cap) of it where
/// logits are bounded (Gemma 2, arXiv:2408.00118).
public struct OutputHead {
    /// `[rows, hidden]`; of a tied head it is the embedding, whose gradient is then the sum of both.
    public let weight: Tensor
    /// `[rows]`.
    public let bias: Tensor?
    /// What logits stay below in size; nil leaves them as they are.
    public let softCap: Float?
    /// How many of the rows are used, the first ones: tables are often longer than their vocabulary.
    public let classes: Int

    /// - `classes`: nil for all rows.
    /// - Throws: `TensorError` where shapes do not fit, or a cap is not positive.
    public init(weight: Tensor, bias: Tensor? = nil, softCap: Float? = nil, classes: Int? = nil) throws {
        guard weight.rank == 2 else { throw TensorError("a head's weight is [rows, hidden]; this is \(weight.shape)") }
        let rows = weight.shape[0]
        guard bias.map({ $0.shape == [rows] }) ?? true else {
            throw TensorError("a head of \(rows) rows with a bias of shape \(bias?.shape ?? [])")
        }
        guard softCap.map({ $0 > 0 && $0.isFinite }) ?? true else {
            throw TensorError("a soft cap of \(softCap ?? 0): it must be positive")
        }
        guard (0...rows).contains(classes ?? rows) else {
            throw TensorError("\(classes ?? rows) classes of a head of \(rows) rows")
        }
        self.weight = weight
        self.bias = bias
        self.softCap = softCap
        self.classes = classes ?? rows
    }

    /// Numbers of one hidden state.
    public var hidden: Int { weight.shape[1] }

    /// The same head with its first rows only; nothing is copied.
    public func narrowed(to classes: Int) throws -> OutputHead {
        try OutputHead(weight: weight, bias: bias, softCap: softCap, classes: classes)
    }

    /// A head of chosen rows in this order, a copy; gradients find their way back to the whole head.
    /// - Throws: `TensorError` for a row that is not there.
    public func gathered(_ rows: [Int32]) throws -> OutputHead {
        let bias = try bias.map { bias in
            try bias.reshaped([bias.count, 1]).gatherRows(rows, shape: [rows.count]).reshaped([rows.count])
        }
        return try OutputHead(
            weight: try weight.gatherRows(rows, shape: [rows.count]), bias: bias, softCap: softCap)
    }

    /// The head of some classes in this order: narrowed where they are its first ones, else gathered.
    /// - Throws: `TensorError` for a row that is not there.
    public func restricted(to rows: [Int32]) throws -> OutputHead {
        rows.elementsEqual(0..<Int32(rows.count)) ? try narrowed(to: rows.count) : try gathered(rows)
    }

    /// All logits at once: `[..., hidden]` → `[..., classes]`.
    public func logits(_ x: Tensor) throws -> Tensor {
        let isWhole = classes == weight.shape[0]
        let z = try x.linear(
            isWhole ? weight : weight.slice(0..<classes), bias: isWhole ? bias : bias?.slice(0..<classes),
            storedAs: .f32)
        guard let softCap else { return z }
        return try (z * (1 / softCap)).map(.tanh) * softCap
    }
}
