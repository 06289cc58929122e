/// Byte-pair encoding learned from words: the pair that comes most often becomes a token, again and again. (Sennrich, Haddow and Birch,
/// "Neural machine translation of rare words with subword units", 2016.)
struct LearnedMerges {
    struct Pair: Hashable, Comparable {
        let left: Int
        let right: Int

        static func < (a: Self, b: Self) -> Bool { (a.left, a.right) < (b.left, b.right) }
    }

    /// Bytes of each token by its number; the first 256 are the bytes themselves. A text may come up twice, of different pairs.
    private(set) var tokens: [[UInt8]] = (0...255).map { [UInt8($0)] }
    /// What tokens from 256 on are made of.
    private(set) var merges: [Pair] = []

    /// - Parameter count: merges to learn; fewer where no pair comes twice any more.
    init(_ words: [(bytes: [UInt8], count: Int)], count: Int) {
        var spelled = words.map { $0.bytes.map { Int($0) } }
        var counts: [Pair: Int] = [:]
        func add(_ symbols: [Int], _ change: Int) {
            for pair in Self.pairs(symbols) {
                let sum = (counts[pair] ?? 0) + change
                counts[pair] = sum == 0 ? nil : sum
            }
        }
        for (symbols, word) in zip(spelled, words) { add(symbols, word.count) }
        while merges.count < count {
            // Of equals the smallest: a dictionary's order is another in every process.
            let best = counts.max { $0.value != $1.value ? $0.value < $1.value : $0.key > $1.key }
            guard let best, best.value > 1 else { break }
            let token = merge(best.key)
            for (at, symbols) in spelled.enumerated() where Self.pairs(symbols).contains(best.key) {
                add(symbols, -words[at].count)
                spelled[at] = Self.merged(symbols, best.key, token)
                add(spelled[at], words[at].count)
            }
        }
    }

    /// Adds a token made of two.
    @discardableResult
    mutating func merge(_ pair: Pair) -> Int {
        merges.append(pair)
        tokens.append(tokens[pair.left] + tokens[pair.right])
        return tokens.count - 1
    }

    private static func pairs(_ symbols: [Int]) -> some Sequence<Pair> {
        zip(symbols, symbols.dropFirst()).lazy.map { Pair(left: $0, right: $1) }
    }

    private static func merged(_ symbols: [Int], _ pair: Pair, _ token: Int) -> [Int] {
        var result: [Int] = []
        for symbol in symbols {
            if symbol == pair.right, result.last == pair.left {
                result[result.count - 1] = token
            } else {
                result.append(symbol)
            }
        }
        return result
    }
}
