import Foundation
import Synchronization
import Testing

@testable import RetortData

private struct Broken: Error, Equatable { let index: Int }

/// Counts what is alive.
private final class Counter: Sendable {
    let made = Atomic(0)
    let alive = Atomic(0)
}
private final class Counted: Sendable {
    let counter: Counter
    init(_ counter: Counter) {
        self.counter = counter
        counter.made.add(1, ordering: .relaxed)
        counter.alive.add(1, ordering: .relaxed)
    }
    deinit { counter.alive.subtract(1, ordering: .relaxed) }
}

/// Waits for what another thread will do, ten seconds at most.
private func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<10_000 where !condition() { usleep(1000) }
    return condition()
}

@Suite("Prefetcher", .timeLimit(.minutes(1)))
struct PrefetcherTests {
    @Test("all items in order, then nil", arguments: [1, 2, 7])
    func order(depth: Int) throws {
        let prefetcher = Prefetcher<Int>(depth: depth) { index in index < 500 ? index * index : nil }
        for index in 0..<500 { #expect(try prefetcher.next() == index * index) }
        #expect(try prefetcher.next() == nil)
        #expect(try prefetcher.next() == nil)
    }

    @Test("no more than `depth` items wait")
    func depth() throws {
        let counter = Counter()
        let prefetcher = Prefetcher(depth: 2) { _ in Counted(counter) }
        #expect(eventually { counter.made.load(ordering: .relaxed) == 2 })
        usleep(20_000)
        #expect(counter.made.load(ordering: .relaxed) == 2)
        _ = try prefetcher.next()
        #expect(eventually { counter.made.load(ordering: .relaxed) == 3 })
        usleep(20_000)
        #expect(counter.made.load(ordering: .relaxed) == 3)
    }

    @Test("an error comes in its place, and ends it")
    func errors() throws {
        let prefetcher = Prefetcher<Int> { index in
            if index == 3 { throw Broken(index: index) }
            return index
        }
        for index in 0..<3 { #expect(try prefetcher.next() == index) }
        #expect(throws: Broken(index: 3)) { try prefetcher.next() }
        #expect(try prefetcher.next() == nil)
    }

    @Test("cancelling ends the thread and gives up what waits")
    func cancel() throws {
        let counter = Counter()
        let prefetcher = Prefetcher(depth: 4) { _ in Counted(counter) }
        _ = try prefetcher.next()
        prefetcher.cancel()
        let made = counter.made.load(ordering: .relaxed)
        #expect(try prefetcher.next() == nil)
        usleep(20_000)
        #expect(counter.made.load(ordering: .relaxed) == made)
        #expect(counter.alive.load(ordering: .relaxed) == 0)
        prefetcher.cancel()
    }

    @Test("cancelling wakes a thread that waits for an item")
    func cancelWhileWaiting() throws {
        let (gate, started) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let prefetcher = Prefetcher<Int> { _ in
            started.signal()
            gate.wait()
            return 1
        }
        started.wait()
        let result = Mutex<Int??>(nil)
        let waiter = Thread {
            let item = try? prefetcher.next(); result.withLock { $0 = .some(item) }
        }
        waiter.start()
        let canceller = Thread { prefetcher.cancel() }
        canceller.start()
        #expect(eventually { result.withLock { $0 != nil } })
        #expect(result.withLock { $0 } == .some(nil))
        gate.signal()
    }

    @Test("one that is dropped leaves neither its thread nor its items")
    func dropped() throws {
        let counter = Counter()
        for _ in 0..<50 {
            let prefetcher = Prefetcher(depth: 3) { _ in Counted(counter) }
            _ = try prefetcher.next()
        }
        #expect(counter.alive.load(ordering: .relaxed) == 0)
    }
}
