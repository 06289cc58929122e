import RetortKernels

/// Which keys a query sees.
public struct AttentionMask: Sendable {
    /// Queries are the last tokens of the keys' sequence, and none sees a later key.
    public let isCausal: Bool
    /// A query sees its own key and the window − 1 before it; nil: all before it. Only with `isCausal`.
    public let window: Int?
    /// Row-major `[batch, keys]`: false for padding, which no query sees; nil: all count.
    public let validKeys: [Bool]?
    /// Row-major `[batch, keys]`: the document of each token of a packed row; a query sees its own only. nil: one document.
    public let documents: [Int32]?

    public init(isCausal: Bool, window: Int? = nil, validKeys: [Bool]? = nil, documents: [Int32]? = nil) {
        self.isCausal = isCausal
        self.window = window
        self.validKeys = validKeys
        self.documents = documents
    }

    private func check(_ batch: Int, _ queries: Int, _ keys: Int) throws {
        if let validKeys, validKeys.count != batch * keys {
            throw TensorError("\(validKeys.count) valid keys for \(batch) sequences of \(keys)")
        }
        if let documents, documents.count != batch * keys {
            throw TensorError("documents of \(documents.count) tokens for \(batch) sequences of \(keys)")
        }
        guard window ?? 1 > 0, window == nil || isCausal, !isCausal && documents == nil || queries <= keys else {
            throw TensorError("attention of \(queries) queries to \(keys) keys, window \(window ?? 0)")
        }
    }

    /// Whether rows of the batch see the same.
    private var isShared: Bool { validKeys == nil && documents == nil }

    /// Keys that the place of a query lets it see, documents and padding aside.
    private func reach(_ position: Int, _ keys: Int) -> Range<Int> {
        isCausal ? max(0, window.map { position - $0 + 1 } ?? 0)..<(position + 1) : 0..<keys
    }

    /// What is added to scores, 0 or −∞: `[batch or 1, 1, 1, queries, keys]`; nil when every query sees every key. A query that would see
    /// nothing, as padding at the beginning does, sees everything: whatever it answers is not looked at, but it must be a number.
    ///
    /// The same for all layers with one window: made once for a pass over the tokens, not once for each.
    public func bias(batch: Int, queries: Int, keys: Int, on device: ComputeDevice) throws -> Tensor? {
        try check(batch, queries, keys)
        guard isCausal || !isShared else { return nil }
        let rows = isShared ? 1 : batch
        var values = [Float](repeating: 0, count: rows * queries * keys)
        var hidesSome = false
        for row in 0..<rows {
            for query in 0..<queries {
                let position = keys - queries + query
                let reach = reach(position, keys)
                func sees(_ key: Int) -> Bool {
                    reach.contains(key) && validKeys?[row * keys + key] ?? true
                        && (documents.map { $0[row * keys + key] == $0[row * keys + position] } ?? true)
                }
                let hidden = (0..<keys).filter { !sees($0) }
                guard hidden.count < keys, !hidden.isEmpty else { continue }
                hidesSome = true
                for key in hidden { values[(row * queries + query) * keys + key] = -.infinity }
            }
        }
        return hidesSome ? Tensor(try device.view(values, [rows, 1, 1, queries, keys]), device) : nil
    }

    /// What queries see, for `Tensor.flashAttention`.
    public enum Sight: Sendable {
        /// Every query every key.
        case everything
        case spans(AttentionSpans)
        /// Some query sees keys on both sides of one that it does not see: padding in the middle, a document in two pieces.
        case holes
    }

    /// The same as `bias` in numbers of tokens, not of their pairs; a query that would see nothing sees everything here too.
    public func sight(batch: Int, queries: Int, keys: Int, on device: ComputeDevice) throws -> Sight {
        try check(batch, queries, keys)
        guard isCausal || !isShared, batch * queries > 0 else { return .everything }
        let rows = isShared ? 1 : batch
        var values: [Int32] = []
        values.reserveCapacity(2 * rows * queries)
        var pairs = 0
        for row in 0..<rows {
            let order = DocumentOrder(self, row, keys)
            for position in (keys - queries)..<keys {
                guard let span = order.span(reach(position, keys), position) else { return .holes }
                let seen = span.isEmpty ? 0..<keys : span
                values += [Int32(seen.lowerBound), Int32(seen.upperBound)]
                pairs += seen.count
            }
        }
        guard pairs < rows * queries * keys else { return .everything }
        return .spans(
            AttentionSpans(view: try device.view(values, [rows, queries, 2], .i32), pairs: pairs / rows))
    }
}

/// Where the documents of a row begin and end, and which of its keys are valid, so that a query's span costs no walk over the keys.
private struct DocumentOrder {
    /// Of each key, its document's keys; nil without documents.
    private var runs: [Range<Int>]?
    /// Whether a document lies in two pieces.
    private var isTorn = false
    /// Valid keys before each key, and before the end; the first valid key at or behind each. nil where all are valid.
    private var valid: (before: [Int], next: [Int])?

    init(_ mask: AttentionMask, _ row: Int, _ keys: Int) {
        if let documents = mask.documents?[(row * keys)..<((row + 1) * keys)] {
            var ranges: [Range<Int>] = []
            var known: Set<Int32> = []
            var start = 0
            for key in 1...max(1, keys)
            where key == keys || documents[row * keys + key] != documents[row * keys + start] {
                isTorn = isTorn || !known.insert(documents[row * keys + start]).inserted
                ranges += [Range<Int>](repeating: start..<key, count: key - start)
                start = key
            }
            runs = ranges
        }
        if let all = mask.validKeys?[(row * keys)..<((row + 1) * keys)], all.contains(false) {
            var before = [0]
            for isValid in all { before.append(before[before.count - 1] + (isValid ? 1 : 0)) }
            var next = [Int](repeating: keys, count: keys + 1)
            for key in stride(from: keys - 1, through: 0, by: -1) {
                next[key] = before[key + 1] > before[key] ? key : next[key + 1]
            }
            valid = (before, next)
        }
    }

    /// The valid keys of the position's document within reach; nil where they have holes.
    func span(_ reach: Range<Int>, _ position: Int) -> Range<Int>? {
        guard !isTorn else { return nil }
        let span = runs.map { reach.clamped(to: $0[position]) } ?? reach
        guard let valid, !span.isEmpty else { return span }
        let count = valid.before[span.upperBound] - valid.before[span.lowerBound]
        let first = valid.next[span.lowerBound]
        guard count > 0 else { return first..<first }
        return valid.before[first + count] - valid.before[first] == count ? first..<(first + count) : nil
    }
}

extension Tensor {
    /// Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762) with grouped queries (Ainslie et al. 2023, arXiv:2305.13245),
    /// composed of products and a softmax: it holds queries × keys, and is what a fused kernel is measured by.
    ///
    /// - self: queries `[batch, heads, queries, width]`.
    /// - `keys`, `values`: `[batch, kvHeads, keys, width]`; kvHeads divides heads, and head h uses kvHeads · h / heads.
    /// - `scale`: multiplies the scores before mask and bias, usually 1 / √width.
    /// - `mask`: of `AttentionMask.bias`: what queries do not see; nil: they see everything.
    /// - `bias`: `[batch, heads, queries, keys]`, added to the scores.
    /// - `dropout`: of the probabilities.
    /// - `softCap`: makes softCap · tanh(score / softCap) of each scaled score, before mask and bias (Gemma 2, arXiv:2408.00118).
    /// - Returns: `[batch, heads, queries, width]`, and the probabilities `[batch, heads, queries, keys]`, before dropout.
    public func attention(
        keys: Tensor, values: Tensor, scale: Float, mask: Tensor? = nil, bias: Tensor? = nil,
        dropout: DropoutLayer? = nil, softCap: Float? = nil
    ) throws -> (output: Tensor, probabilities: Tensor) {
        guard softCap.map({ $0 > 0 && $0.isFinite }) ?? true else {
            throw TensorError("attention with a soft cap of \(softCap ?? 0): it must be positive")
        }
        guard rank == 4, keys.rank == 4, values.rank == 4, keys.shape[0] == shape[0], keys.shape[3] == shape[3],
            values.shape.prefix(3) == keys.shape.prefix(3), keys.shape[1] > 0, shape[1] % keys.shape[1] == 0
        else {
            throw TensorError("attention of queries \(shape) to keys \(keys.shape) and values \(values.shape)")
        }
        let (batch, heads, queries, count, groups) = (shape[0], shape[1], shape[2], keys.shape[2], keys.shape[1])
        // The heads that share keys are rows of one product.
        let rows = heads / groups * queries
        var scores = try reshaped([batch, groups, rows, shape[3]]).matmul(keys.transposed(2, 3)).scaled(
            softCap.map { scale / $0 } ?? scale)
        if let softCap { scores = try scores.map(.tanh).scaled(softCap) }
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
