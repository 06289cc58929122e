import RetortSupport
import Synchronization

/// Counts what happens, from any thread.
public final class Counter: Sendable {
    private let count = Mutex(0)

    public init() {}
    public func increment() { count.withLock { $0 += 1 } }
    public var value: Int { count.withLock { $0 } }
}

/// Makes something while arrays beyond a limit go to files in a folder, which are counted.
public func inFiles<Value>(
    _ folder: String, limit: Int = 0, opened: Counter = Counter(), _ make: () throws -> Value
) throws -> Value {
    let spill = Spill(
        limit: limit,
        open: { () throws(RetortError) in
            opened.increment()
            return try ScratchFile(in: folder)
        })
    return try Spill.$current.withValue(spill) { try make() }
}
