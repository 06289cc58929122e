import RetortData
import RetortModels
import RetortSupport

/// What `retort eval --masked` measures an encoder on: texts as a recipe's `data: {kind: masked-texts}` reads them.
public struct MaskedEvaluationData: Sendable {
    public var path: String
    /// `lines` or `paragraphs` of plain text; nil: rows of CSV, TSV or JSON.
    public var format: TextFormat?
    /// Of a row: each a text for itself.
    public var columns: [String]
    public var masks: MaskSettings
    /// Every n-th row, the first among them: what a recipe with `test: {every: n}` tests on. nil: all.
    public var every: Int?
    /// Rows at most; nil: all.
    public var limit: Int?

    public init(
        _ path: String, format: TextFormat? = nil, columns: [String] = ["text"], masks: MaskSettings = MaskSettings(),
        every: Int? = nil, limit: Int? = nil
    ) {
        (self.path, self.format, self.columns) = (path, format, columns)
        (self.masks, self.every, self.limit) = (masks, every, limit)
    }

    /// - Parameter models: directories that may have the tokenizer.
    /// - Throws: `RetortError` 64 for options that do not fit; 65, 66, 69 for the data.
    func examples(_ models: [String]) throws -> LanguageEvaluationData.Examples {
        try LanguageEvaluationData.blamingUsage {
            if let format, ![.lines, .paragraphs].contains(format) {
                throw RetortError.usage(
                    "--format \(format.rawValue) has no meaning with --masked",
                    help: "lines, paragraphs, or nothing for rows of CSV, TSV or JSON")
            }
            guard let folder = masks.folder(among: models) else {
                throw RetortError.usage(
                    "nothing says how text becomes tokens", why: "the model's directory has no tokenizer",
                    help: "give --tokenizer, the directory of one")
            }
            let tokenizer = try Tokenizer.load(folder)
            let rule = try masks.rule(tokenizer, folder)
            let rows = try SentenceSource(path, format: format, columns: columns, every: every ?? 1, limit: limit)
                .load()
            let corpus = try masks.corpus(rows.test, TextsOnce(), tokenizer).corpus
            return LanguageEvaluationData.Examples(
                corpus: corpus, pad: tokenizer.fillingToken, masking: rule, notes: ["text: \(corpus.summary.masked)"])
        }
    }
}
