import Dispatch
import Foundation
import TestSupport
import Testing

@testable import RetortKernels

/// The threads of the CPU backend: what they share is done once, all of it, by whoever has it.
@Suite("Work shared among threads")
struct SharedWorkTests {
    /// How often each of `count` pieces was done, and whether every part had a number of its own.
    private func share(_ count: Int, on device: CPUDevice, _ inner: (Int) -> Void = { _ in }) -> (
        times: Set<Int>, parts: Bool
    ) {
        var times = [Int](repeating: 0, count: count)
        var parts = [Int](repeating: 0, count: device.threads)
        times.withUnsafeMutableBufferPointer { times in
            parts.withUnsafeMutableBufferPointer { parts in
                nonisolated(unsafe) let (times, parts) = (times, parts)
                device.parallelParts(count, work: 1 << 20) { part, begin, end in
                    parts[part] += 1
                    for piece in begin..<end {
                        times[piece] += 1
                        inner(piece)
                    }
                }
            }
        }
        return (Set(times), parts.allSatisfy { $0 <= 1 } && parts[0] == 1)
    }

    @Test("every piece is done once, by threads that are awake and by such that sleep", arguments: [1, 2, 3, 7])
    func once(threads: Int) throws {
        let device = try CPUDevice(threads: threads)
        for count in [1, 2, 5, 16, 1001] {
            for round in 0..<40 {
                // Longer than they look out for work.
                if round % 8 == 0 { usleep(300) }
                let found = share(count, on: device)
                guard found == ([1], true) else {
                    Issue.record("\(count) pieces for \(threads) threads, round \(round): \(found)")
                    return
                }
            }
        }
    }

    @Test(
        "a product is cut so that each element is computed once, in blocks that are not thin",
        arguments: [1, 2, 3, 4, 6, 16])
    func products(threads: Int) throws {
        let device = try CPUDevice(threads: threads)
        for (m, n) in [(1, 1), (5, 4096), (16, 16), (33, 47), (512, 49152), (2048, 384), (100, 1), (31, 1000)] {
            nonisolated(unsafe) var times = [Int](repeating: 0, count: m * n)
            nonisolated(unsafe) var thin = false
            times.withUnsafeMutableBufferPointer { times in
                nonisolated(unsafe) let times = times
                device.shareProduct(m, n, work: 1 << 24) { rows, columns in
                    if rows.count < min(m, 12) || columns.count < min(n, 12) { thin = true }
                    for row in rows { for column in columns { times[row * n + column] += 1 } }
                }
            }
            #expect(times.allSatisfy { $0 == 1 } && !thin, "\(m) x \(n) for \(threads)")
        }
        // The shorter edges, for each block reads its own rows and columns.
        #expect(CPUDevice.grid(2048, 384, parts: 2) == (2, 1) && CPUDevice.grid(512, 49152, parts: 4) == (1, 4))
        #expect(CPUDevice.grid(1000, 1000, parts: 4) == (2, 2) && CPUDevice.grid(8, 8, parts: 4) == (1, 1))
        #expect(CPUDevice.grid(8, 40, parts: 4) == (1, 2))
    }

    @Test("work inside of shared work, and that of several tasks, is done as well")
    func taken() throws {
        let device = try CPUDevice(threads: 3)
        nonisolated(unsafe) var inside = [Int](repeating: 0, count: 6)
        inside.withUnsafeMutableBufferPointer { pieces in
            nonisolated(unsafe) let pieces = pieces
            let found = share(6, on: device) { piece in
                if share(50, on: device) == ([1], true) { pieces[piece] += 1 }
            }
            #expect(found == ([1], true))
        }
        #expect(inside == [1, 1, 1, 1, 1, 1])
        nonisolated(unsafe) var tasks = [Bool](repeating: false, count: 4)
        tasks.withUnsafeMutableBufferPointer { tasks in
            nonisolated(unsafe) let tasks = tasks
            DispatchQueue.concurrentPerform(iterations: tasks.count) { task in
                tasks[task] = (0..<100).allSatisfy { share(7 + $0, on: device) == ([1], true) }
            }
        }
        #expect(tasks == [true, true, true, true])
    }
}
