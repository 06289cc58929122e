/// The merges of a byte-pair encoding: of a pair of ids, its rank (the smaller, the earlier it is merged) and what it becomes.
struct MergeTable: Sendable {
    struct Slot {
        /// Left id in the upper half, right in the lower; `empty` in an empty slot.
        var pair: UInt64
        var rank: UInt32
        var result: Int32
    }

    private static let empty = UInt64.max
    /// The rank of a pair that is not merged.
    static let noRank = UInt32.max

    private var slots: [Slot]
    private let shift: UInt64
    private(set) var count = 0
    /// Whether pairs may have the same rank.
    var sharesRanks = false

    /// - Parameter capacity: how many merges there will be at most.
    init(capacity: Int) {
        var bits: UInt64 = 6
        while 1 << bits < 2 * capacity { bits += 1 }
        shift = 64 - bits
        slots = [Slot](repeating: Slot(pair: Self.empty, rank: Self.noRank, result: -1), count: 1 << Int(bits))
    }

    /// Adds a merge; of a pair that is there already, the rank becomes this one, as the reference implementation has it.
    mutating func add(_ left: Int32, _ right: Int32, rank: UInt32, result: Int32) {
        let pair = Self.pair(left, right)
        var index = Int((pair &* ByteHash.multiplier) >> shift)
        while slots[index].pair != Self.empty, slots[index].pair != pair { index = (index + 1) & (slots.count - 1) }
        if slots[index].pair == Self.empty { count += 1 }
        slots[index] = Slot(pair: pair, rank: rank, result: result)
    }

    private static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    /// Looks pairs up without checks of bounds.
    struct Lookup {
        let slots: UnsafeBufferPointer<Slot>
        let shift: UInt64
        let sharesRanks: Bool

        @inline(__always)
        func callAsFunction(_ left: Int32, _ right: Int32) -> (rank: UInt32, result: Int32) {
            let pair = MergeTable.pair(left, right)
            var index = Int(truncatingIfNeeded: (pair &* ByteHash.multiplier) >> shift)
            while true {
                let slot = slots[index]
                if slot.pair == pair || slot.pair == MergeTable.empty { return (slot.rank, slot.result) }
                index = (index + 1) & (slots.count - 1)
            }
        }
    }

    @inline(__always)
    func withLookup<Result>(_ body: (Lookup) -> Result) -> Result {
        slots.withUnsafeBufferPointer { body(Lookup(slots: $0, shift: shift, sharesRanks: sharesRanks)) }
    }
}
