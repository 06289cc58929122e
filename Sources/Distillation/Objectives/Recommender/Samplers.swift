import Foundation
import RetortData
import RetortRuntime
import RetortSupport

/// What users have not taken, to draw from. A draw is a pure function of (seed, purpose, number).
struct UnobservedItems {
    private let positives: PositiveLists
    private let items: Int
    private let random: Philox

    /// - `purpose`: draws of different purposes are independent.
    init(_ positives: PositiveLists, items: Int, seed: UInt64, purpose: String) {
        self.positives = positives
        self.items = items
        random = Philox(seed: seed, stream: Philox.stream(purpose))
    }

    /// An item that the user has not taken, each as likely as the others.
    /// - Parameter number: of the draw.
    func draw(_ user: Int32, number: UInt64) -> Int32 {
        let taken = positives[Int(user)]
        return Self.item(Int32(random.integer(number, below: UInt32(items - taken.count))), without: taken)
    }

    /// The item of this rank among those that are not `excluded`, which ascend.
    static func item(_ rank: Int32, without excluded: ArraySlice<Int32>) -> Int32 {
        // Before the n-th excluded item stand excluded[n] − n others.
        var (low, high) = (0, excluded.count)
        while low < high {
            let middle = (low + high) / 2
            if excluded[excluded.startIndex + middle] - Int32(middle) <= rank {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return rank + Int32(low)
    }
}

/// Draws without replacement from the front of each user's ranking: rank r (from 0) is drawn with probability proportional to
/// exp(−(r + 1) / sharpness), as DE-RRD and PCKD draw.
final class RankSampler {
    /// `[users, top]`, best first.
    private(set) var ranking: [[Int32]]
    private let sharpness: Double
    private let seed: UInt64
    private let purpose: String
    private var random: Philox
    /// What was drawn in this epoch, by user.
    private var drawn: [Int32: [Int32]] = [:]

    init(_ ranking: [[Int32]], sharpness: Double, seed: UInt64, purpose: String) {
        self.ranking = ranking
        self.sharpness = sharpness
        self.seed = seed
        self.purpose = purpose
        random = Philox(seed: seed, stream: Philox.stream(purpose))
    }

    /// Draws anew, from another ranking if one is given.
    func begin(epoch: Int, ranking: [[Int32]]? = nil) {
        if let ranking { self.ranking = ranking }
        drawn = [:]
        random = Philox(seed: seed, stream: Philox.stream("\(purpose)/\(epoch)"))
    }

    /// `count` of the user's items in the order they were drawn; the same for the whole epoch.
    func draw(_ user: Int32, _ count: Int) -> [Int32] {
        if let known = drawn[user] { return known }
        let own = ranking[Int(user)]
        // The largest of log weight + Gumbel noise are a draw without replacement (Efraimidis & Spirakis 2006).
        let keys = own.indices.map { rank in
            let noise = random.gumbel(UInt64(user) * UInt64(own.count) + UInt64(rank))
            return -(Double(rank) + 1) / sharpness + noise
        }
        let items = own.indices.sorted { (keys[$0], $1) > (keys[$1], $0) }.prefix(count).map { own[$0] }
        drawn[user] = items
        return items
    }

    /// The same items in the order of the ranking, best first.
    func ranked(_ user: Int32, _ count: Int) -> [Int32] {
        let items = Set(draw(user, count))
        return ranking[Int(user)].filter { items.contains($0) }
    }
}

extension Philox {
    /// −log(−log u), u uniform in (0, 1).
    func gumbel(_ index: UInt64) -> Double { -log(-log((Double(word(index)) + 0.5) * 0x1p-32)) }

    /// `count` of the numbers below `bound`, each subset as likely as the others (Floyd's algorithm), ascending.
    /// - Parameter block: draws of different blocks are independent.
    func subset(_ count: Int, below bound: Int, block: UInt64) -> [Int] {
        var chosen: Set<Int> = []
        for (offset, last) in ((bound - count)..<bound).enumerated() {
            let drawn = Int(integer(block * UInt64(count) + UInt64(offset), below: UInt32(last + 1)))
            if !chosen.insert(drawn).inserted { chosen.insert(last) }
        }
        return chosen.sorted()
    }
}
