internal import COpenBLAS

/// OpenBLAS itself, without an op around it: what benchmarks compare products with.
public enum OpenBLAS {
    /// c[m, n] = a[m, k] · b[k, n], all contiguous matrices of the CPU device.
    /// - Throws: `KernelError` of kind `operands`.
    public static func product(_ a: View, _ b: View, into c: View) throws {
        guard [a, b, c].allSatisfy({ $0.rank == 2 && $0.isContiguous }), a.shape[1] == b.shape[0],
            c.shape == [a.shape[0], b.shape[1]]
        else { throw KernelError(.operands, "[openblas] \(a.shape) · \(b.shape) into \(c.shape)") }
        let (m, n, k) = (Int32(a.shape[0]), Int32(b.shape[1]), Int32(a.shape[1]))
        let (pa, pb, pc): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) =
            (try a.pointer(), try b.pointer(), try c.pointer())
        copenblas_sgemm(false, false, m, n, k, 1, pa, k, pb, n, 0, pc, n)
    }

    /// The core type to ask for where OpenBLAS took `core` on a processor of x86-64 level `level` (4: AVX-512, 3: AVX2); nil when it fits.
    static func betterCore(than core: String, level: Int) -> String? {
        copenblas_better_core(core, Int32(level)).map { String(cString: $0) }
    }
}
