import RetortModels
import RetortSupport

/// `data: {kind: masked-texts}`: texts of which an encoder guesses some tokens.
struct MaskedSource: Sendable {
    private let texts: SentenceSource
    private let settings: MaskSettings
    private let place: RetortError.Location?
    private let lengthPlace: RetortError.Location?

    static let section = RecipeSection(
        "masked-texts", "Texts of which an encoder guesses masked tokens.",
        SentenceSource.fields + [
            RecipeField(
                "tokenizer", .text, .optional,
                "the directory of the tokenizer (default: the student's, else the teacher's)"),
            RecipeField(
                "max-length", .integer(3...(1 << 24)), .defaulted("128"),
                "tokens of a row, special ones included; longer texts are cut into several rows"),
            RecipeField(
                "join", .flag, .defaulted("false"),
                "put all texts behind each other before they are cut, so that every row but the last is full"),
            RecipeField("mask", .section(mask), .defaulted("{}"), "which tokens are to be guessed"),
        ])

    private static let mask = RecipeSection(
        "mask", "Which tokens are to be guessed (Devlin et al. 2018), drawn anew in each epoch.",
        [
            RecipeField(
                "rate", .number(0.001...1), .defaulted("0.15"),
                "how likely each is chosen, or each word; special tokens never are"),
            RecipeField("share", .number(0...1), .defaulted("0.8"), "of those, the share behind the mask token"),
            RecipeField(
                "random", .number(0...1), .defaulted("0.1"),
                "and the share that any other token stands for; the others stay as they are"),
            RecipeField(
                "whole-words", .flag, .defaulted("false"), "choose all tokens of a word or none (WordPiece's ##)"),
        ])

    /// - Throws: `RetortError` 78 for keys that do not fit together.
    init(_ node: RecipeNode, _ resolve: (String) -> String) throws {
        texts = try SentenceSource(node, resolve)
        place = node.location
        lengthPlace = node["max-length"]?.location ?? node.location
        let mask = node.required("mask")
        settings = MaskSettings(
            tokenizer: node["tokenizer"].map { resolve($0.text) }, length: node.required("max-length").integer,
            joins: node.required("join").flag, rate: mask.required("rate").number,
            maskShare: mask.required("share").number, randomShare: mask.required("random").number,
            wholeWords: mask.required("whole-words").flag)
        let shares = settings.maskShare + settings.randomShare
        guard shares <= 1 else {
            throw RetortError.recipe(
                "data.mask: share and random together are \(NumberFormat.significant(shares))",
                at: mask.location ?? node.location, why: "they are parts of the tokens that are chosen")
        }
    }

    /// Reads the texts. One that stands there twice is left out once, and what is measured is never learned.
    /// - Throws: `RetortError` 65, 66, 69, 74, 78.
    func load(tokenizers: [String], say: (String) throws -> Void) throws -> LanguageExamples {
        do {
            return try load(texts, tokenizers, say)
        } catch let error as RetortError where error.exit == .recipe && error.location == nil {
            let isLength = error.help.contains("max-length")
            throw RetortError.recipe(
                error.what, at: isLength ? lengthPlace : place, why: error.why, help: error.help)
        }
    }

    private func load(_ texts: SentenceSource, _ tokenizers: [String], _ say: (String) throws -> Void) throws
        -> LanguageExamples
    {
        guard let folder = settings.folder(among: tokenizers) else {
            throw TextSettings.noTokenizer(among: tokenizers)
        }
        let tokenizer = try Tokenizer.load(folder)
        let rule = try settings.rule(tokenizer, folder)
        let rows = try texts.load()
        let once = TextsOnce()
        // What is measured comes first: it is never learned.
        let test = try settings.corpus(rows.test, once, tokenizer)
        let train = try settings.corpus(rows.train, once, tokenizer)
        if once.repeated > 0 {
            try say("\(NumberFormat.grouped(once.repeated)) texts that stand there twice are left out")
        }
        for (what, one) in [("training text", train), ("test text", test)] {
            try say("\(what): \(NumberFormat.grouped(one.texts)) texts, \(one.corpus.summary.masked)")
        }
        return LanguageExamples(
            train: PromptedCorpus(train.corpus), test: PromptedCorpus(test.corpus), length: settings.length,
            pad: tokenizer.fillingToken, tokenizer: .init(folder: folder, tokens: tokenizer.idLimit), masking: rule)
    }
}

/// Takes each text once, and none that is empty.
final class TextsOnce {
    private var seen = Set<TextKey>()
    private(set) var repeated = 0

    func takes(_ text: String) -> Bool {
        guard !text.isEmpty else { return false }
        let isNew = seen.insert(TextKey(Array(text.utf8))).inserted
        if !isNew { repeated += 1 }
        return isNew
    }
}

/// How texts become rows of which tokens are to be guessed: what `data` of a recipe and the options of `retort eval` say alike.
public struct MaskSettings: Sendable {
    /// The directory of the tokenizer; nil: the first model's that has one.
    public var tokenizer: String?
    /// Tokens of a row, special ones included.
    public var length: Int
    /// Whether texts are put behind each other before they are cut.
    public var joins: Bool
    public var rate: Double
    public var maskShare: Double
    public var randomShare: Double
    public var wholeWords: Bool

    public init(
        tokenizer: String? = nil, length: Int = 128, joins: Bool = false, rate: Double = 0.15, maskShare: Double = 0.8,
        randomShare: Double = 0.1, wholeWords: Bool = false
    ) {
        (self.tokenizer, self.length, self.joins) = (tokenizer, length, joins)
        (self.rate, self.maskShare, self.randomShare) = (rate, maskShare, randomShare)
        self.wholeWords = wholeWords
    }

    /// The directory that the tokenizer is read from; nil: there is none.
    func folder(among others: [String]) -> String? { TextSettings(tokenizer: tokenizer).folder(among: others) }

    /// The corpus of those texts of some rows that were not there before.
    /// - Returns: how many texts they are, too.
    /// - Throws: what reading the rows throws; `RetortError` 65 where no row is left; 73, 74; 78 for a length without room.
    func corpus(_ rows: RowStream<[String]>, _ once: TextsOnce, _ tokenizer: Tokenizer) throws -> (
        corpus: TokenizedCorpus, texts: Int
    ) {
        var count = 0
        let corpus = try TextPieces.corpus(tokenizer, length: length, joined: joins) { take in
            try rows.forEach { row in
                for text in row where once.takes(text) {
                    count += 1
                    try take(text)
                }
            }
        }
        return (corpus, count)
    }

    /// - Throws: `RetortError` 65 for a tokenizer without a mask token, 78 for one that marks no words where they are asked for.
    func rule(_ tokenizer: Tokenizer, _ folder: String) throws -> MaskingRule {
        guard let mask = tokenizer.special("mask")?.id else {
            throw RetortError.badData(
                "the tokenizer has no mask token", at: .init(file: folder),
                why: "tokenizer_config.json names no mask_token that is in the vocabulary",
                help: "take the tokenizer of an encoder")
        }
        let marks = wholeWords ? tokenizer.continuesWord : nil
        guard !wholeWords || marks != nil else {
            throw RetortError.recipe(
                "whole words are to be masked, and the tokenizer marks no token that goes on with one",
                why: "words are told by WordPiece's ##", help: "remove whole-words")
        }
        return MaskingRule(
            rate: rate, maskShare: maskShare, randomShare: randomShare, mask: mask, vocabulary: tokenizer.idLimit,
            continuesWord: marks)
    }
}

extension TokenizedCorpus.Summary {
    /// Of texts for masks.
    var masked: String {
        let grouped = NumberFormat.grouped
        return
            "\(grouped(examples)) rows, \(grouped(tokens)) tokens, \(grouped(targets)) that may be masked, median length "
            + "\(medianLength), longest \(longest)"
    }
}
