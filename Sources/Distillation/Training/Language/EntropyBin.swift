/// How a model differs from its teacher where the teacher is sure, and where it is not: the tokens for which the entropy of the teacher's
/// prediction lies in an interval, in nats.
public struct EntropyBin: Sendable, Equatable {
    /// Where the interval begins; it belongs to it.
    public let from: Double
    /// Where it ends; it does not belong to it. nil: nowhere.
    public let to: Double?
    public let tokens: Int
    /// Mean of KL(teacher ‖ model), in nats per token; nil without a token.
    public let divergence: Double?
    /// Share of tokens for which both find the same successor likeliest; nil without a token.
    public let agreement: Double?

    /// Where intervals begin, in nats. 0.5 is a teacher that gives about nine tenths to one token; 4, one that hesitates between 55.
    public static let borders = [0, 0.5, 1, 2, 4]
}

/// Sums by the teacher's entropy.
struct EntropySums {
    private var tokens = [Int](repeating: 0, count: EntropyBin.borders.count)
    private var divergence = [Double](repeating: 0, count: EntropyBin.borders.count)
    private var same = [Int](repeating: 0, count: EntropyBin.borders.count)

    /// - Parameters:
    ///   - entropy: of the teacher's prediction; rounding may put it a little below 0.
    ///   - divergence: KL(teacher ‖ model) of the token.
    mutating func add(entropy: Double, divergence: Double, agrees: Bool) {
        let bin = EntropyBin.borders.lastIndex { $0 <= entropy } ?? 0
        tokens[bin] += 1
        self.divergence[bin] += divergence
        if agrees { same[bin] += 1 }
    }

    var bins: [EntropyBin] {
        let borders = EntropyBin.borders
        return borders.indices.map { bin in
            let count = tokens[bin]
            return EntropyBin(
                from: borders[bin], to: bin + 1 < borders.count ? borders[bin + 1] : nil, tokens: count,
                divergence: count > 0 ? divergence[bin] / Double(count) : nil,
                agreement: count > 0 ? Double(same[bin]) / Double(count) : nil)
        }
    }
}
