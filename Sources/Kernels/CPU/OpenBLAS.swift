internal import COpenBLAS
import Synchronization

/// OpenBLAS itself, without an op around it: what benchmarks compare products with.
public enum OpenBLAS {
    /// How many threads its own products take; it has one when it is loaded, and one where the CPU backend cuts products itself.
    private static let threads = Mutex(1)

    /// Whether several threads may multiply at once: a library built without threads has one buffer for all.
    static let isThreadSafe = copenblas_has_threads()

    /// c[m, n] = a[m, k] · b[k, n], all contiguous matrices of the CPU device, on threads of OpenBLAS's own.
    /// - Throws: `KernelError` of kind `operands`.
    public static func product(_ a: View, _ b: View, into c: View, threads wanted: Int) throws {
        guard [a, b, c].allSatisfy({ $0.rank == 2 && $0.isContiguous }), a.shape[1] == b.shape[0],
            c.shape == [a.shape[0], b.shape[1]]
        else { throw KernelError(.operands, "[openblas] \(a.shape) · \(b.shape) into \(c.shape)") }
        let (m, n, k) = (Int32(a.shape[0]), Int32(b.shape[1]), Int32(a.shape[1]))
        let (pa, pb, pc): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) =
            (try a.pointer(), try b.pointer(), try c.pointer())
        threads.withLock { threads in
            if threads != wanted { copenblas_set_threads(Int32(wanted)) }
            threads = wanted
            copenblas_sgemm(false, false, m, n, k, 1, pa, k, pb, n, 0, pc, n)
        }
    }

    /// The core type to ask for where OpenBLAS took `core` on a processor of x86-64 level `level` (4: AVX-512, 3: AVX2); nil when it fits.
    static func betterCore(than core: String, level: Int) -> String? {
        copenblas_better_core(core, Int32(level)).map { String(cString: $0) }
    }
}
