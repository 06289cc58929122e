import RetortSupport

/// What a row is held to.
public struct RowVerdict: Sendable, Equatable {
    public enum Kind: String, Sendable {
        /// Share of a call's time that its kernels take.
        case kernels
        /// Pictures that are decoded in the time in which a training step consumes one.
        case loading
    }

    public var kind: Kind
    public var value: Double
    /// The least that `value` may be.
    public var goal: Double

    public init(_ kind: Kind, _ value: Double, goal: Double) {
        self.kind = kind
        self.value = value
        self.goal = goal
    }

    public var isMet: Bool { value >= goal }

    /// "kernels 87.3 % of the time, goal 80 % met".
    public var description: String {
        let words: String
        switch kind {
        case .kernels:
            // What is missed is not rounded up to its goal.
            let shown = isMet ? value : min(value, goal - 0.001)
            words =
                "kernels \(NumberFormat.percent(shown)) of the time, goal "
                + NumberFormat.percent(goal, decimals: 0)
        case .loading:
            words =
                "\(NumberFormat.significant(value, digits: 3)) × what the step consumes, goal "
                + NumberFormat.significant(goal)
        }
        return words + (isMet ? " met" : " NOT met")
    }

    var members: [(key: String, value: JSON)] {
        let name = kind == .kernels ? "kernels_share" : "loading_ratio"
        return [
            (name, .double(rounded(value))), (kind.rawValue + "_goal", .double(goal)),
            (kind.rawValue + "_met", .bool(isMet)),
        ]
    }
}
