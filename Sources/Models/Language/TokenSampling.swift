import RetortKernels
import RetortRuntime
import RetortSupport

/// How the next token is chosen from its logits: filters in the order of Hugging Face's library (repetition penalty, temperature, top-k,
/// top-p, min-p), then a draw by counter. All of it on the device; the tokens alone come back.
public struct TokenSampling: Sendable {
    /// Temperatures above 0 that can be asked for. Logits are divided by them in f32: far below, they become infinite.
    public static let temperatures = 1e-3...100.0
    /// What `topP` and `minP` can be.
    public static let shares = 1e-6...1.0
    /// What `repetitionPenalty` can be.
    public static let penalties = 1e-3...1000.0

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

    /// Whether tokens are drawn as the model predicts them, changed by nothing.
    public var isPlain: Bool {
        temperature == 1 && topK == nil && topP ?? 1 == 1 && minP == nil && repetitionPenalty == 1
    }

    /// In words: "at temperature 0.9, top-p 0.95", "greedily".
    public var words: String {
        func number(_ name: String, _ value: Double?) -> String? {
            value.map { name + " " + NumberFormat.significant($0) }
        }
        let parts = [
            temperature == 0 ? "greedily" : number("at temperature", temperature), topK.map { "top-k \($0)" },
            number("top-p", topP), number("min-p", minP),
            number("repetition penalty", repetitionPenalty == 1 ? nil : repetitionPenalty),
        ]
        return parts.compactMap { $0 }.joined(separator: ", ")
    }

    /// What is drawn for one row at one step. Draws do not depend on which rows are written side by side.
    public struct Draw: Sendable {
        /// Of the text among all that are written with this seed.
        public var text: Int
        /// Tokens drawn before.
        public var step: Int

        public init(text: Int = 0, step: Int) {
            self.text = text
            self.step = step
        }
    }

    /// The next token of each row.
    /// - Parameters:
    ///   - logits: `[rows, vocabulary]`.
    ///   - previous: of each row, tokens of prompt and answer so far.
    ///   - draws: one for each row.
    public func choose(_ logits: Tensor, previous: [[Int32]], draws: [Draw]) throws -> [Int32] {
        let device = logits.device
        let rows = logits.shape[0]
        guard temperature > 0 || repetitionPenalty != 1 else {
            return try device.read(logits.argmax(-1), as: Int32.self)
        }
        let left = try filtered(logits, previous: previous)
        guard temperature > 0 else { return try device.read(left.argmax(-1), as: Int32.self) }
        let random = Philox(seed: seed, stream: Philox.stream("sample"))
        let u = try device.view(draws.map { random.uniform(UInt64($0.text) << 32 | UInt64($0.step)) }, [rows])
        let tokens = try device.empty([rows], .i32)
        try run(DrawTokens(), .init(x: left.view, u: u, tokens: tokens), on: device)
        return try device.read(tokens, as: Int32.self)
    }

    /// The logits `[rows, vocabulary]` that are left, −∞ for tokens that were taken out. A temperature of 0 divides by nothing.
    /// - `previous`: of each row, tokens of prompt and answer so far.
    public func filtered(_ logits: Tensor, previous: [[Int32]]) throws -> Tensor {
        let device = logits.device
        let op = FilterLogits(
            repetitionPenalty: Float(repetitionPenalty), temperature: temperature > 0 ? Float(temperature) : 1,
            topK: topK, topP: topP.map { Float($0) }, minP: minP.map { Float($0) })
        let seen = repetitionPenalty == 1 ? 0 : previous.map(\.count).max() ?? 0
        let history =
            try seen == 0
            ? nil
            : device.view(
                previous.flatMap { $0 + [Int32](repeating: -1, count: seen - $0.count) }, [previous.count, seen], .i32)
        let y = try device.empty(logits.shape)
        try run(op, .init(x: logits.view, history: history, y: y), on: device)
        return Tensor(view: y, on: Device(device))
    }
}
