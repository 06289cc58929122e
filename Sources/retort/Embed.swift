import ArgumentParser
import RetortModels
import RetortSupport

struct Embed: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turn texts into vectors that are near each other where texts mean the same.",
        discussion: """
            The directory is Hugging Face's: config.json of a BERT or DistilBERT, safetensors and a tokenizer; how a text's vector is made of
            its tokens' is read from the files of sentence-transformers, where there are some. Each text is one line of output, a JSON
            object with text and embedding; --json prints one object with all of them.
            """)

    @Argument(help: "A model directory.", completion: .directory)
    var model: String
    @Option(parsing: .unconditionalSingleValue, help: "A text; may be given several times.")
    var text: [String] = []
    @Option(help: "A file with a text in each line.", completion: .file())
    var input: String?
    @Option(help: "mean, cls or max, over the tokens' vectors (default: what the directory says, else mean).")
    var pooling: TokenPooling?
    @Flag(inversion: .prefixedNo, help: "Make vectors as long as 1 (default: what the directory says, else yes).")
    var normalize: Bool?
    @Option(help: "Texts read at once.")
    var batch = 32
    @OptionGroup var weights: WeightOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        if batch < 1 { throw ValidationError("--batch is 1 or more") }
        if text.isEmpty == (input == nil) { throw ValidationError("give --text, or --input with a file") }
    }

    func run() throws {
        let texts = try input.map(SentenceEncoder.lines) ?? text
        var settings = try SentenceSettings(in: model)
        settings.pooling = pooling ?? settings.pooling
        settings.normalizes = normalize ?? settings.normalizes
        let encoder = try SentenceEncoder(
            model, settings: settings, dtype: weights.dtype.dtype, on: common.open())
        let rows = zip(texts, try encoder.embed(texts, rows: batch)).map(SentenceEncoder.json)
        if common.json {
            TextOutput.standardOutput.writeLine(encoder.json(rows).text())
        } else {
            for row in rows { TextOutput.standardOutput.writeLine(row.text()) }
        }
    }
}

extension TokenPooling: ExpressibleByArgument {}
