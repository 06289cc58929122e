import RetortRuntime

/// The order in which examples are seen: a function of the seed and the epoch alone, so that a training can go on from any step.
struct EpochOrder {
    private let random: Philox
    private let draws: Philox

    init(seed: UInt64) {
        random = Philox(seed: seed, stream: Philox.stream("order"))
        draws = Philox(seed: seed, stream: Philox.stream("draw"))
    }

    /// Seeds of what else a training draws, by number.
    func seed(_ number: UInt64) -> UInt64 { UInt64(random.word(number)) }

    /// Numbers below `count`, each drawn by itself: the ones in `range` of an endless row of them.
    func drawn(_ range: Range<Int>, count: Int) -> [Int32] {
        range.map { Int32(draws.integer(UInt64($0), below: UInt32(count))) }
    }

    /// The numbers below `count`, each once.
    func permutation(epoch: Int, count: Int) -> [Int32] {
        Philox(
            seed: UInt64(random.word(UInt64(epoch))) << 32 | UInt64(random.word(UInt64(epoch) + (1 << 40))),
            stream: Philox.stream("shuffle")
        ).permutation(count)
    }
}
