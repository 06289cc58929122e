internal import COpenBLAS
import Synchronization

/// How OpenBLAS is shared: its number of threads, who may call it. And it itself, without an op around it: what benchmarks compare with.
public enum OpenBLAS {
    /// How many threads its products take; it has one when it is loaded. Who needs another number holds this while it multiplies.
    private static let threads = Mutex(1)

    /// Whether the CPU backend may call it from several threads, with one in each. A library built without threads has one buffer for all;
    /// one built for OpenMP asks OpenMP how many threads it has, whoever calls.
    static let isCalledByMany = copenblas_has_own_threads()

    /// Runs `multiply` while OpenBLAS has so many threads and nobody else calls it.
    static func alone(threads wanted: Int, _ multiply: () -> Void) {
        threads.withLock { threads in
            if threads != wanted { copenblas_set_threads(Int32(wanted)) }
            threads = wanted
            multiply()
            // Blocks of products cut elsewhere have one thread each.
            guard isCalledByMany, wanted != 1 else { return }
            copenblas_set_threads(1)
            threads = 1
        }
    }

    /// c[m, n] = a[m, k] · b[k, n], all contiguous matrices of the CPU device, on threads of OpenBLAS's own.
    /// - Throws: `KernelError` of kind `operands`.
    public static func product(_ a: View, _ b: View, into c: View, threads wanted: Int) throws {
        guard [a, b, c].allSatisfy({ $0.rank == 2 && $0.isContiguous }), a.shape[1] == b.shape[0],
            c.shape == [a.shape[0], b.shape[1]]
        else { throw KernelError(.operands, "[openblas] \(a.shape) · \(b.shape) into \(c.shape)") }
        let (m, n, k) = (Int32(a.shape[0]), Int32(b.shape[1]), Int32(a.shape[1]))
        let (pa, pb, pc): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) =
            (try a.pointer(), try b.pointer(), try c.pointer())
        alone(threads: wanted) { copenblas_sgemm(false, false, m, n, k, 1, pa, k, pb, n, 0, pc, n) }
    }

    /// The core type to ask for where OpenBLAS took `core` on a processor of x86-64 level `level` (4: AVX-512, 3: AVX2); nil when it fits.
    static func betterCore(than core: String, level: Int) -> String? {
        copenblas_better_core(core, Int32(level)).map { String(cString: $0) }
    }

    /// Whether the core type that was taken is the one asked for, perhaps by another name.
    static func took(_ asked: String, as core: String) -> Bool { copenblas_took_core(asked, core) }
}
