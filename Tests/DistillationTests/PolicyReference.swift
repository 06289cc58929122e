import Foundation

/// Losses of drawn tokens in double, from their formulas: each token looks at its whole text anew, and the ratio is q over the mixture at once.
struct PolicyReference: Sendable {
    /// An answer, as those who drew and judged it found it.
    struct Text: Sendable {
        let tokens: [Int]
        /// Of each token: logits of the student that wrote, and of the teacher.
        let old: [[Double]]
        let teacher: [[Double]]
    }

    /// Logits of each token of each text.
    typealias Logits = [[[Double]]]

    var texts: [Text] = []
    /// Of the teacher in the mixture that tokens were drawn from.
    var share = 0.0
    var gamma = 0.95
    /// Rewards are divided by it, and then at most the limit.
    var scale = 0.5
    var limit = 100.0
    var dividesByLength = true
    var whitens = true
    /// nil: never.
    var clip: Double? = 0.2
    /// Of the divergence over all classes beside the surrogate.
    var singleStep = 1.0
    var weight = 1.0

    /// ln q and ln p of a token when it was drawn.
    func drawn(_ text: Text, _ t: Int) -> (q: Double, p: Double) {
        let token = text.tokens[t]
        return (Float64Reference.logSoftmax(text.old[t])[token], Float64Reference.logSoftmax(text.teacher[t])[token])
    }

    /// The probability that a token was drawn with.
    func mixture(_ text: Text, _ t: Int) -> Double {
        let logs = drawn(text, t)
        return (1 - share) * exp(logs.q) + share * exp(logs.p)
    }

    /// (ln p − ln q) / scale.
    func reward(_ text: Text, _ t: Int) -> Double {
        let logs = drawn(text, t)
        return (logs.p - logs.q) / scale
    }

    /// MiniLLM's advantages: Σ γ^(u−t)·reward over the tokens u from t on, over their number, brought to mean 0 and variance 1.
    func rewardsToCome() -> [[Double]] {
        let sums = texts.map { text -> [Double] in
            text.tokens.indices.map { t -> Double in
                var sum = 0.0
                for u in t..<text.tokens.count {
                    sum += pow(gamma, Double(u - t)) * min(max(reward(text, u), -limit), limit)
                }
                return dividesByLength ? sum / Double(text.tokens.count - t) : sum
            }
        }
        let all = sums.flatMap { $0 }
        guard whitens, all.count > 1 else { return sums }
        let mean = Float64Reference.mean(all)
        let squares = all.reduce(0.0) { $0 + ($1 - mean) * ($1 - mean) }
        let deviation = (squares / Double(all.count - 1) + 1e-8).squareRoot()
        return sums.map { text in text.map { ($0 - mean) / deviation } }
    }

    /// The sampled reverse KL's advantages: ln p − ln q of each token, of the student as it is.
    func gaps(_ now: Logits) -> [[Double]] {
        zip(texts, now).map { text, logits -> [Double] in
            text.tokens.indices.map { t -> Double in
                drawn(text, t).p - Float64Reference.logSoftmax(logits[t])[text.tokens[t]]
            }
        }
    }

    /// A token's ratio to what it was drawn with, and the same within the clip's bounds.
    private func ratios(_ text: Text, _ t: Int, _ logits: [Double]) -> (free: Double, bounded: Double) {
        let free = Float64Reference.softmax(logits)[text.tokens[t]] / mixture(text, t)
        guard let clip else { return (free, free) }
        return (free, min(max(free, 1 - clip), 1 + clip))
    }

    /// What a token adds to the sum.
    private func term(_ text: Text, _ t: Int, _ logits: [Double], _ advantage: Double) -> Double {
        let ratio = ratios(text, t, logits)
        let single = Float64Reference.divergence(
            Float64Reference.softmax(logits), Float64Reference.logSoftmax(text.teacher[t]))
        return weight * (singleStep * single - min(advantage * ratio.free, advantage * ratio.bounded))
    }

    private var tokens: Int { texts.reduce(0) { $0 + $1.tokens.count } }

    /// Mean over the tokens of all texts.
    func loss(_ now: Logits, _ advantages: [[Double]]) -> Double {
        var sum = 0.0
        for (number, text) in texts.enumerated() {
            for t in text.tokens.indices { sum += term(text, t, now[number][t], advantages[number][t]) }
        }
        return sum / Double(tokens)
    }

    /// Its gradient to the logits, advantages taken as constants.
    func gradient(_ now: Logits, _ advantages: [[Double]]) -> Logits {
        let count = Double(tokens)
        return texts.enumerated().map { number, text -> [[Double]] in
            text.tokens.indices.map { t -> [Double] in
                Float64Reference.gradient(now[number][t]) { term(text, t, $0, advantages[number][t]) / count }
            }
        }
    }

    /// Tokens whose ratio is beyond its bounds where that would lower the loss: they count no more.
    func clipped(_ now: Logits, _ advantages: [[Double]]) -> Int {
        var count = 0
        for (number, text) in texts.enumerated() {
            for t in text.tokens.indices {
                let (ratio, advantage) = (ratios(text, t, now[number][t]), advantages[number][t])
                if advantage * ratio.bounded < advantage * ratio.free { count += 1 }
            }
        }
        return count
    }
}
