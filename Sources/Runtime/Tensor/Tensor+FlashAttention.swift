import RetortKernels

extension Tensor {
    /// Scaled dot-product attention with grouped queries that never holds queries × keys (see `FlashAttention`); `attention` is the composed
    /// one, which it equals to rounding. Nothing is copied: all three may be strided views whose last dimension is adjacent.
    ///
    /// - self: queries `[batch, queries, heads, width]`, width at most 256.
    /// - `keys`, `values`: `[batch, keys, kvHeads, width]`; kvHeads divides heads, and head h uses kvHeads · h / heads.
    /// - `scale`: multiplies the scores, usually 1 / √width; positive.
    /// - `spans`: of `AttentionMask.sight`: what queries see; nil: every key.
    /// - `dropout`: of the probabilities, which drops what it drops in `attention`: by sample, head, query and key of the tensor that is
    ///   never made.
    /// - `softCap`: makes softCap · tanh(score / softCap) of each score; positive.
    /// - Returns: `[batch, queries, heads, width]`, stored as the queries are.
    /// - Throws: `KernelError` of kind `operands` for shapes that do not fit and heads that are too wide.
    public func flashAttention(
        keys: Tensor, values: Tensor, scale: Float, spans: AttentionSpans? = nil, dropout: DropoutLayer? = nil,
        softCap: Float? = nil
    ) throws -> Tensor {
        let (q, k, v) = (try adjacentView(), try keys.adjacentView(), try values.adjacentView())
        let dropped = try dropout?.drawn(ofAttention: q, k)
        let (y, logSumExp) = try Self.attend(q, k, v, scale, spans, dropped, softCap, on: device)
        guard Autograd.records(node, keys.node, values.node) else { return Tensor(y, device) }
        return Tensor.recorded(y, device, from: [self, keys, values]) {
            [nq = node, nk = keys.node, nv = values.node] node, gradient in
            let dy = try node.dense(gradient)
            // Where queries are stored differently from keys, all meet in f32.
            func met(_ view: View) throws -> View { q.dtype == k.dtype ? view : try node.device.wide(view) }
            let (q, k, v, y) = (try met(q), try met(k), try met(v), try met(y))
            func backward(dq: Output? = nil, dk: Output? = nil, dv: Output? = nil) throws {
                try run(
                    FlashAttentionBackward(scale: scale, dropout: dropped, softCap: softCap),
                    .init(
                        q: q, k: k, v: v, spans: spans, y: y, logSumExp: logSumExp, dy: dy, dq: dq, dk: dk, dv: dv),
                    on: node.device)
            }
            let nodes = [nq, nk, nv].compactMap { $0 }
            guard Set(nodes.map(ObjectIdentifier.init)).count < nodes.count else {
                return try backward(dq: nq?.sink(), dk: nk?.sink(), dv: nv?.sink())
            }
            // One gradient that two of them add to: one after the other.
            if let nq { try backward(dq: nq.sink()) }
            if let nk { try backward(dk: nk.sink()) }
            if let nv { try backward(dv: nv.sink()) }
        }
    }

    /// The same of queries, keys and values that one projection made, `[batch, tokens, 3, heads, width]`, where they lie.
    /// - Returns: `[batch, tokens, heads, width]`.
    public func packedAttention(scale: Float, spans: AttentionSpans? = nil, dropout: DropoutLayer? = nil) throws
        -> Tensor
    {
        guard rank == 5, shape[2] == 3 else {
            throw TensorError("attention of a packed \(shape) that is not [batch, tokens, 3, heads, width]")
        }
        let x = try adjacentView()
        let dropped = try dropout?.drawn(ofAttention: x.part(0), x.part(1))
        let (y, logSumExp) = try Self.attend(x.part(0), x.part(1), x.part(2), scale, spans, dropped, nil, on: device)
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            let dy = try node.dense(gradient)
            let dx = try input!.sink()
            func output(_ i: Int) -> Output { Output(dx.view.part(i), dx.mode) }
            try run(
                FlashAttentionBackward(scale: scale, dropout: dropped),
                .init(
                    q: x.part(0), k: x.part(1), v: x.part(2), spans: spans, y: y, logSumExp: logSumExp, dy: dy,
                    dq: output(0), dk: output(1), dv: output(2)), on: node.device)
        }
    }

    private static func attend(
        _ q: View, _ k: View, _ v: View, _ scale: Float, _ spans: AttentionSpans?, _ dropout: Dropout?,
        _ softCap: Float?, on device: ComputeDevice
    ) throws -> (y: View, logSumExp: View) {
        let (y, logSumExp) = (try device.empty(q.shape, q.dtype), try device.empty(q.shape.prefix(3)))
        try run(
            FlashAttention(scale: scale, dropout: dropout, softCap: softCap),
            .init(q: q, k: k, v: v, spans: spans, y: y, logSumExp: logSumExp), on: device)
        return (y, logSumExp)
    }

    /// The view where the last dimension is adjacent, else a packed copy.
    private func adjacentView() throws -> View {
        guard let last = view.strides.last, last == 1 || shape[rank - 1] <= 1 else { return try contiguousView() }
        return view
    }
}

extension DropoutLayer {
    /// Of the probabilities `[batch, heads, queries, keys]` of queries `[batch, queries, heads, width]` and keys alike. Shapes that do not
    /// fit are the op's to refuse.
    fileprivate func drawn(ofAttention q: View, _ k: View) throws -> Dropout? {
        guard q.rank == 4, k.rank == 4 else { return nil }
        return try drawn(elementsPerSample: q.shape[1] * q.shape[2] * k.shape[1])
    }
}

extension View {
    /// Part `i` of `[batch, tokens, parts, heads, width]`.
    fileprivate func part(_ i: Int) -> View {
        View(
            storage: storage, offset: offset + i * strides[2], shape: [shape[0], shape[1], shape[3], shape[4]],
            strides: [strides[0], strides[1], strides[3], strides[4]], dtype: dtype)
    }
}
