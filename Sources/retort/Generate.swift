import ArgumentParser
import RetortData
import RetortModels
import RetortSupport

struct Generate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a language model continue a text, or answer a file of prompts.",
        discussion: """
            The directory is Hugging Face's: config.json, safetensors in one file or in shards, and a tokenizer. Text is written as it
            comes, without the prompt; --json prints one object with prompt, text, tokens and finish (stop, length or
            context: the positions are full). The same seed gives the same text.

            With --input, the prompts of a file are answered in batches into --output, JSON lines that `retort train` reads. What was
            stopped goes on with the same command.
            """)

    @Argument(help: "A model directory.", completion: .directory)
    var model: String
    @Option(parsing: .unconditional, help: "The text to go on from.")
    var prompt: String?
    @Flag(help: "The prompt is what a user says: write it in the model's chat template.")
    var chat = false
    @Option(help: "The chat template: \(ChatTemplate.names.joined(separator: ", ")) (default: the tokenizer's own).")
    var template: String?
    @Option(parsing: .unconditional, help: "Tokens to write at most.")
    var maxNewTokens: Int = 128
    @Flag(help: "Go on after the model's end-of-text token.")
    var ignoreEnd = false
    @Option(help: "What the cache of keys and values holds, f32 or bf16: half the memory, rounded; queries stay fp32.")
    var cacheDtype: WeightOptions.Storage = .f32
    @OptionGroup var file: PromptFileOptions
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var weights: WeightOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard maxNewTokens >= 0 else { throw ValidationError("--max-new-tokens is 0 or more") }
        guard (prompt == nil) != (file.input == nil) else {
            throw ValidationError("give either --prompt or --input")
        }
        guard file.samples ?? 1 == 1 || sampling.sampling.temperature > 0 else {
            throw ValidationError(
                "--samples \(file.samples ?? 1) without a --temperature above 0: they would all be the same")
        }
        guard file.input == nil || !chat else {
            throw ValidationError(
                "--chat is for --prompt; a file's records say what they are, and --template how they are written")
        }
    }

    func run() throws {
        let writer = try TextGenerator(model, dtype: weights.dtype.dtype, on: common.open())
        let named = try template.map { try ChatTemplate.named($0) }
        guard let prompt else {
            let options = WritingOptions(
                count: maxNewTokens, sampling: sampling.sampling, ends: ignoreEnd ? [] : writer.ends,
                cacheType: cacheDtype.dtype)
            return try file.answer(writer, model, named, options, weights, common)
        }
        let template = try named ?? (chat ? writer.tokenizer.chatTemplate() : nil)
        let answer = try writer.write(
            prompt, template: template, count: maxNewTokens, sampling: sampling.sampling,
            ignoringEnd: ignoreEnd, cacheType: cacheDtype.dtype,
            onText: { if !common.json { TextOutput.standardOutput.write($0) } })
        TextOutput.standardOutput.write(common.json ? answer.json.text() + "\n" : "\n")
        if answer.finish == .context, !common.quiet {
            TextOutput.standardError.writeLine(
                "note: after \(answer.tokens.count) tokens the model's \(writer.model.maxPositions) positions are full")
        }
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
    @Option(help: "Answers to each prompt, one line behind the other (default: 1).")
    var samples: Int?
    @Option(help: "Prompts that are answered side by side (default: 8).")
    var batch: Int?
    @Option(help: "What the records are (default: as the first one tells).")
    var format: TextFormat?
    @Option(help: "The file's own names, e.g. prompt=question,completion=answer.")
    var fields: FieldNames?
    @Option(help: "A further member of each record to hand on; may be repeated.")
    var keep: [String] = []
    @Option(parsing: .unconditional, help: "Between a plain prompt and its answer (default: nothing).")
    var separator: String?
    @Option(
        help: """
            A record that cannot be read, or whose prompt is longer than the model's context, ends it before anything is written (error), or
            is left out and counted (skip); the default is error.
            """)
    var onBadLine: BadLinePolicy?

    func validate() throws {
        guard (input == nil) == (output == nil) else { throw ValidationError("--input and --output belong together") }
        guard batch ?? 1 >= 1 else { throw ValidationError("--batch is 1 or more") }
        guard 1...10_000 ~= samples ?? 1 else { throw ValidationError("--samples is 1 to 10000") }
        let idle = [
            ("--samples", samples != nil), ("--batch", batch != nil), ("--format", format != nil),
            ("--fields", fields != nil),
            ("--keep", !keep.isEmpty), ("--separator", separator != nil), ("--on-bad-line", onBadLine != nil),
        ].first { $0.1 }
        if input == nil, let flag = idle?.0 { throw ValidationError("\(flag) needs --input") }
    }

    func answer(
        _ writer: TextGenerator, _ model: String, _ template: ChatTemplate?, _ options: WritingOptions,
        _ weights: WeightOptions, _ common: CommonOptions
    ) throws {
        guard let input, let output else { return }
        let onBad = onBadLine ?? .error
        let source = try TextSource.open(
            [input], TextOptions(format: format, fields: fields?.names ?? [:], keep: keep, onBadLine: onBad))
        let answers = try AnswerFile(
            writer, source, template: template, separator: separator ?? "",
            samples: samples ?? 1, options: options,
            model: try LanguageModelDirectory.digest(model, dtype: weights.dtype.dtype), onBadPrompt: onBad)
        if !common.quiet { answers.summary.words.forEach { TextOutput.standardError.writeLine($0) } }
        let progress = Progress(quiet: common.quiet)
        let before = try answers.write(to: output, batch: batch ?? 8) {
            progress.status("\($0) of \(answers.count) answers")
        }
        progress.finish()
        let result: JSON = [
            "output": .string(output), "answers": .int(answers.count), "written_now": .int(answers.count - before),
            "left_out": .int(answers.summary.badRecords),
        ]
        TextOutput.standardOutput.write(
            common.json
                ? result.text() + "\n"
                : "\(answers.count) answers in \(output.displayable), \(answers.count - before) of them new\n")
    }
}

extension TextFormat: ExpressibleByArgument {}
