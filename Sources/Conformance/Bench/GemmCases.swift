import RetortData
import RetortKernels
import RetortRuntime

/// Matrix products C[M, N] = A[M, K] · B[K, N].
enum GemmCases {
    /// Which operands are stored transposed: linear's forward is nt, its weight gradient tn, its input gradient nn.
    enum Layout: String, CaseIterable { case nn, nt, tn }

    /// Shapes that are compared with other engines (issue 2, section 6).
    static let compared = [
        [512, 512, 512], [1024, 1024, 1024], [2048, 2048, 2048], [512, 1536, 576], [512, 576, 49152],
        [512, 49152, 576],
    ]

    static func all(onGPU: Bool) -> [BenchCase] {
        compared.map { gemm($0) }
            + [[128, 1024, 784], [128, 1024, 1024]].flatMap { shape in Layout.allCases.map { gemm(shape, $0) } }
            + [gemm([128, 10, 1024], .nt), gemm([128, 10, 1024])]
            + (onGPU ? GPUProducts.rows.map(\.bench) : [])
    }

    static func kernel(_ layout: Layout) -> String { layout == .nn ? "gemm" : "gemm_\(layout)" }

    /// - Parameter dtype: of all three, f32 or bf16.
    static func gemm(_ sizes: [Int], _ layout: Layout = .nn, _ dtype: DType = .f32) -> BenchCase {
        let (m, n, k) = (sizes[0], sizes[1], sizes[2])
        return BenchCase(.gemm, kernel(layout), sizes, dtype: dtype, isProduct: true) { device, random in
            let compute = device.compute
            let storedA = try random.view(layout == .tn ? [k, m] : [m, k], dtype, on: compute)
            let storedB = try random.view(layout == .nt ? [n, k] : [k, n], dtype, on: compute)
            let operands = Matmul.Operands(
                a: layout == .tn ? storedA.transposed : storedA, b: layout == .nt ? storedB.transposed : storedB,
                c: .write(try compute.empty([m, n], dtype)))
            return BenchSet(
                on: compute, cost: Matmul().cost(operands), outputs: [operands.c.view], tolerance: tolerance(k, dtype),
                run: { try run(Matmul(), operands, on: compute) },
                reference: { _ in try error(operands, storedA, storedB, on: compute) })
        }
    }

    /// The same product by OpenBLAS itself, without our op around it. `cpu` only.
    static func openBLAS(_ sizes: [Int]) -> BenchCase {
        let (m, n, k) = (sizes[0], sizes[1], sizes[2])
        return BenchCase(.gemm, "openblas", sizes, isProduct: true) { device, random in
            let compute = device.compute
            let (a, b) = (try random.view([m, k], on: compute), try random.view([k, n], on: compute))
            let operands = Matmul.Operands(a: a, b: b, c: .write(try compute.empty([m, n])))
            guard case .cpu(let cpu) = compute else { throw KernelError(.device, "OpenBLAS multiplies on cpu alone") }
            return BenchSet(
                on: compute, cost: Matmul().cost(operands), outputs: [operands.c.view], tolerance: tolerance(k),
                run: { try OpenBLAS.product(a, b, into: operands.c.view, threads: cpu.threads) },
                reference: { _ in try error(operands, a, b, on: compute) })
        }
    }

    /// Rounding of sums of k products, with room, and of the result where that is bf16: half of its last place of eight bits. A wrong
    /// kernel is off by about 1.
    static func tolerance(_ k: Int, _ dtype: DType = .f32) -> Double {
        1e-6 * (10 + Double(k).squareRoot()) + (dtype == .bf16 ? 0x1p-8 : 0)
    }

    /// Four rows × sixteen columns, corners included, against float64.
    private static func error(
        _ o: Matmul.Operands, _ storedA: View, _ storedB: View, on device: ComputeDevice
    ) throws -> Double {
        let c = o.c.view
        let (m, n, k) = (c.shape[0], c.shape[1], o.a.shape[1])
        let (a, b) = (try floats(storedA, on: device), try floats(storedB, on: device))
        var comparison = ErrorScale()
        for i in Set([0, m / 3, 2 * m / 3, m - 1]) {
            let row = try floats(c.slice(i..<(i + 1)), on: device)
            for j in Set((0..<16).map { $0 * (n - 1) / 15 }) {
                var sum = 0.0
                for p in 0..<k {
                    sum +=
                        Double(a[i * o.a.strides[0] + p * o.a.strides[1]])
                        * Double(b[p * o.b.strides[0] + j * o.b.strides[1]])
                }
                comparison.add(row[j], sum)
            }
        }
        return comparison.error
    }

    /// The numbers of a view of f32 or bf16.
    private static func floats(_ view: View, on device: ComputeDevice) throws -> [Float] {
        guard view.dtype == .bf16 else { return try device.read(view) }
        return try device.read(view, as: UInt16.self).map { FloatFormats.float(bfloat16: $0) }
    }
}

/// Collects the largest difference and the largest expected value.
struct ErrorScale {
    private var difference = 0.0
    private var scale = 0.0

    mutating func add(_ actual: Float, _ expected: Double) {
        let d = abs(Double(actual) - expected)
        difference = d.isNaN ? .infinity : max(difference, d)
        scale = max(scale, abs(expected))
    }

    mutating func add(_ actual: [Float], _ expected: [Double]) {
        guard actual.count == expected.count else { return difference = .infinity }
        for (a, e) in zip(actual, expected) { add(a, e) }
    }

    /// Relative to the largest expected value; absolute when all of them are 0.
    var error: Double { scale > 0 ? difference / scale : difference }
}
