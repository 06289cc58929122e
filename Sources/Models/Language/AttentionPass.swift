import RetortKernels
import RetortRuntime

/// How the queries of a pass over tokens meet keys: flash attention; the composed one where its probabilities are wanted, or where what a query
/// sees has holes. Both drop the same probabilities. Made once for all layers with one window.
final class AttentionPass {
    private let sight: AttentionMask.Sight
    private let makeBias: () throws -> Tensor?
    /// Multiplies scores; nil: 1 / √width.
    private let scale: Float?
    /// What scores stay below in size; nil: they are as they are.
    private let softCap: Float?
    /// What is added to composed scores, once it is made.
    private var bias: Tensor??

    init(
        _ mask: AttentionMask, _ tokens: TokenBatch, past: Int, scale: Float? = nil, softCap: Float? = nil,
        on device: ComputeDevice
    ) throws {
        (self.scale, self.softCap) = (scale, softCap)
        let (batch, queries, keys) = (tokens.rows, tokens.length, past + tokens.length)
        sight = try mask.sight(batch: batch, queries: queries, keys: keys, on: device)
        makeBias = { try mask.bias(batch: batch, queries: queries, keys: keys, on: device) }
    }

    /// Of an encoder: all tokens that are not padding are seen by all.
    init(_ batch: EncoderBatch, on device: ComputeDevice) throws {
        (scale, softCap) = (nil, nil)
        let (rows, length) = (batch.tokens.rows, batch.tokens.length)
        sight = try AttentionMask(isCausal: false, validKeys: batch.tokens.valid)
            .sight(batch: rows, queries: length, keys: length, on: device)
        makeBias = { try batch.paddingBias(on: device) }
    }

    /// - Parameters:
    ///   - q: `[rows, tokens, heads, width]`.
    ///   - k, v: `[rows, keys, keyValueHeads, width]`.
    ///   - dropout: of the probabilities.
    ///   - showing: whether probabilities are wanted.
    /// - Returns: `[rows, tokens, heads, width]`, and the probabilities `[rows, heads, tokens, keys]`.
    func callAsFunction(_ q: Tensor, _ k: Tensor, _ v: Tensor, dropout: DropoutLayer, showing: Bool) throws -> (
        heard: Tensor, probabilities: Tensor?
    ) {
        let scale = scale ?? 1 / Float(q.shape[3]).squareRoot()
        if !showing, let spans = flashSpans(width: q.shape[3]) {
            let heard = try q.flashAttention(
                keys: k, values: v, scale: scale, spans: spans, dropout: dropout, softCap: softCap)
            return (heard, nil)
        }
        let made = try bias ?? makeBias()
        bias = .some(made)
        func byHeads(_ x: Tensor) throws -> Tensor {
            try x.permuted([0, 2, 1, 3]).reshaped([x.shape[0], x.shape[2], x.shape[1], x.shape[3]])
        }
        let (heard, probabilities) = try byHeads(q.stored(as: .f32)).attention(
            keys: byHeads(k.stored(as: .f32)), values: byHeads(v.stored(as: .f32)), scale: scale, mask: made,
            dropout: dropout, softCap: softCap)
        return (try heard.permuted([0, 2, 1, 3]).stored(as: q.dtype), probabilities)
    }

    /// The same of one projection's `[rows, tokens, 3, heads, width]`, read where it lies; nil where that cannot be.
    func packed(_ x: Tensor, dropout: DropoutLayer) throws -> Tensor? {
        guard softCap == nil, let spans = flashSpans(width: x.shape[4]) else { return nil }
        return try x.packedAttention(
            scale: scale ?? 1 / Float(x.shape[4]).squareRoot(), spans: spans, dropout: dropout)
    }

    /// For flash attention; nil where it cannot be.
    private func flashSpans(width: Int) -> AttentionSpans?? {
        guard FlashAttention.widths.contains(width) else { return nil }
        switch sight {
        case .everything: return .some(nil)
        case .spans(let spans): return .some(spans)
        case .holes: return nil
        }
    }
}
