import ArgumentParser
import RetortModels
import RetortSupport

struct Generate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a language model continue a text.",
        discussion: """
            The directory is Hugging Face's: config.json, safetensors in one file or in shards, and a tokenizer. Text is written as it
            comes, without the prompt; --json prints one object with prompt, text and tokens. The same seed gives the same text.
            """)

    @Argument(help: "A model directory.", completion: .directory)
    var model: String
    @Option(help: "The text to go on from.")
    var prompt: String
    @Option(help: "Tokens to write at most.")
    var maxNewTokens: Int = 128
    @Option(help: "0 always takes the likeliest token; above, tokens are drawn, the more evenly the larger.")
    var temperature: Double = 0
    @Option(help: "Draw from so many of the likeliest only.")
    var topK: Int?
    @Option(help: "Draw from the fewest of the likeliest that together are this likely.")
    var topP: Double?
    @Option(help: "Draw from those only that are at least this times as likely as the likeliest.")
    var minP: Double?
    @Option(help: "Above 1 makes tokens that were there before less likely.")
    var repetitionPenalty: Double = 1
    @Option(help: "What is drawn depends on it.")
    var seed: UInt64 = 0
    @Flag(help: "Go on after the model's end-of-text token.")
    var ignoreEnd = false
    @OptionGroup var common: CommonOptions

    func validate() throws {
        func require(_ holds: Bool, _ what: String) throws { if !holds { throw ValidationError(what) } }
        try require(maxNewTokens >= 0, "--max-new-tokens is 0 or more")
        try require(temperature.isFinite && temperature >= 0, "--temperature is 0 or more")
        try require(topK ?? 1 >= 1, "--top-k is 1 or more")
        try require(topP.map { $0 > 0 && $0 <= 1 } ?? true, "--top-p is above 0 and at most 1")
        try require(minP.map { $0 > 0 && $0 <= 1 } ?? true, "--min-p is above 0 and at most 1")
        try require(repetitionPenalty.isFinite && repetitionPenalty > 0, "--repetition-penalty is above 0")
        let draws = topK != nil || topP != nil || minP != nil
        try require(!draws || temperature > 0, "--top-k, --top-p and --min-p need a --temperature above 0")
    }

    func run() throws {
        let writer = try TextGenerator(model, on: common.open())
        let sampling = TokenSampling(
            temperature: temperature, topK: topK, topP: topP, minP: minP, repetitionPenalty: repetitionPenalty,
            seed: seed)
        let answer = try writer.write(
            prompt, count: maxNewTokens, sampling: sampling, ignoringEnd: ignoreEnd,
            onText: { if !common.json { TextOutput.standardOutput.write($0) } })
        TextOutput.standardOutput.write(common.json ? answer.json.text() + "\n" : "\n")
    }
}
