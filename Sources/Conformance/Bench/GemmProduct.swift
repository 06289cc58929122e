import RetortKernels

/// One matrix product: its sizes M, N, K, what is stored transposed, and as what all three operands are stored.
struct GemmProduct: Sendable {
    let sizes: [Int]
    var layout = GemmCases.Layout.nn
    var dtype = DType.f32

    var bench: BenchCase { GemmCases.gemm(sizes, layout, dtype) }

    /// What a measuring child knows it by, without its sizes: `gemm`, `gemm_nt_bf16`.
    var worker: String { GemmCases.kernel(layout) + (dtype == .f32 ? "" : "_\(dtype)") }

    /// Every product of `sizes` by what a child knows it by.
    static func all(_ sizes: [Int]) -> [String: GemmProduct] {
        let products = GemmCases.Layout.allCases.flatMap { layout in
            [DType.f32, .bf16].map { GemmProduct(sizes: sizes, layout: layout, dtype: $0) }
        }
        return Dictionary(uniqueKeysWithValues: products.map { ($0.worker, $0) })
    }
}
