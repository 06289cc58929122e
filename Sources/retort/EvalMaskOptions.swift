import ArgumentParser
import RetortDistillation
import RetortSupport

/// How an encoder with a masked-language head is measured: the keys of a recipe's `data: {kind: masked-texts}`.
struct EvalMaskOptions: ParsableArguments {
    @Flag(help: "Let an encoder with a masked-language head guess masked tokens of the texts.")
    var masked = false
    @Option(help: "Masks: how likely a token is to be guessed (default: 0.15).")
    var maskRate: Double?
    @Flag(help: "Masks: all tokens of a word or none.")
    var wholeWords = false
    @Flag(help: "Masks: put all texts behind each other before they are cut into rows.")
    var join = false

    func validate() throws {
        if let maskRate, !(0.001...1).contains(maskRate) { throw ValidationError("--mask-rate is 0.001 to 1") }
        let flags = [("--mask-rate", maskRate != nil), ("--whole-words", wholeWords), ("--join", join)]
        if !masked, let flag = flags.first(where: \.1) { throw ValidationError("\(flag.0) needs --masked") }
    }

    func of(_ path: String, _ text: EvalTextOptions, every: Int?) throws -> MaskedEvaluationData {
        var masks = MaskSettings(tokenizer: text.tokenizer, joins: join, wholeWords: wholeWords)
        if let length = text.maxLength { masks.length = length }
        if let maskRate { masks.rate = maskRate }
        let names = text.fields?.names ?? [:]
        if let name = names.keys.sorted().first(where: { $0 != "text" }) {
            throw RetortError.usage("--fields has \(name.quoted()), and masked texts have text")
        }
        return MaskedEvaluationData(
            path, format: text.format, columns: [names["text"] ?? "text"], masks: masks, every: every, limit: text.limit
        )
    }
}
