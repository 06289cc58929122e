import ArgumentParser
import RetortDistillation
import RetortModels

/// `retort eval --generate`: what is asked, and what of the answers is compared.
struct EvalAnswerOptions: ParsableArguments {
    enum Answer: String, ExpressibleByArgument, CaseIterable {
        case lastNumber = "last-number"
        case choice, regex
    }

    @Flag(help: "Let the language model answer the prompts and compare what it writes with the file's answers.")
    var generate = false
    @Option(help: "Writing: tokens of an answer at most (default: 256).")
    var maxNewTokens: Int?
    @Option(
        help:
            "Writing: compare the last number (or the one behind ####, or in \\boxed{}), the letter chosen, or the last match of --pattern; default: all of the text."
    )
    var answer: Answer?
    @Option(
        parsing: .unconditional,
        help: "Writing: a regular expression (PCRE2) for --answer regex; \\K forgets what stands before the answer.")
    var pattern: String?
    @Option(help: "Writing: a new file that gets a JSON line for each answer as it comes.", completion: .file())
    var predictions: String?
    @OptionGroup var sampling: SamplingOptions

    func validate() throws {
        if let maxNewTokens, maxNewTokens < 1 { throw ValidationError("--max-new-tokens is 1 or more") }
        if (answer == .regex) != (pattern != nil) { throw ValidationError("--answer regex and --pattern go together") }
        if !generate, let flag = given.first { throw ValidationError("\(flag) needs --generate") }
    }

    func of() throws -> AnswerOptions {
        var options = AnswerOptions()
        if let maxNewTokens { options.count = maxNewTokens }
        options.sampling = sampling.sampling
        options.predictions = predictions
        switch answer {
        case .lastNumber: options.rule = .lastNumber
        case .choice: options.rule = .choice()
        case .regex: options.rule = .pattern(try AnswerPattern(pattern ?? ""))
        case nil: break
        }
        return options
    }

    /// The flags that were given, but --generate.
    private var given: [String] {
        let flags: [(String, Bool)] = [
            ("--max-new-tokens", maxNewTokens != nil), ("--answer", answer != nil), ("--pattern", pattern != nil),
            ("--predictions", predictions != nil),
        ]
        return flags.filter(\.1).map(\.0) + sampling.given
    }
}
