import Foundation

/// What is left of logits when the unlikely tokens are taken out, in the order of Hugging Face's library: repetition penalty, temperature,
/// top-k, top-p, min-p. x `[rows, columns]` → y `[rows, columns]`, −∞ for tokens that were taken out.
///
/// Of equal logits at a border top-k keeps all, top-p the later ones as far as it wants them.
public struct FilterLogits: Op {
    /// Logits of tokens seen before are divided by it where positive, multiplied where negative (Keskar et al. 2019, arXiv:1909.05858).
    public let repetitionPenalty: Float
    /// Above 0.
    public let temperature: Float
    /// Only so many of the likeliest; nil: all.
    public let topK: Int?
    /// The fewest of the likeliest whose probabilities reach this; nil: all (Holtzman et al. 2020, arXiv:1904.09751).
    public let topP: Float?
    /// Only those at least this times as likely as the likeliest; nil: all.
    public let minP: Float?

    public init(
        repetitionPenalty: Float = 1, temperature: Float = 1, topK: Int? = nil, topP: Float? = nil, minP: Float? = nil
    ) {
        self.repetitionPenalty = repetitionPenalty
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
    }

    public struct Operands {
        public let x: View
        /// Int32 `[rows, seen]`: tokens that the penalty is for; ids outside the columns stand for none. nil: no token.
        public let history: View?
        public let y: View
        public init(x: View, history: View?, y: View) {
            self.x = x
            self.history = history
            self.y = y
        }
    }
    public var name: String { "filter_logits" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("y", o.y))
        let r = try rows(o.x, "x")
        try require(o.y.isContiguous && o.y.count == r.rows * r.columns, "y is dense, like x")
        if let history = o.history {
            try require(
                history.dtype == .i32 && history.isContiguous && history.rank == 2 && history.shape[0] == r.rows,
                "history is i32 [\(r.rows), seen]")
        }
        try require(temperature > 0 && temperature.isFinite, "temperature \(temperature) is not positive")
        try require(repetitionPenalty > 0 && repetitionPenalty.isFinite, "penalty \(repetitionPenalty) is not positive")
        try require(topK ?? 1 > 0, "top-k \(topK ?? 0) keeps nothing")
        try require(topP.map { $0 > 0 } ?? true, "top-p \(topP ?? 0) keeps nothing")
        try require(minP.map { $0 >= 0 && $0 <= 1 } ?? true, "min-p \(minP ?? 0) is outside [0, 1]")
    }
    /// What is really taken out of rows of so many columns.
    func filters(_ columns: Int) -> (topK: Int?, topP: Float?, logMinP: Float?) {
        (
            topK.flatMap { $0 < columns ? $0 : nil }, topP.flatMap { $0 < 1 ? $0 : nil },
            minP.flatMap { $0 > 0 ? log($0) : nil }
        )
    }

    public func cost(_ o: Operands) -> Cost { Cost(flops: 2 * Double(o.x.count), bytes: 8 * Double(o.x.count)) }
}

/// One token of each row, by its softmax: the first at which the running sum of probabilities exceeds u. x `[rows, columns]`, −∞ for tokens
/// that must not come; u f32 `[rows]` in [0, 1) → tokens int32 `[rows]`. A row of nothing but −∞ gives 0.
public struct DrawTokens: Op {
    public init() {}
    public struct Operands {
        public let x: View
        public let u: View
        public let tokens: View
        public init(x: View, u: View, tokens: View) {
            self.x = x
            self.u = u
            self.tokens = tokens
        }
    }
    public var name: String { "draw_tokens" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("u", o.u))
        let r = try rows(o.x, "x")
        try require(r.columns > 0, "x has no columns")
        try require(o.u.isContiguous && o.u.count == r.rows, "u is [\(r.rows)]")
        try require(
            o.tokens.dtype == .i32 && o.tokens.isContiguous && o.tokens.count == r.rows, "tokens are i32 [\(r.rows)]")
    }
    public func cost(_ o: Operands) -> Cost { Cost(flops: 10 * Double(o.x.count), bytes: 4 * Double(o.x.count)) }
}
