import Testing

@testable import RetortModels

@Suite("merging symbols")
struct MergeQueueTests {
    /// The definition: the smallest rank, the leftmost, one merge at a time.
    private func merged(_ symbols: [Int32], _ table: MergeTable) -> [Int32] {
        var symbols = symbols
        while true {
            let ranks = table.withLookup { lookup in zip(symbols, symbols.dropFirst()).map { lookup($0, $1) } }
            guard let best = ranks.indices.min(by: { (ranks[$0].rank, $0) < (ranks[$1].rank, $1) }),
                ranks[best].rank != MergeTable.noRank
            else { return symbols }
            symbols[best] = ranks[best].result
            symbols.remove(at: best + 1)
        }
    }

    @Test("in any order of ranks the result is that of the definition", arguments: 0..<40)
    func definition(_ seed: UInt64) {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        func random(_ limit: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(limit))
        }
        // Strings over three letters; the rank of a merge has nothing to do with its length, as no training would leave it.
        var strings = ["a", "b", "c"]
        var merges: [(Int32, Int32, Int32)] = []
        for _ in 0..<60 {
            let (left, right) = (random(strings.count), random(strings.count))
            let whole = strings[left] + strings[right]
            if whole.utf8.count > 9 || merges.contains(where: { $0.0 == left && $0.1 == right }) { continue }
            if !strings.contains(whole) { strings.append(whole) }
            merges.append((Int32(left), Int32(right), Int32(strings.firstIndex(of: whole) ?? 0)))
        }
        var ranks = Array(merges.indices)
        for index in ranks.indices { ranks.swapAt(index, random(ranks.count)) }
        var table = MergeTable(capacity: merges.count)
        for (merge, rank) in zip(merges, ranks) { table.add(merge.0, merge.1, rank: UInt32(rank), result: merge.2) }
        var queue = MergeQueue()
        for length in [2, 3, 7, 41, 200] {
            let word = (0..<length).map { _ in Int32(random(3)) }
            var got = word
            queue.merge(&got, table, rankCount: merges.count)
            #expect(got == merged(word, table))
        }
    }

    @Test("a run of one letter costs no more than its length")
    func oneLetter() {
        // a a -> aa, aa aa -> aaaa, …
        var table = MergeTable(capacity: 12)
        for level in 0..<Int32(12) { table.add(level, level, rank: UInt32(level), result: level + 1) }
        var queue = MergeQueue()
        let count = 1 << 16
        var word = [Int32](repeating: 0, count: count + 1)
        queue.merge(&word, table, rankCount: 12)
        #expect(word == [Int32](repeating: 12, count: count >> 12) + [0])
        #expect(queue.entryCount <= 3 * count)
        #expect(queue.heapPushes <= 24)
    }
}
