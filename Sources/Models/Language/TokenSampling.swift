import Foundation
import RetortRuntime

/// How the next token is chosen from its logits: filters in the order of Hugging Face's library (repetition penalty, temperature, top-k,
/// top-p, min-p), then a draw by counter. On the host: one row of logits is read back for each token.
public struct TokenSampling: Sendable {
    /// 0: always the likeliest.
    public var temperature: Double
    /// Only so many of the likeliest; nil: all.
    public var topK: Int?
    /// The fewest of the likeliest whose probabilities reach this; nil: all (Holtzman et al. 2020, arXiv:1904.09751).
    public var topP: Double?
    /// Only those at least this times as likely as the likeliest; nil: all.
    public var minP: Double?
    /// Logits of tokens seen before are divided by it where positive, multiplied where negative (Keskar et al. 2019, arXiv:1909.05858).
    public var repetitionPenalty: Double
    public var seed: UInt64

    public init(
        temperature: Double = 0, topK: Int? = nil, topP: Double? = nil, minP: Double? = nil,
        repetitionPenalty: Double = 1, seed: UInt64 = 0
    ) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.repetitionPenalty = repetitionPenalty
        self.seed = seed
    }

    /// The logits that are left, −∞ for tokens that were taken out. A temperature of 0 divides by nothing.
    /// - Parameter previous: tokens of prompt and answer so far.
    public func filtered(_ logits: [Float], previous: [Int32]) -> [Double] {
        var logits = logits.map(Double.init)
        if repetitionPenalty != 1 {
            for token in Set(previous) where logits.indices.contains(Int(token)) {
                let value = logits[Int(token)]
                logits[Int(token)] = value < 0 ? value * repetitionPenalty : value / repetitionPenalty
            }
        }
        if temperature > 0 { logits = logits.map { $0 / temperature } }
        if let topK, topK < logits.count {
            let least = logits.sorted(by: >)[max(1, topK) - 1]
            logits = logits.map { $0 < least ? -.infinity : $0 }
        }
        if let topP, topP < 1 {
            let probabilities = Self.softmax(logits)
            // Ties fall to the later token, as in a stable ascending sort from which the front is cut.
            let order = logits.indices.sorted { (logits[$0], $0) > (logits[$1], $1) }
            var mass = 0.0
            for (rank, token) in order.enumerated() {
                if rank > 0, mass >= topP { logits[token] = -.infinity }
                mass += probabilities[token]
            }
        }
        if let minP, let top = logits.max() {
            // p ≥ minP · p_max, without the exponentials.
            let least = top + log(minP)
            logits = logits.map { $0 < least ? -.infinity : $0 }
        }
        return logits
    }

    /// The next token.
    /// - Parameters:
    ///   - step: tokens drawn before; the draw is a function of seed and step.
    public func choose(_ logits: [Float], previous: [Int32], step: Int) -> Int32 {
        let left = filtered(logits, previous: previous)
        var best = 0
        for token in left.indices where left[token] > left[best] { best = token }
        guard temperature > 0 else { return Int32(best) }
        let probabilities = Self.softmax(left)
        let random = Philox(seed: seed, stream: Philox.stream("sample"))
        // 2⁻⁶⁴ apart: the least likely of many tokens must have its chance.
        let bits = UInt64(random.word(2 * UInt64(step))) << 32 | UInt64(random.word(2 * UInt64(step) + 1))
        var rest = Double(bits >> 11) * 0x1p-53
        for (token, probability) in probabilities.enumerated() where probability > 0 {
            if rest < probability { return Int32(token) }
            rest -= probability
        }
        return Int32(best)
    }

    static func softmax(_ logits: [Double]) -> [Double] {
        let top = logits.max() ?? 0
        let powers = logits.map { exp($0 - top) }
        let sum = powers.reduce(0, +)
        return powers.map { $0 / sum }
    }
}
