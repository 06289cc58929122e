import ArgumentParser
import RetortData
import RetortModels
import RetortSupport

struct Generate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a language model continue a text, or answer a file of prompts.",
        discussion: """
            The directory is Hugging Face's: config.json, safetensors in one file or in shards, and a tokenizer. Text is written as it
            comes, without the prompt; --json prints one object with prompt, text and tokens. The same seed gives the same text.

            With --input, the prompts of a file are answered in batches into --output, JSON lines that `retort train` reads. What was
            stopped goes on with the same command.
            """)

    @Argument(help: "A model directory.", completion: .directory)
    var model: String
    @Option(help: "The text to go on from.")
    var prompt: String?
    @Flag(help: "The prompt is what a user says: write it in the model's chat template.")
    var chat = false
    @Option(help: "The chat template: \(ChatTemplate.names.joined(separator: ", ")) (default: the tokenizer's own).")
    var template: String?
    @OptionGroup var file: PromptFileOptions
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (prompt == nil) != (file.input == nil) else {
            throw ValidationError("give either --prompt or --input")
        }
        guard file.input == nil || !chat else {
            throw ValidationError(
                "--chat is for --prompt; a file's records say what they are, and --template how they are written")
        }
    }

    func run() throws {
        let writer = try TextGenerator(model, on: common.open())
        let named = try template.map { try ChatTemplate.named($0) }
        guard let prompt else { return try file.answer(writer, model, named, sampling, common) }
        let template = try named ?? (chat ? writer.tokenizer.chatTemplate() : nil)
        let answer = try writer.write(
            prompt, template: template, count: sampling.maxNewTokens, sampling: sampling.choice,
            ignoringEnd: sampling.ignoreEnd, onText: { if !common.json { TextOutput.standardOutput.write($0) } })
        TextOutput.standardOutput.write(common.json ? answer.json.text() + "\n" : "\n")
    }
}

/// How tokens are chosen.
struct SamplingOptions: ParsableArguments {
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

    var choice: TokenSampling {
        TokenSampling(
            temperature: temperature, topK: topK, topP: topP, minP: minP, repetitionPenalty: repetitionPenalty,
            seed: seed)
    }

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
}

/// Prompts of a file, answered into another.
struct PromptFileOptions: ParsableArguments {
    @Option(
        help:
            "A file of prompts: JSON lines or an array (prompt, messages, alpaca, sharegpt, …), or plain text; .gz and .zst too.",
        completion: .file())
    var input: String?
    @Option(help: "Where the answers go, JSON lines; needed with --input.", completion: .file())
    var output: String?
    @Option(help: "Prompts that are answered side by side.")
    var batch: Int = 8
    @Option(help: "What the records are (default: as the first one tells).")
    var format: TextFormat?
    @Option(help: "The file's name of a field, e.g. prompt=question; may be repeated.")
    var field: [String] = []
    @Option(help: "A further member of each record to hand on; may be repeated.")
    var keep: [String] = []
    @Option(help: "Between a plain prompt and its answer.")
    var separator: String = ""

    func validate() throws {
        guard (input == nil) == (output == nil) else { throw ValidationError("--input and --output belong together") }
        guard batch >= 1 else { throw ValidationError("--batch is 1 or more") }
        _ = try fields()
    }

    private func fields() throws -> [String: String] {
        let pairs = try field.map { text -> (String, String) in
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw ValidationError("--field is name=name, not \(text.quoted())") }
            return (parts[0], parts[1])
        }
        return Dictionary(pairs) { $1 }
    }

    func answer(
        _ writer: TextGenerator, _ model: String, _ template: ChatTemplate?, _ sampling: SamplingOptions,
        _ common: CommonOptions
    ) throws {
        guard let input, let output else { return }
        let source = try TextSource.open([input], TextOptions(format: format, fields: try fields(), keep: keep))
        let answers = try AnswerFile(
            writer, source, template: template, separator: separator,
            options: WritingOptions(
                count: sampling.maxNewTokens, sampling: sampling.choice, ends: sampling.ignoreEnd ? [] : writer.ends),
            model: try LanguageModelDirectory.digest(model))
        let progress = Progress(quiet: common.quiet)
        let before = try answers.write(to: output, batch: batch) { progress.status("\($0) of \(source.count) answers") }
        progress.finish()
        let result: JSON = [
            "output": .string(output), "answers": .int(source.count), "written_now": .int(source.count - before),
        ]
        TextOutput.standardOutput.write(
            common.json
                ? result.text() + "\n"
                : "\(source.count) answers in \(output.displayable), \(source.count - before) of them new\n")
    }
}

extension TextFormat: ExpressibleByArgument {}
