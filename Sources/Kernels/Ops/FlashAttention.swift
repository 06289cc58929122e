/// What each query sees, as one range of keys: causal attention, windows, padding at either end and packed documents are all that.
public struct AttentionSpans: Sendable {
    /// Int32 `[batch or 1, queries, 2]`: the first key that the query sees, and one past the last; equal or crossed: none.
    public let view: View
    /// Pairs of query and key that are seen, in a row of the batch on average: the work there is to do.
    public let pairs: Int

    public init(view: View, pairs: Int) {
        self.view = view
        self.pairs = pairs
    }
}

/// Scaled dot-product attention without queries × keys in memory: tiles of scores and a softmax that is corrected as larger scores turn
/// up (Milakov & Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135), with grouped queries (Ainslie et al. 2023,
/// arXiv:2305.13245): head h uses the keys of group h · groups / heads where they lie.
///
/// Queries and answers are f32 or bf16, and so are keys and values: a cache may be smaller than what asks it. All arithmetic is f32; answers
/// are rounded once.
///
/// A query that sees nothing answers 0 and has no gradient. Keys that a query does not see count for nothing, unless they or their values
/// are infinite or NaN.
///
/// Dropout: what is multiplied with values is what `dropout` would make of the dense probabilities `[batch, heads, queries, keys]`, its
/// first element their first; the log-sum-exp is of all keys. The mask is drawn in the tiles and never stored.
///
/// A soft cap c makes c · tanh(s / c) of a scaled score s before the softmax (Gemma 2, arXiv:2408.00118).
public struct FlashAttention: Op {
    /// Multiplies the scores; positive.
    public let scale: Float
    /// Of the probabilities; nil: all are kept.
    public let dropout: Dropout?
    /// What scores stay below in size; positive; nil: they are as they are.
    public let softCap: Float?
    public init(scale: Float, dropout: Dropout? = nil, softCap: Float? = nil) {
        self.scale = scale
        self.dropout = dropout
        self.softCap = softCap
    }

    /// Widths of a head that the kernels have registers for.
    public static let widths = 1...256

    public struct Operands {
        /// `[batch, queries, heads, width]`; strided, the last dimension adjacent.
        public let q: View
        /// `[batch, keys, groups, width]`; strided alike.
        public let k: View
        /// Like k, and stored as k is.
        public let v: View
        /// nil: every query sees every key.
        public let spans: AttentionSpans?
        /// Like q, and stored as q is.
        public let y: View
        /// ln Σ e^score `[batch, queries, heads]`; +∞ of a query that sees nothing.
        public let logSumExp: View

        public init(q: View, k: View, v: View, spans: AttentionSpans?, y: View, logSumExp: View) {
            self.q = q
            self.k = k
            self.v = v
            self.spans = spans
            self.y = y
            self.logSumExp = logSumExp
        }
    }
    public var name: String { "flash_attention" }
    public func validate(_ o: Operands) throws {
        try requireActivations(("q", o.q), ("y", o.y))
        try requireActivations(("k", o.k), ("v", o.v))
        try requireAttention(scale, dropout, softCap, o.q, o.k, o.v, o.spans, alike: [("y", o.y)], o.logSumExp)
    }
    public func cost(_ o: Operands) -> Cost {
        attentionCost(o.q, o.k, o.spans, dropout, products: 2, bytes: 2 * (o.q.byteCount + o.k.byteCount))
    }
}

/// The gradients of `FlashAttention`; each may be absent. Scores are computed again from the log-sum-exp. q, k, v and y are all f32 or all
/// bf16; gradients are f32.
public struct FlashAttentionBackward: Op {
    public let scale: Float
    /// The one of the forward pass: the same mask is drawn again.
    public let dropout: Dropout?
    /// That of the forward pass.
    public let softCap: Float?
    public init(scale: Float, dropout: Dropout? = nil, softCap: Float? = nil) {
        self.scale = scale
        self.dropout = dropout
        self.softCap = softCap
    }

    public struct Operands {
        public let q: View
        public let k: View
        public let v: View
        public let spans: AttentionSpans?
        public let y: View
        public let logSumExp: View
        /// Like y.
        public let dy: View
        /// Like q, k and v.
        public let dq: Output?
        public let dk: Output?
        public let dv: Output?

        public init(
            q: View, k: View, v: View, spans: AttentionSpans?, y: View, logSumExp: View, dy: View, dq: Output?,
            dk: Output?, dv: Output?
        ) {
            self.q = q
            self.k = k
            self.v = v
            self.spans = spans
            self.y = y
            self.logSumExp = logSumExp
            self.dy = dy
            self.dq = dq
            self.dk = dk
            self.dv = dv
        }
    }
    public var name: String { "flash_attention_backward" }
    public func validate(_ o: Operands) throws {
        try requireActivations(("q", o.q), ("k", o.k), ("v", o.v), ("y", o.y))
        try requireF32(("dy", o.dy))
        if let dq = o.dq { try requireF32(("dq", dq.view)) }
        try requireAttention(
            scale, dropout, softCap, o.q, o.k, o.v, o.spans,
            alike: [("y", o.y), ("dy", o.dy)] + (o.dq.map { [("dq", $0.view)] } ?? []), o.logSumExp)
        for (label, output) in [("dk", o.dk), ("dv", o.dv)] {
            guard let view = output?.view else { continue }
            try requireF32((label, view))
            try require(view.shape == o.k.shape, "\(label) \(view.shape) is not like k \(o.k.shape)")
            try require(adjacent(view), "\(label)'s last dimension is not adjacent: strides \(view.strides)")
        }
    }
    public func cost(_ o: Operands) -> Cost {
        let gradients = [o.dq, o.dk, o.dv].compactMap { $0?.view }
        return attentionCost(
            o.q, o.k, o.spans, dropout, products: 2 + gradients.count,
            bytes: 2 * (o.q.byteCount + o.k.byteCount) + gradients.reduce(o.dy.byteCount) { $0 + $1.byteCount })
    }
}

extension Op {
    /// Two flops for each number of each pair and product, and what it takes to draw a probability's mask.
    fileprivate func attentionCost(
        _ q: View, _ k: View, _ spans: AttentionSpans?, _ dropout: Dropout?, products: Int, bytes: Int
    ) -> Cost {
        let pairs = Double(q.shape[0]) * Double(spans?.pairs ?? q.shape[1] * k.shape[1])
        let each = 2 * Double(products) * Double(q.shape[3]) + (dropout == nil ? 0 : Dropout.flops)
        return Cost(flops: pairs * Double(q.shape[2]) * each, bytes: Double(bytes))
    }

    fileprivate func adjacent(_ view: View) -> Bool { view.shape[3] <= 1 || view.strides[3] == 1 }

    fileprivate func requireAttention(
        _ scale: Float, _ dropout: Dropout?, _ softCap: Float?, _ q: View, _ k: View, _ v: View,
        _ spans: AttentionSpans?, alike: [(String, View)], _ logSumExp: View
    ) throws {
        try require(scale > 0 && scale.isFinite, "the scale \(scale) is not positive")
        if let dropout { try require(dropout.isPossible, dropout.complaint) }
        if let softCap { try require(softCap > 0 && softCap.isFinite, "the soft cap \(softCap) is not positive") }
        try require(
            q.rank == 4 && k.rank == 4 && q.shape[0] == k.shape[0] && q.shape[3] == k.shape[3] && k.shape == v.shape
                && k.shape[2] > 0 && q.shape[2] % k.shape[2] == 0,
            "queries \(q.shape), keys \(k.shape) and values \(v.shape) do not fit: [batch, tokens, heads, width], heads divide"
        )
        let width = q.shape[3]
        try require(
            FlashAttention.widths.contains(width),
            "heads are \(width) wide, the kernels hold up to \(FlashAttention.widths.upperBound): use composed attention"
        )
        try require(
            q.shape[1] * q.shape[2] < 1 << 30 && k.shape[1] < 1 << 30, "more than 2³⁰ rows or keys in one sequence")
        for (label, view) in [("q", q), ("k", k), ("v", v)] + alike {
            try require(adjacent(view), "\(label)'s last dimension is not adjacent: strides \(view.strides)")
        }
        try requireF32(("logSumExp", logSumExp))
        for (label, view) in alike {
            try require(view.shape == q.shape, "\(label) \(view.shape) is not like q \(q.shape)")
        }
        try require(
            logSumExp.isContiguous && logSumExp.shape == [q.shape[0], q.shape[1], q.shape[2]],
            "logSumExp \(logSumExp.shape) is not dense \([q.shape[0], q.shape[1], q.shape[2]])")
        if let spans {
            let shape = spans.view.shape
            try require(
                spans.view.dtype == .i32 && spans.view.isContiguous
                    && (shape == [1, q.shape[1], 2] || shape == [q.shape[0], q.shape[1], 2]),
                "spans \(shape) of \(spans.view.dtype) are not i32 [\(q.shape[0]) or 1, \(q.shape[1]), 2]")
        }
    }
}

extension View {
    fileprivate var byteCount: Int { count * dtype.size }
}
