import RetortKernels

/// Which keys a query sees.
public struct AttentionMask: Sendable {
    /// Queries are the last tokens of the keys' sequence, and none sees a later key.
    public let isCausal: Bool
    /// A query sees its own key and the window − 1 before it; nil: all before it. Only with `isCausal`.
    public let window: Int?
    /// Row-major `[batch, keys]`: false for padding, which no query sees; nil: all count.
    public let validKeys: [Bool]?

    public init(isCausal: Bool, window: Int? = nil, validKeys: [Bool]? = nil) {
        self.isCausal = isCausal
        self.window = window
        self.validKeys = validKeys
    }

    /// What is added to scores, 0 or −∞: `[batch or 1, 1, 1, queries, keys]`; nil when every query sees every key. A query that would see
    /// nothing, as padding at the beginning does, sees everything: whatever it answers is not looked at, but it must be a number.
    ///
    /// The same for all layers with one window: made once for a pass over the tokens, not once for each.
    public func bias(batch: Int, queries: Int, keys: Int, on device: ComputeDevice) throws -> Tensor? {
        guard isCausal || validKeys != nil else { return nil }
        if let validKeys, validKeys.count != batch * keys {
            throw TensorError("\(validKeys.count) valid keys for \(batch) sequences of \(keys)")
        }
        guard window ?? 1 > 0, window == nil || isCausal, !isCausal || queries <= keys else {
            throw TensorError("attention of \(queries) queries to \(keys) keys, window \(window ?? 0)")
        }
        let rows = validKeys == nil ? 1 : batch
        var values = [Float](repeating: 0, count: rows * queries * keys)
        var hidesSome = false
        for row in 0..<rows {
            for query in 0..<queries {
                let position = keys - queries + query
                func sees(_ key: Int) -> Bool {
                    let isNear = !isCausal || key <= position && (window.map { key > position - $0 } ?? true)
                    return isNear && validKeys?[row * keys + key] ?? true
                }
                let hidden = (0..<keys).filter { !sees($0) }
                guard hidden.count < keys, !hidden.isEmpty else { continue }
                hidesSome = true
                for key in hidden { values[(row * queries + query) * keys + key] = -.infinity }
            }
        }
        return hidesSome ? Tensor(try device.view(values, [rows, 1, 1, queries, keys]), device) : nil
    }
}

extension Tensor {
    /// Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762) with grouped queries (Ainslie et al. 2023, arXiv:2305.13245),
    /// composed of products and a softmax: it holds queries × keys, and is what a fused kernel is measured by.
    ///
    /// - self: queries `[batch, heads, queries, width]`.
    /// - Parameters:
    ///   - keys, values: `[batch, kvHeads, keys, width]`; kvHeads divides heads, and head h uses kvHeads · h / heads.
    ///   - scale: multiplies the scores before mask and bias, usually 1 / √width.
    ///   - mask: of `AttentionMask.bias`: what queries do not see; nil: they see everything.
    ///   - bias: `[batch, heads, queries, keys]`, added to the scores.
    ///   - dropout: of the probabilities.
    /// - Returns: `[batch, heads, queries, width]`, and the probabilities `[batch, heads, queries, keys]`, before dropout.
    public func attention(
        keys: Tensor, values: Tensor, scale: Float, mask: Tensor? = nil, bias: Tensor? = nil,
        dropout: DropoutLayer? = nil
    ) throws -> (output: Tensor, probabilities: Tensor) {
        guard rank == 4, keys.rank == 4, values.rank == 4, keys.shape[0] == shape[0], keys.shape[3] == shape[3],
            values.shape.prefix(3) == keys.shape.prefix(3), keys.shape[1] > 0, shape[1] % keys.shape[1] == 0
        else {
            throw TensorError("attention of queries \(shape) to keys \(keys.shape) and values \(values.shape)")
        }
        let (batch, heads, queries, count, groups) = (shape[0], shape[1], shape[2], keys.shape[2], keys.shape[1])
        // The heads that share keys are rows of one product.
        let rows = heads / groups * queries
        var scores = try reshaped([batch, groups, rows, shape[3]]).matmul(keys.transposed(2, 3)).scaled(scale)
        if let bias { scores = try scores + bias.reshaped(scores.shape) }
        if let mask { scores = try scores.reshaped([batch, groups, heads / groups, queries, count]) + mask }
        let probabilities = try scores.reshaped([batch, groups, rows, count]).softmax()
        let output = try (dropout.map { try $0(probabilities) } ?? probabilities).matmul(values)
        return (
            try output.reshaped([batch, heads, queries, values.shape[3]]),
            try probabilities.reshaped([batch, heads, queries, count])
        )
    }
}
