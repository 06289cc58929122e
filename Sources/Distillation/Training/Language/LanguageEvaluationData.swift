import RetortData
import RetortModels
import RetortSupport

/// What `retort eval` measures a language model on: text as a recipe's `data: {kind: text}` reads it, or rows of token ids in a
/// safetensors file.
public struct LanguageEvaluationData: Sendable {
    public var path: String
    public var text: TextSettings
    /// Of a safetensors file: the tensor, `[rows, tokens]`; nil: `test`.
    public var tensor: String?
    /// Of text: every n-th record, the first among them: what a recipe with `test: {every: n}` tests on. nil: all.
    public var every: Int?
    /// Records at most; nil: all.
    public var limit: Int?
    /// Whether text that no model has the positions for is cut or left out where no length is given; else it is refused.
    public var fitsModels = false

    public init(
        _ path: String, text: TextSettings = TextSettings(), tensor: String? = nil, every: Int? = nil, limit: Int? = nil
    ) {
        self.path = path
        self.text = text
        self.tensor = tensor
        self.every = every
        self.limit = limit
    }

    /// Whether the file holds tokens instead of text, by its name.
    public var isTokens: Bool { path.hasSuffix(".safetensors") }

    /// Examples, and what was found while they were read.
    struct Examples {
        let corpus: TokenizedCorpus
        /// What fills rows up.
        var pad: Int32 = 0
        /// Which tokens are to be guessed; nil: each is predicted from those before it.
        var masking: MaskingRule?
        var notes: [String] = []
    }

    /// Records with the tokenizer and what makes examples of them.
    struct Records {
        let chosen: TextRecordChoice
        let encoder: ExampleEncoder
        let summary: TextSource.Summary

        /// The examples, and in words what they are; of preferences the chosen answers, as a run's table has it.
        func measured() throws -> (TokenizedCorpus, words: String) {
            let corpus = try PromptedCorpus(chosen, encoder, asking: false, threads: 2)
            if let pairs = corpus.pairs {
                return (corpus.asked, "\(pairs.summary.pairWords); the chosen ones are measured")
            }
            // Prompts alone have nothing to measure, which the corpus of answers says.
            let answered = try corpus.answered ?? TokenizedCorpus(chosen, encoder, threads: 2)
            return (answered, answered.summary.words)
        }
    }

    /// - Parameter models: directories that may have the tokenizer.
    /// - Throws: `RetortError` 64 for options that do not fit; 65, 66, 69 for the data.
    func examples(_ models: [String]) throws -> Examples {
        try Self.blamingUsage {
            guard isTokens else {
                let records = try records(models)
                let (corpus, words) = try records.measured()
                return Examples(
                    corpus: corpus, pad: records.encoder.tokenizer.fillingToken,
                    notes: records.summary.words + ["text: \(words)"])
            }
            guard every == nil else {
                throw RetortError.usage(
                    "--test-every is for text, and \(path.quoted(limit: 200)) holds token ids",
                    help: "name the tensor with --tensor")
            }
            return Examples(corpus: try LanguageSource.rows(SafeTensors(path: path), tensor ?? "test", limit: limit))
        }
    }

    /// - Throws: as `examples`; 64 for a file of tokens, which has no records.
    func records(_ models: [String]) throws -> Records {
        try Self.blamingUsage {
            guard !isTokens else {
                throw RetortError.usage(
                    "\(path.quoted(limit: 200)) holds token ids, and this needs prompts with their answers as text")
            }
            guard tensor == nil else {
                throw RetortError.usage("--tensor is for a safetensors file, and \(path.quoted(limit: 200)) is text")
            }
            guard every ?? 2 >= 2 else {
                throw RetortError.usage("--test-every is \(every ?? 0)", why: "every n-th record, n from 2 on")
            }
            guard let folder = text.folder(among: models) else {
                throw RetortError.usage(
                    "nothing says how text becomes tokens", why: "the model's directory has no tokenizer",
                    help: "give --tokenizer, the directory of one")
            }
            let encoder = try text.encoder(try Tokenizer.load(folder))
            let source = try TextSource.open([path], text.source)
            let numbers = (0..<source.count).filter { $0 % (every ?? 1) == 0 }.prefix(limit ?? .max)
            return Records(
                chosen: TextRecordChoice(source, Array(numbers)), encoder: encoder,
                summary: source.summary)
        }
    }

    /// What would be a recipe's fault is the command line's here.
    static func blamingUsage<Value>(_ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch var error as RetortError where error.exit == .recipe {
            error.exit = .usage
            throw error
        }
    }
}
