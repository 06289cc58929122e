/// Matrix products that only a GPU is asked for: they take too long elsewhere, or are about its matrix units.
enum GPUProducts {
    private static let large = GemmProduct(sizes: [4096, 4096, 4096])
    private static let squares = [[1024, 1024, 1024], [2048, 2048, 2048], [4096, 4096, 4096]]
    /// Those of a linear layer 576 → 1536 over 8192 tokens: forward, input gradient, weight gradient.
    private static let layer = [
        GemmProduct(sizes: [8192, 1536, 576], layout: .nt, dtype: .bf16),
        GemmProduct(sizes: [8192, 576, 1536], layout: .nn, dtype: .bf16),
        GemmProduct(sizes: [1536, 576, 8192], layout: .tn, dtype: .bf16),
    ]

    static let rows =
        [large]
        + squares.flatMap { sizes in
            GemmCases.Layout.allCases.map { GemmProduct(sizes: sizes, layout: $0, dtype: .bf16) }
        } + layer

    /// Those that are compared with PyTorch: squares with nothing transposed, and the layer's.
    static let compared = [large] + squares.map { GemmProduct(sizes: $0, dtype: .bf16) } + layer
}
