import ArgumentParser
import RetortData
import RetortDistillation
import RetortModels
import RetortSupport

/// How text becomes examples: the keys of a recipe's `data: {kind: text}`.
struct EvalTextOptions: ParsableArguments {
    @Option(
        help:
            "Text: what the records are, e.g. messages, prompt-completion, text, lines (default: as the first one tells)."
    )
    var format: TextFormat?
    @Option(help: "Text: the file's own names, e.g. prompt=question,completion=answer.")
    var fields: FieldNames?
    @Option(help: "Text: a record that cannot be read ends it (error), or is left out and counted (skip).")
    var onBadLine: BadLinePolicy?
    @Option(
        help: "Text: the directory of the tokenizer (default: the model's, else the teacher's).", completion: .directory
    )
    var tokenizer: String?
    @Option(help: "Text: how conversations are written, e.g. chatml, llama3 (default: as the tokenizer's files say).")
    var template: String?
    @Option(help: "Text: tokens of the longest example (default: any; with --truncation the model's positions).")
    var maxLength: Int?
    @Option(help: "Text: longer examples lose their end (right) or their beginning (left), or are left out (drop).")
    var truncation: LongExamplePolicy?
    @Option(help: "Text: the tokens that count: answers, last-answer or everything (default: answers).")
    var targets: ExampleTargets?
    @Option(
        parsing: .unconditional,
        help: "Text: what stands between a prompt and its completion (default: nothing).")
    var separator: String?
    @Flag(inversion: .prefixedNo, help: "Text: the end token behind texts and completions (default: yes).")
    var appendsEnd: Bool?
    @Option(help: "Token ids in safetensors: the tensor, [rows, tokens] (default: test).")
    var tensor: String?
    @Option(help: "Text: look at so many records only.")
    var limit: Int?

    func validate() throws {
        if let maxLength, maxLength < 2 { throw ValidationError("--max-length is 2 or more") }
        if let limit, limit < 1 { throw ValidationError("--limit is 1 or more") }
    }

    /// - Parameter every: each n-th record alone, as a recipe's `test` has it.
    func of(_ path: String, every: Int?) -> LanguageEvaluationData {
        var examples = ExampleOptions(maxLength: maxLength)
        if let truncation { examples.truncation = truncation }
        if let targets { examples.targets = targets }
        if let separator { examples.separator = separator }
        if let appendsEnd { examples.appendsEnd = appendsEnd }
        var source = TextOptions(format: format, fields: fields?.names ?? [:])
        if let onBadLine { source.onBadLine = onBadLine }
        var data = LanguageEvaluationData(
            path, text: TextSettings(source: source, examples: examples, tokenizer: tokenizer, template: template),
            tensor: tensor, every: every, limit: limit)
        data.fitsModels = truncation != nil
        return data
    }

    /// The same for an encoder.
    func encoder(_ path: String, label: String?, every: Int?) throws -> EncoderEvaluationData {
        var names = fields?.names ?? [:]
        if let label, names.updateValue(label, forKey: "label") != nil {
            throw RetortError.usage("--label and --fields both name the label", help: "leave one of them out")
        }
        return EncoderEvaluationData(path, fields: names, length: maxLength, every: every, limit: limit)
    }

    /// Refuses what says how predictions of tokens are counted, where a model writes.
    func checkForWriting() throws {
        let idle: Set<String> = ["--max-length", "--truncation", "--targets", "--appends-end", "--tensor"]
        guard let flag = given.first(where: idle.contains) else { return }
        throw RetortError.usage("\(flag) has no meaning with --generate", help: "leave it out")
    }

    /// The flags that were given and that an encoder has no use for.
    var givenForLanguage: [String] {
        let shared: Set<String> = ["--fields", "--max-length", "--limit"]
        return given.filter { !shared.contains($0) }
    }

    /// The flags that were given and that masked texts have no use for.
    var givenForNextToken: [String] {
        let shared: Set<String> = ["--fields", "--max-length", "--limit", "--format", "--tokenizer"]
        return given.filter { !shared.contains($0) }
    }

    /// The flags that were given.
    var given: [String] {
        let flags: [(String, Bool)] = [
            ("--format", format != nil), ("--fields", fields != nil), ("--on-bad-line", onBadLine != nil),
            ("--tokenizer", tokenizer != nil), ("--template", template != nil), ("--max-length", maxLength != nil),
            ("--truncation", truncation != nil), ("--targets", targets != nil), ("--separator", separator != nil),
            ("--appends-end", appendsEnd != nil), ("--tensor", tensor != nil), ("--limit", limit != nil),
        ]
        return flags.filter(\.1).map(\.0)
    }
}

/// Our name of a field, and the file's: `prompt=question,completion=answer`.
struct FieldNames: ExpressibleByArgument {
    let names: [String: String]

    init?(argument: String) {
        var names: [String: String] = [:]
        for pair in argument.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
            guard names.updateValue(parts[1], forKey: parts[0]) == nil else { return nil }
        }
        self.names = names
    }
}

extension BadLinePolicy: ExpressibleByArgument {}
extension LongExamplePolicy: ExpressibleByArgument {}
extension ExampleTargets: ExpressibleByArgument {}
