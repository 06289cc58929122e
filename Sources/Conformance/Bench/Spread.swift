/// What a list of timings says: the middle and where three fifths of them lie.
public struct Spread: Sendable, Equatable {
    public var median: Double
    public var p20: Double
    public var p80: Double

    public init(median: Double, p20: Double, p80: Double) {
        self.median = median
        self.p20 = p20
        self.p80 = p80
    }

    /// - Parameter samples: in any order; NaN throughout when there are none.
    public init(_ samples: [Double]) {
        let sorted = samples.sorted()
        median = Self.quantile(sorted, 0.5)
        p20 = Self.quantile(sorted, 0.2)
        p80 = Self.quantile(sorted, 0.8)
    }

    /// The quantile `q` (0…1) of ascending values, linear between neighbours: numpy's default, and what scripts/pytorch prints.
    public static func quantile(_ sorted: [Double], _ q: Double) -> Double {
        guard !sorted.isEmpty else { return .nan }
        let position = min(max(q, 0), 1) * Double(sorted.count - 1)
        let low = Int(position)
        let high = min(low + 1, sorted.count - 1)
        return sorted[low] + (sorted[high] - sorted[low]) * (position - Double(low))
    }
}
