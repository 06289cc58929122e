import RetortRuntime

/// Self-attention, sum, norm; feed-forward, sum, norm.
final class EncoderBlock: Module {
    let children: [any Module]
    var isTraining = true
    private let heads: Int
    private let query: Linear
    private let key: Linear
    private let value: Linear
    private let output: Linear
    private let attentionNorm: LayerNormalization
    private let up: Linear
    private let down: Linear
    private let outputNorm: LayerNormalization
    private let attentionDropout: DropoutLayer
    /// nil: DistilBERT adds attention's output as it is.
    private let sumDropout: DropoutLayer?
    private let downDropout: DropoutLayer

    init(_ name: String, _ c: EncoderConfiguration) {
        heads = c.heads
        let n = c.names
        query = c.linear(name + n.query, c.hidden, c.hidden)
        key = c.linear(name + n.key, c.hidden, c.hidden)
        value = c.linear(name + n.value, c.hidden, c.hidden)
        output = c.linear(name + n.attentionOutput, c.hidden, c.hidden)
        attentionNorm = LayerNormalization(name + n.attentionNorm, columns: c.hidden, epsilon: c.epsilon)
        up = c.linear(name + n.up, c.hidden, c.intermediate, activation: c.activation)
        down = c.linear(name + n.down, c.intermediate, c.hidden)
        outputNorm = LayerNormalization(name + n.outputNorm, columns: c.hidden, epsilon: c.epsilon)
        attentionDropout = DropoutLayer(name + "attention.dropout", probability: c.attentionDropout)
        sumDropout = n.dropsAttention ? DropoutLayer(name + "sum.dropout", probability: c.dropout) : nil
        downDropout = DropoutLayer(name + "output.dropout", probability: c.dropout)
        children =
            [query, key, value, output, attentionNorm, up, down, outputNorm, attentionDropout, downDropout]
            + (sumDropout.map { [$0] } ?? [])
    }

    /// x `[rows, tokens, hidden]`.
    /// - Parameter layer: of the block, counted from 0, for what is kept of it.
    func callAsFunction(_ x: Tensor, _ pass: AttentionPass, layer: Int, _ recorder: inout SignalRecorder) throws
        -> Tensor
    {
        let (rows, tokens, hidden) = (x.shape[0], x.shape[1], x.shape[2])
        let width = hidden / heads
        func split(_ projection: Linear, _ name: String) throws -> Tensor {
            let byTokens = try projection(x).reshaped([rows, tokens, heads, width])
            recorder.keep(SignalNames.path(layer, name), byTokens)
            return byTokens
        }
        let (q, k, v) = (try split(query, "queries"), try split(key, "keys"), try split(value, "values"))
        let name = SignalNames.path(layer, "attention")
        let (heard, attention) = try pass(q, k, v, dropout: attentionDropout, showing: recorder.wants(name))
        if let attention { recorder.keep(name, attention) }
        let answer = try output(heard.reshaped([rows, tokens, hidden]))
        let middle = try attentionNorm(x + (sumDropout.map { try $0(answer) } ?? answer))
        return try outputNorm(middle + downDropout(down(up(middle))))
    }
}
