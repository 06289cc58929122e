import Synchronization

/// What a block of device memory is for; the keys of the memory report.
public enum Purpose: String, Sendable, CaseIterable {
    case parameters, gradients, optimizer, activations, workspace, data
    /// Logits of the tokens of one chunk of a loss, and their gradient.
    case logits
    /// Keys and values of tokens that were read.
    case cache

    /// Its place among `allCases`.
    fileprivate var number: Int {
        switch self {
        case .parameters: 0
        case .gradients: 1
        case .optimizer: 2
        case .activations: 3
        case .workspace: 4
        case .data: 5
        case .logits: 6
        case .cache: 7
        }
    }
}

/// Bytes held on a device, by purpose, now and at the worst moment.
public struct MemoryReport: Sendable, Equatable {
    /// Bytes in use now.
    public internal(set) var live = 0
    /// The largest `live` since the last `resetPeak()`.
    public internal(set) var peak = 0
    /// Bytes taken from the system (chunks); at least `live`.
    public internal(set) var reserved = 0
    public var byPurpose: [Purpose: Int] { now.dictionary }
    /// What `peak` was made of.
    public var atPeak: [Purpose: Int] { worst.dictionary }
    /// The largest of each since the last `resetPeak()`; not all at one time.
    public var most: [Purpose: Int] { largest.dictionary }
    private var now = Bytes()
    private var worst = Bytes()
    private var largest = Bytes()

    public init() {}

    fileprivate mutating func add(_ bytes: Int, _ purpose: Purpose) {
        live += bytes
        let sum = now[purpose] + bytes
        now[purpose] = sum
        if sum > largest[purpose] { largest[purpose] = sum }
        if live > peak {
            peak = live
            worst = now
        }
    }

    fileprivate mutating func remove(_ bytes: Int, _ purpose: Purpose) {
        live -= bytes
        now[purpose] -= bytes
    }

    fileprivate mutating func resetPeak() {
        peak = live
        worst = now
        largest = now
    }

    /// Bytes by purpose, of which there are eight. Each op's output counts here twice, coming and going: no dictionary.
    private struct Bytes: Sendable, Equatable {
        private var values = SIMD8<Int>(repeating: 0)
        /// A bit for each that there ever was any of.
        private var known: UInt8 = 0

        subscript(purpose: Purpose) -> Int {
            get { values[purpose.number] }
            set {
                values[purpose.number] = newValue
                known |= 1 << purpose.number
            }
        }

        var dictionary: [Purpose: Int] {
            let purposes = Purpose.allCases.filter { known & 1 << $0.number != 0 }
            return Dictionary(uniqueKeysWithValues: purposes.map { ($0, self[$0]) })
        }
    }
}

/// A chunk of memory that the arena cuts into blocks. What a chunk is (host pages, a `cl_mem`, nothing) is the maker's business.
public protocol Chunk: AnyObject, Sendable {}

/// Cuts large chunks into blocks and reuses what is freed: fresh memory costs page faults and driver calls, and a training
/// step asks for the same sizes again and again. Best fit with coalescing, so equal request sequences get equal addresses.
public final class Arena: Sendable {
    /// Every block begins on this many bytes: the strictest base alignment of the devices we know.
    public static let alignment = 512
    /// Chunks are at least this large (bytes); larger requests get a chunk of their own.
    static let minimumChunk = 32 << 20

    private struct Region {
        let chunk: any Chunk
        let bytes: Int
        /// Free ranges, sorted by offset, never adjacent.
        var free: [Range<Int>]
    }
    private struct State {
        var regions: [Region] = []
        var report = MemoryReport()
    }

    private let state = Mutex(State())
    private let makeChunk: @Sendable (Int) throws -> any Chunk
    /// Every block is a chunk of exactly its size, never used again: for tools that watch the bounds of device buffers.
    private let isIsolated: Bool

    /// - `makeChunk`: obtains a chunk of that many bytes, or throws a `KernelError` of kind `memory`.
    public init(isolated: Bool = false, makeChunk: @escaping @Sendable (Int) throws -> any Chunk) {
        isIsolated = isolated
        self.makeChunk = makeChunk
    }

    public var report: MemoryReport { state.withLock { $0.report } }
    public func resetPeak() { state.withLock { $0.report.resetPeak() } }

    /// A block of at least `bytes` bytes. Its content is whatever was there before.
    public func allocate(_ bytes: Int, for purpose: Purpose) throws -> Block {
        if isIsolated { return try isolated(max(1, bytes), purpose) }
        let size = max(Self.alignment, (bytes + Self.alignment - 1) / Self.alignment * Self.alignment)
        return try state.withLock { state in
            if let block = cut(size, purpose, from: &state) { return block }
            let chunkBytes = max(size, Self.minimumChunk)
            let chunk = try makeChunk(chunkBytes)
            state.regions.append(Region(chunk: chunk, bytes: chunkBytes, free: [0..<chunkBytes]))
            state.report.reserved += chunkBytes
            return cut(size, purpose, from: &state)!  // the chunk just added holds it
        }
    }

    private func isolated(_ size: Int, _ purpose: Purpose) throws -> Block {
        let chunk = try makeChunk(size)
        state.withLock { state in
            // Kept for good: Oclgrind gives a new buffer the number of a released one, and takes its size for that one's.
            state.regions.append(Region(chunk: chunk, bytes: size, free: []))
            state.report.reserved += size
            state.report.add(size, purpose)
        }
        return Block(arena: self, region: nil, chunk: chunk, offset: 0, bytes: size, purpose: purpose)
    }

    private func cut(_ size: Int, _ purpose: Purpose, from state: inout State) -> Block? {
        var best: (region: Int, range: Int, slack: Int)?
        for (r, region) in state.regions.enumerated() {
            for (f, range) in region.free.enumerated() where range.count >= size {
                let slack = range.count - size
                if best == nil || slack < best!.slack { best = (r, f, slack) }
            }
        }
        guard let best else { return nil }
        let range = state.regions[best.region].free[best.range]
        if best.slack == 0 {
            state.regions[best.region].free.remove(at: best.range)
        } else {
            state.regions[best.region].free[best.range] = (range.lowerBound + size)..<range.upperBound
        }
        state.report.add(size, purpose)
        return Block(
            arena: self, region: best.region, chunk: state.regions[best.region].chunk,
            offset: range.lowerBound, bytes: size, purpose: purpose)
    }

    fileprivate func free(_ block: Block) {
        state.withLock { state in
            state.report.remove(block.bytes, block.purpose)
            guard let region = block.region else { return }
            var range = block.offset..<(block.offset + block.bytes)
            // Taken out while it changes, or it would be copied.
            var free: [Range<Int>] = []
            swap(&free, &state.regions[region].free)
            var at = free.firstIndex { $0.lowerBound > range.lowerBound } ?? free.count
            if at < free.count, free[at].lowerBound == range.upperBound {
                range = range.lowerBound..<free[at].upperBound
                free.remove(at: at)
            }
            if at > 0, free[at - 1].upperBound == range.lowerBound {
                at -= 1
                range = free[at].lowerBound..<range.upperBound
                free.remove(at: at)
            }
            free.insert(range, at: at)
            state.regions[region].free = free
        }
    }
}

/// A range of a chunk; goes back to its arena when the last view of it goes. A block may go back while kernels that use it are
/// still queued: the queue is in order, so whoever gets the bytes next runs after them.
public final class Block: Sendable {
    let arena: Arena
    /// The chunk among the arena's that it goes back to; nil when the chunk is this block's own.
    let region: Int?
    public let chunk: any Chunk
    public let offset: Int
    public let bytes: Int
    public let purpose: Purpose

    init(arena: Arena, region: Int?, chunk: any Chunk, offset: Int, bytes: Int, purpose: Purpose) {
        self.arena = arena
        self.region = region
        self.chunk = chunk
        self.offset = offset
        self.bytes = bytes
        self.purpose = purpose
    }

    deinit { arena.free(self) }
}
