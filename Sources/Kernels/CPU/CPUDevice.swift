internal import COpenBLAS
internal import CRows
import Dispatch
import Foundation
import RetortSupport
import Synchronization

/// The CPU backend: vectorised row kernels, and for products OpenBLAS where there is no faster kernel of our own.
public final class CPUDevice: Sendable {
    public let arena: Arena
    /// Threads that row kernels and OpenBLAS use. Part of what makes two runs equal bit for bit.
    public let threads: Int
    /// Set when `--profile` asked for it.
    public let profiler: Profiler?
    /// Whether memory is asked for and nothing is computed.
    private let isRehearsal: Bool
    private let prefersOpenBLAS: Bool

    /// - `prefersOpenBLAS`: products are OpenBLAS's everywhere: for comparisons.
    /// - Throws: `KernelError` of kind `device` when OpenBLAS cannot be loaded, and for an environment that asks for what is not there.
    public init(threads: Int? = nil, profiler: Profiler? = nil, prefersOpenBLAS: Bool = false) throws {
        if let why = copenblas_load_error() {
            throw KernelError(
                .device, "OpenBLAS cannot be loaded: \(String(cString: why))",
                help: "install it (Debian, Ubuntu: apt install libopenblas0-pthread) or choose an OpenCL device")
        }
        let environment = ProcessInfo.processInfo.environment
        let asked = try Self.threads(environment["RETORT_THREADS"])
        try Self.checkLevel(environment["RETORT_CPU_LEVEL"])
        try Self.checkCore(environment["RETORT_OPENBLAS_CORETYPE"], taken: String(cString: copenblas_core_name()))
        self.threads = max(1, min(threads ?? asked ?? ProcessInfo.processInfo.activeProcessorCount, Self.mostThreads))
        self.profiler = profiler
        let budget = MemoryBudget(Int(clamping: ProcessInfo.processInfo.physicalMemory))
        arena = Arena { bytes in try HostChunk(bytes, budget) }
        isRehearsal = false
        self.prefersOpenBLAS = prefersOpenBLAS
    }

    private static let mostThreads = 256

    /// What `RETORT_THREADS` says; nil where it is not set.
    static func threads(_ text: String?) throws -> Int? {
        guard let text, !text.isEmpty else { return nil }
        guard let count = Int(text), (1...mostThreads).contains(count) else {
            throw KernelError(
                .device, "RETORT_THREADS is no number of threads: \(text)",
                help: "give a whole number from 1 to \(mostThreads), or unset it for one per core")
        }
        return count
    }

    /// What `RETORT_CPU_LEVEL` says is read where row kernels are chosen, which knows no errors.
    static func checkLevel(_ text: String?) throws {
        guard let text, !["", "base", "v3", "v4"].contains(text) else { return }
        throw KernelError(
            .device, "RETORT_CPU_LEVEL names an instruction set that does not exist: \(text)",
            help: "there are base, v3 and v4")
    }

    /// What `RETORT_OPENBLAS_CORETYPE` asks for, against what OpenBLAS took; nothing where the library does not say.
    static func checkCore(_ asked: String?, taken: String) throws {
        guard let asked, !asked.isEmpty, !taken.isEmpty, !OpenBLAS.took(asked, as: taken) else { return }
        throw KernelError(
            .device, "RETORT_OPENBLAS_CORETYPE asks for \(asked), and OpenBLAS took \(taken)",
            help: "give a core type that this OpenBLAS and this processor have, such as \(taken), or unset it")
    }

    /// What asks an arena without bytes for the memory that ops take on a device, and computes nothing.
    init(rehearsing device: CPUDevice, in arena: Arena) {
        threads = device.threads
        profiler = nil
        self.arena = arena
        isRehearsal = true
        prefersOpenBLAS = device.prefersOpenBLAS
    }

    /// The core type OpenBLAS chose, e.g. "Cooperlake".
    public var blasCore: String { String(cString: copenblas_core_name()) }
    /// The instruction set of the row kernels: "v4" (AVX-512), "v3" (AVX2) or "base".
    public var rowLevel: String { String(cString: crows_level()) }

    /// Whether products are computed by the row kernels (gemm.inc in CRows) rather than by OpenBLAS.
    public var multipliesItself: Bool { !prefersOpenBLAS && table.pointee.gemm_workers != nil }

    /// The row kernels for this processor.
    nonisolated(unsafe) let table: UnsafePointer<crows_table> = crows()

    /// Cuts a product's result into blocks of rows and columns and lets the threads of the row kernels multiply them, OpenBLAS on one thread in
    /// each. OpenBLAS's own threads would turn in circles for a tenth of a second behind every product and take a core from the row
    /// kernels that follow; and they cut long results badly. How it is cut depends on the shape and the number of threads alone.
    /// - Parameters:
    ///   - work: m · n · k.
    ///   - multiply: computes a block; called from several threads at once.
    func shareProduct(_ m: Int, _ n: Int, work: Int, _ multiply: (_ rows: Range<Int>, _ columns: Range<Int>) -> Void) {
        guard !isRehearsal else { return }
        guard OpenBLAS.isCalledByMany else {
            // Waking its threads costs more than a small product.
            return OpenBLAS.alone(threads: work < Self.smallProduct ? 1 : threads) { multiply(0..<m, 0..<n) }
        }
        let work = work / Self.workUnit
        let grid = work < Self.leastShared ? (rows: 1, columns: 1) : Self.grid(m, n, parts: threads)
        func block(_ count: Int, _ index: Int, of parts: Int) -> Range<Int> {
            // Whole vectors and rows of the innermost kernels, so that few are cut.
            func edge(_ index: Int) -> Int { index == parts ? count : (count * index / parts + 4) / 8 * 8 }
            return edge(index)..<edge(index + 1)
        }
        parallelParts(grid.rows * grid.columns, work: work) { _, begin, end in
            for part in begin..<end {
                let (row, column) = part.quotientAndRemainder(dividingBy: grid.columns)
                multiply(block(m, row, of: grid.rows), block(n, column, of: grid.columns))
            }
        }
    }

    /// How many blocks of rows and of columns: as many as there are threads where that many are 16 wide, and with the shortest edges: each
    /// block reads its rows of A and its columns of B for itself.
    static func grid(_ m: Int, _ n: Int, parts: Int) -> (rows: Int, columns: Int) {
        for count in stride(from: parts, to: 1, by: -1) {
            var best: (rows: Int, columns: Int)?
            var shortest = Int.max
            for rows in 1...count where count % rows == 0 {
                let columns = count / rows
                let edges = m / rows + n / columns
                guard rows == 1 || m / rows >= 16, columns == 1 || n / columns >= 16, edges < shortest else { continue }
                (best, shortest) = ((rows, columns), edges)
            }
            if let best { return best }
        }
        return (1, 1)
    }

    /// Multiply-adds below which one thread does a product where sharing is not nearly free: about 20 µs of work.
    static let smallProduct = 1 << 20
    /// Multiply-adds that take as long as an element of a row kernel, about.
    static let workUnit = 16

    /// Work that is too little to be shared out. Whatever touches memory goes through this or `parallel`: on a device without
    /// bytes none of it runs.
    func alone(_ body: () throws -> Void) rethrows {
        if !isRehearsal { try body() }
    }

    /// Calls `body` on ranges that together cover `0..<count`, in parallel when the work is worth waking a thread.
    /// - Parameter work: elements of row-kernel work in the whole call; sharing costs 0.24 µs where the threads are awake, 54 where they sleep.
    func parallel(_ count: Int, work: Int, _ body: (Int, Int) -> Void) {
        parallelParts(count, work: work) { body($1, $2) }
    }

    /// Elements of row-kernel work, about 5 µs of it, that are worth sharing.
    private static let leastShared = 1 << 14

    /// The same, also telling `body` which of at most `threads` parts a range is: what a part needs to itself goes by that number.
    func parallelParts(_ count: Int, work: Int, _ body: (_ part: Int, Int, Int) -> Void) {
        guard !isRehearsal else { return }
        guard threads > 1, count > 1, work >= Self.leastShared else { return body(0, 0, count) }
        let parts = min(count, threads)
        withoutActuallyEscaping(body) { body in
            var share: (Int) -> Void = { body($0, count * $0 / parts, count * ($0 + 1) / parts) }
            let isShared = withUnsafeMutablePointer(to: &share) {
                crows_share(Int32(parts), { $0!.assumingMemoryBound(to: ((Int) -> Void).self).pointee($1) }, $0)
            }
            guard isShared == 0 else { return }
            // Another task, or this one around this call, has the threads.
            nonisolated(unsafe) let whole = share
            DispatchQueue.concurrentPerform(iterations: parts) { whole($0) }
        }
    }
}

/// Memory of the host that the arena cuts into blocks.
final class HostChunk: Chunk {
    nonisolated(unsafe) let pointer: UnsafeMutableRawPointer
    private let bytes: Int
    /// nil for one without bytes.
    private let budget: MemoryBudget?

    init(_ bytes: Int, _ budget: MemoryBudget) throws {
        // Linux grants more than there is and ends the process when it is touched; asked first, too much is an error.
        guard budget.take(bytes) else {
            throw KernelError(
                .memory,
                "\(NumberFormat.bytes(bytes)) more asked of the host, which has \(NumberFormat.bytes(budget.left)) left of "
                    + NumberFormat.bytes(budget.total),
                help: "use a smaller batch or model, or a machine with more memory")
        }
        guard let pages = HostPages.allocate(bytes) else {
            budget.give(bytes)
            throw KernelError(.memory, "the host has no \(NumberFormat.bytes(bytes)) of memory left")
        }
        (pointer, self.bytes, self.budget) = (pages, bytes, budget)
    }

    /// One without bytes. Its address is never read from nor written to.
    init(without bytes: Int) {
        guard let address = UnsafeMutableRawPointer(bitPattern: 1 << 21) else {
            preconditionFailure("2 MiB is no null")
        }
        (pointer, self.bytes, budget) = (address, bytes, nil)
    }

    deinit {
        guard let budget else { return }
        free(pointer)
        budget.give(bytes)
    }
}

extension Block {
    /// The first byte of a host block.
    var pointer: UnsafeMutableRawPointer { unsafeDowncast(chunk as AnyObject, to: HostChunk.self).pointer + offset }
}

extension View {
    /// The first element in host memory. The view must live on the CPU device.
    func pointer<T>(as type: T.Type = Float.self) throws -> UnsafeMutablePointer<T> {
        switch storage {
        case .host(let block): return (block.pointer + offset * dtype.size).assumingMemoryBound(to: type)
        case .planned(let block) where block.chunk is HostChunk:
            return (block.pointer + offset * dtype.size).assumingMemoryBound(to: type)
        default: throw KernelError(.operands, "a view of another device was passed to an op on cpu")
        }
    }
}
