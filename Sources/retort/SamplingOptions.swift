import ArgumentParser
import RetortModels

/// How tokens are chosen, where a model writes.
struct SamplingOptions: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: "0 always takes the likeliest token; above, tokens are drawn, the more evenly the larger (default: 0).")
    var temperature: Double?
    @Option(parsing: .unconditional, help: "Draw from so many of the likeliest only.")
    var topK: Int?
    @Option(parsing: .unconditional, help: "Draw from the fewest of the likeliest that together are this likely.")
    var topP: Double?
    @Option(
        parsing: .unconditional, help: "Draw from those only that are at least this times as likely as the likeliest.")
    var minP: Double?
    @Option(parsing: .unconditional, help: "Above 1 makes tokens that were there before less likely (default: 1).")
    var repetitionPenalty: Double?
    @Option(parsing: .unconditional, help: "What is drawn depends on it (default: 0).")
    var seed: UInt64?

    func validate() throws {
        func require(_ holds: Bool, _ what: String) throws { if !holds { throw ValidationError(what) } }
        try require(
            temperature.map { $0 == 0 || TokenSampling.temperatures.contains($0) } ?? true,
            "--temperature is 0, or from 0.001 to 100")
        try require(topK ?? 1 >= 1, "--top-k is 1 or more")
        let shares = TokenSampling.shares
        try require(shares.contains(topP ?? 1), "--top-p is above 0 (from 0.000001) and at most 1")
        try require(shares.contains(minP ?? 1), "--min-p is above 0 (from 0.000001) and at most 1")
        try require(
            TokenSampling.penalties.contains(repetitionPenalty ?? 1), "--repetition-penalty is from 0.001 to 1000")
        let draws = topK != nil || topP != nil || minP != nil
        try require(!draws || temperature ?? 0 > 0, "--top-k, --top-p and --min-p need a --temperature above 0")
    }

    var sampling: TokenSampling {
        TokenSampling(
            temperature: temperature ?? 0, topK: topK, topP: topP, minP: minP,
            repetitionPenalty: repetitionPenalty ?? 1, seed: seed ?? 0)
    }

    /// The flags that were given.
    var given: [String] {
        let flags: [(String, Bool)] = [
            ("--temperature", temperature != nil), ("--top-k", topK != nil), ("--top-p", topP != nil),
            ("--min-p", minP != nil), ("--repetition-penalty", repetitionPenalty != nil), ("--seed", seed != nil),
        ]
        return flags.filter(\.1).map(\.0)
    }
}
