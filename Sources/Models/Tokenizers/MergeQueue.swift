/// Merges the symbols of a long word in O(n log n): always the pair of the smallest rank, of equals the leftmost.
/// (Pairs of one rank are one and the same pair, unless the table says that they share ranks.)
///
/// The places of a rank wait in one list. A heap holds the ranks that have any, so that a run of one letter costs a few heap steps
/// and not one a letter. When a merge makes a pair of no greater rank than the one at work (merges that no training would order so), the
/// rest of the list goes back into the queue.
struct MergeQueue {
    private struct Node {
        /// The symbol that begins here, -1 once it was merged into the one before.
        var symbol: Int32
        var next: Int32
        var previous: Int32
        /// The rank of the pair that begins here.
        var rank: UInt32
    }

    private var nodes: [Node] = []
    /// The list of each rank: its newest entry, -1 when there is none.
    private var heads: [Int32] = []
    private var entries: [(place: Int32, next: Int32)] = []
    private var heap: [UInt32] = []
    private var batch: [Int32] = []
    /// What the last word cost: entries of lists, and ranks put into the heap.
    var entryCount: Int { entries.count }
    private(set) var heapPushes = 0
    /// Of what each pair would become the pair that was looked at last; nil while that is not wanted.
    private var parts: [Int32: (left: Int32, right: Int32)]?

    /// Merges, and tells of each symbol that a pair would become which pair that was, the last of several.
    mutating func mergeNotingParts(
        _ word: inout [Int32], _ table: MergeTable, rankCount: Int
    ) -> [Int32: (left: Int32, right: Int32)] {
        parts = [:]
        defer { parts = nil }
        merge(&word, table, rankCount: rankCount)
        return parts ?? [:]
    }

    /// Replaces `word` by the merged symbols.
    /// - Parameter rankCount: ranks are below it.
    mutating func merge(_ word: inout [Int32], _ table: MergeTable, rankCount: Int) {
        heapPushes = 0
        entries.removeAll(keepingCapacity: true)
        entries.reserveCapacity(2 * word.count)
        if heads.count < rankCount { heads = [Int32](repeating: -1, count: rankCount) }
        nodes.removeAll(keepingCapacity: true)
        nodes.reserveCapacity(word.count)
        table.withLookup { lookup in
            var (left, right, rank): (Int32, Int32, UInt32) = (-1, -1, MergeTable.noRank)
            for place in 0..<Int32(word.count) {
                let symbol = word[Int(place)]
                nodes.append(Node(symbol: symbol, next: place + 1, previous: place - 1, rank: MergeTable.noRank))
                guard place > 0 else { continue }
                // In a run of one letter the pair is that of before.
                if word[Int(place) - 1] != left || symbol != right {
                    (left, right) = (word[Int(place) - 1], symbol)
                    rank = lookup(left, right).rank
                }
                push(place - 1, rank)
                note(left, right, lookup)
            }
            nodes[word.count - 1].next = -1
            while let rank = popRank() {
                takeBatch(rank)
                work(rank, lookup)
            }
        }
        word.removeAll(keepingCapacity: true)
        var place: Int32 = 0
        while place >= 0 {
            word.append(nodes[Int(place)].symbol)
            place = nodes[Int(place)].next
        }
    }

    /// Merges at the places of `batch`.
    private mutating func work(_ rank: UInt32, _ lookup: MergeTable.Lookup) {
        // A rank belongs to one pair, or what it makes is looked up each time.
        var result: Int32 = -1
        for index in batch.indices {
            let place = batch[index]
            var node = nodes[Int(place)]
            // Its pair has changed since.
            guard node.rank == rank, node.symbol >= 0, node.next >= 0 else { continue }
            let right = nodes[Int(node.next)]
            if result < 0 || lookup.sharesRanks { result = lookup(node.symbol, right.symbol).result }
            nodes[Int(node.next)].symbol = -1
            nodes[Int(node.next)].rank = MergeTable.noRank
            node.symbol = result
            node.next = right.next
            node.rank = MergeTable.noRank
            nodes[Int(place)] = node
            var lowest = MergeTable.noRank
            if node.previous >= 0 {
                let left = nodes[Int(node.previous)].symbol
                lowest = push(node.previous, lookup(left, result).rank)
                note(left, result, lookup)
            }
            if node.next >= 0 {
                let right = nodes[Int(node.next)].symbol
                nodes[Int(node.next)].previous = place
                lowest = min(lowest, push(place, lookup(result, right).rank))
                note(result, right, lookup)
            }
            if lowest <= rank {
                for later in batch[(index + 1)...] where nodes[Int(later)].rank == rank { push(later, rank) }
                return
            }
        }
    }

    @inline(__always)
    private mutating func note(_ left: Int32, _ right: Int32, _ lookup: MergeTable.Lookup) {
        guard parts != nil else { return }
        let (rank, result) = lookup(left, right)
        if rank != MergeTable.noRank { parts?[result] = (left, right) }
    }

    /// The places that wait for `rank`, from left to right.
    private mutating func takeBatch(_ rank: UInt32) {
        batch.removeAll(keepingCapacity: true)
        var entry = heads[Int(rank)]
        heads[Int(rank)] = -1
        var isSorted = true
        var last = Int32.max
        while entry >= 0 {
            let place = entries[Int(entry)].place
            if last < place { isSorted = false }
            last = place
            batch.append(place)
            entry = entries[Int(entry)].next
        }
        batch.reverse()
        if !isSorted { batch.sort() }
    }

    @discardableResult
    private mutating func push(_ place: Int32, _ rank: UInt32) -> UInt32 {
        nodes[Int(place)].rank = rank
        guard rank != MergeTable.noRank else { return rank }
        let head = heads[Int(rank)]
        if head < 0 { pushRank(rank) }
        heads[Int(rank)] = Int32(entries.count)
        entries.append((place, head))
        return rank
    }

    private mutating func pushRank(_ rank: UInt32) {
        heapPushes += 1
        heap.append(rank)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child] < heap[parent] else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func popRank() -> UInt32? {
        guard let smallest = heap.first, let last = heap.popLast() else { return nil }
        if heap.isEmpty { return smallest }
        heap[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { return smallest }
            if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
            guard heap[child] < heap[parent] else { return smallest }
            heap.swapAt(child, parent)
            parent = child
        }
    }
}
