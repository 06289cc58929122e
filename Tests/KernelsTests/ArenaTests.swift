import Testing

@testable import RetortKernels

@Suite("Arena")
struct ArenaTests {
    private final class Nothing: Chunk {}
    private let unit = Arena.alignment

    private func arena() -> Arena { Arena { _ in Nothing() } }

    @Test("blocks are aligned, at least as large as asked for, and apart")
    func alignment() throws {
        let arena = arena()
        let blocks = try [0, 1, 511, 512, 513, 100_000].map { try arena.allocate($0, for: .data) }
        #expect(blocks.map(\.bytes) == [512, 512, 512, 512, 1024, 100_352])
        #expect(blocks.allSatisfy { $0.offset % unit == 0 })
        for (a, b) in zip(blocks, blocks.dropFirst()) { #expect(a.offset + a.bytes <= b.offset) }
    }

    @Test("equal request sequences get equal addresses")
    func repeatable() throws {
        func addresses() throws -> [Int] {
            let arena = arena()
            var blocks = try (1...8).map { try arena.allocate($0 * 700, for: .activations) }
            blocks.remove(at: 5)
            blocks.remove(at: 2)
            blocks += try [900, 2000, 3000].map { try arena.allocate($0, for: .activations) }
            return blocks.map(\.offset)
        }
        #expect(try addresses() == addresses())
    }

    @Test("the smallest hole that fits is taken")
    func bestFit() throws {
        let arena = arena()
        var blocks: [Block?] = try [8, 1, 2, 1, 4, 1].map { try arena.allocate($0 * unit, for: .data) }
        let (large, small, middle) = (blocks[0]!.offset, blocks[2]!.offset, blocks[4]!.offset)
        blocks[0] = nil
        blocks[2] = nil
        blocks[4] = nil
        let two = try arena.allocate(2 * unit, for: .data)
        let three = try arena.allocate(3 * unit, for: .data)
        let eight = try arena.allocate(8 * unit, for: .data)
        #expect((two.offset, three.offset, eight.offset) == (small, middle, large))
    }

    @Test(
        "neighbouring holes become one, in any order of freeing",
        arguments: [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    func coalescing(order: [Int]) throws {
        let arena = arena()
        var blocks: [Block?] = try (0..<4).map { _ in try arena.allocate(unit, for: .data) }
        let start = blocks[0]!.offset
        for i in order { blocks[i] = nil }
        let joined = try arena.allocate(3 * unit, for: .data)
        #expect(joined.offset == start)
        #expect(arena.report.live == 4 * unit)
    }

    @Test("a block goes back when its last view goes, and its bytes are used again")
    func reuse() throws {
        let arena = arena()
        var view: View? = View(storage: .planned(try arena.allocate(4096, for: .data)), shape: [1024])
        var part = view?.slice(3..<7)
        let offset = view!.storage.block.offset
        view = nil
        #expect(arena.report.live == 4096)
        #expect(part?.count == 4)
        part = nil
        #expect(arena.report.live == 0)
        #expect(try arena.allocate(4096, for: .data).offset == offset)
    }

    @Test("bytes are accounted by purpose, with the peak, and the peak can be reset")
    func accounting() throws {
        let arena = arena()
        let parameters = try arena.allocate(3 * unit, for: .parameters)
        var work: Block? = try arena.allocate(5 * unit, for: .workspace)
        #expect(work?.bytes == 5 * unit)
        #expect(arena.report.live == 8 * unit)
        #expect(arena.report.byPurpose[.parameters] == 3 * unit)
        #expect(arena.report.byPurpose[.workspace] == 5 * unit)
        work = nil
        #expect(arena.report.live == 3 * unit)
        #expect(arena.report.peak == 8 * unit)
        #expect(arena.report.byPurpose[.workspace] == 0)
        arena.resetPeak()
        #expect(arena.report.peak == 3 * unit)
        #expect(arena.report.reserved == Arena.minimumChunk)
        #expect(parameters.purpose == .parameters)
    }

    @Test("what a chunk cannot hold gets a chunk of its own")
    func chunks() throws {
        let arena = arena()
        let small = try arena.allocate(unit, for: .data)
        let large = try arena.allocate(Arena.minimumChunk + 1, for: .data)
        #expect(large.chunk !== small.chunk)
        #expect(large.offset == 0)
        #expect(arena.report.reserved == 2 * Arena.minimumChunk + unit)
    }

    @Test("a maker that refuses changes nothing")
    func refusal() throws {
        let arena = Arena { bytes in
            if bytes > Arena.minimumChunk { throw KernelError(.memory, "no") }
            return Nothing()
        }
        let block = try arena.allocate(unit, for: .data)
        let before = arena.report
        #expect(throws: KernelError(.memory, "no")) { _ = try arena.allocate(Arena.minimumChunk + 1, for: .data) }
        #expect(arena.report == before)
        #expect(block.bytes == unit)
    }
}
