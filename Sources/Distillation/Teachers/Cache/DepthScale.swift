import Foundation

/// How depths below the likeliest class become small whole numbers, finer where probabilities are larger.
///
/// A depth x (nats) is stored as the nearest multiple of `step` = 8 · 2^−bits of u = 8 (1 − e^(−x/8)), so that ln p errs by at most about
/// ½ step · e^(x/8): with 8 bits 0.016 near the likeliest class, 0.026 at a 50th of its probability, 0.05 at a 10 000th. The likeliest class
/// alone stands at 0, so that it can be told: one that is hardly less likely stands a step below it, which errs by up to 0.032.
struct DepthScale: Sendable, Equatable {
    let bits: Int
    private static let bend = 8.0

    /// Of u, and of the rest's logarithms, in nats.
    var step: Double { Self.bend / Double(1 << bits) }
    var largest: Int { 1 << bits - 1 }

    func symbol(_ depth: Double) -> Int {
        let u = Self.bend * (1 - exp(-max(0, depth) / Self.bend))
        return min(largest, Int((u / step).rounded()))
    }

    /// Of a row's depths, in order: 0 for the first of the likeliest, and for no other.
    func symbols(_ depths: [Double]) -> [Int] {
        let top = depths.indices.min { (depths[$0], $0) < (depths[$1], $1) }
        return depths.indices.map { $0 == top ? 0 : max(1, symbol(depths[$0])) }
    }

    func depth(_ symbol: Int) -> Double { Self.bend * -log1p(-Double(symbol) / Double(1 << bits)) }

    /// What ln p / p_max may differ by from what was stored as `symbol`, in nats; infinite for the last, below p_max · 2^−8·bits.
    func error(_ symbol: Int) -> Double {
        guard symbol < largest else { return .infinity }
        guard symbol > 1 else { return depth(symbol) }
        return Self.bend * -log1p(-(Double(symbol) + 0.5) / Double(1 << bits)) - depth(symbol)
    }
}
