import RetortRuntime

/// Keys and values of the tokens that a decoder has read, so that the next token costs one token's work.
public final class KeyValueCache {
    /// Of each layer, `[rows, keyValueHeads, tokens, headWidth]`.
    private var layers: [(keys: Tensor, values: Tensor)?]
    /// Tokens read.
    public private(set) var length = 0

    public init(layers: Int) { self.layers = [(keys: Tensor, values: Tensor)?](repeating: nil, count: layers) }

    /// Puts new tokens' keys and values behind those of a layer, and gives them all.
    func extend(_ layer: Int, keys: Tensor, values: Tensor) throws -> (keys: Tensor, values: Tensor) {
        let all =
            try layers[layer].map {
                (
                    keys: try Tensor.concatenated([$0.keys, keys], axis: 2),
                    values: try Tensor.concatenated([$0.values, values], axis: 2)
                )
            } ?? (keys: keys, values: values)
        layers[layer] = all
        return all
    }

    func advance(by tokens: Int) { length += tokens }
}
