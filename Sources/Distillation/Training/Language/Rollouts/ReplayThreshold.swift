/// φ of DistiLLM: the share of the steps that learn from the student's texts, which rises where the held-out loss does.
struct ReplayThreshold: Sendable, Equatable {
    /// What a step learns from.
    enum Texts: Sendable, Equatable {
        case data
        /// The student writes.
        case new
        /// It has written them before.
        case buffer
    }
    /// φ, 0 to 1.
    var value: Double
    /// The held-out loss that the next one is compared with; nil: none was seen yet.
    var lossBefore: Double?

    /// - Parameter loss: on the held-out examples, in nats per token: where it has risen, the data are worn out.
    mutating func see(_ loss: Double, tolerance: Double, step: Double) {
        guard let before = lossBefore else { return lossBefore = loss }
        guard loss >= before + tolerance else { return }
        value = min(1, value + step)
        lossBefore = loss
    }

    /// - Parameters:
    ///   - coin: uniform in [0, 1).
    ///   - fresh: the part of φ that stands for new texts.
    ///   - isFull: whether the buffer has texts enough: until then new ones are written in their place.
    func texts(_ coin: Double, fresh: Double, isFull: Bool) -> Texts {
        guard coin < value else { return .data }
        return coin < value * fresh || !isFull ? .new : .buffer
    }
}
