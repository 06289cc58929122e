import RetortKernels
import RetortRuntime

/// How the queries of a pass over tokens meet keys: flash attention; the composed one where its probabilities are wanted or some of them are
/// dropped, or where what a query sees has holes. Made once for all layers with one window.
final class AttentionPass {
    private let mask: AttentionMask
    private let sight: AttentionMask.Sight
    private let sizes: (batch: Int, queries: Int, keys: Int)
    /// What is added to composed scores, once it is made.
    private var bias: Tensor??

    init(_ mask: AttentionMask, _ tokens: TokenBatch, past: Int, on device: ComputeDevice) throws {
        self.mask = mask
        sizes = (tokens.rows, tokens.length, past + tokens.length)
        sight = try mask.sight(batch: sizes.batch, queries: sizes.queries, keys: sizes.keys, on: device)
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
        let scale = 1 / Float(q.shape[3]).squareRoot()
        if !showing, !dropout.isActive, let spans = flashSpans(width: q.shape[3]) {
            return (try q.flashAttention(keys: k, values: v, scale: scale, spans: spans), nil)
        }
        let made = try bias ?? mask.bias(batch: sizes.batch, queries: sizes.queries, keys: sizes.keys, on: q.device)
        bias = .some(made)
        func byHeads(_ x: Tensor) throws -> Tensor {
            try x.permuted([0, 2, 1, 3]).reshaped([x.shape[0], x.shape[2], x.shape[1], x.shape[3]])
        }
        let (heard, probabilities) = try byHeads(q.stored(as: .f32)).attention(
            keys: byHeads(k.stored(as: .f32)), values: byHeads(v.stored(as: .f32)), scale: scale, mask: made,
            dropout: dropout)
        return (try heard.permuted([0, 2, 1, 3]).stored(as: q.dtype), probabilities)
    }

    /// The same of one projection's `[rows, tokens, 3, heads, width]`, read where it lies; nil where only the composed attention will do.
    func packed(_ x: Tensor) throws -> Tensor? {
        guard let spans = flashSpans(width: x.shape[4]) else { return nil }
        return try x.packedAttention(scale: 1 / Float(x.shape[4]).squareRoot(), spans: spans)
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
