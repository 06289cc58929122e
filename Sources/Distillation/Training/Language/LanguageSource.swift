import RetortData
import RetortModels
import RetortSupport

/// Where the text of a language model's recipe comes from.
struct LanguageSource: Sendable {
    let path: String
    private let node: RecipeNode
    private let testPath: String?
    /// Of a test file that has another format than the training's.
    private let testFormat: TextFormat?
    private let plainPath: String?
    private let settings: TextSettings
    /// Of texts whose tokens are masked, all there is to say; nil: tokens are predicted from those before them.
    private let masked: MaskedSource?

    /// - Throws: `RetortError` 78 for keys that do not fit together.
    init(_ node: RecipeNode, _ resolve: (String) -> String) throws {
        self.node = node
        path = resolve(node.required("path").text)
        let kind = node.required("kind").text
        masked = kind == MaskedSource.section.name ? try MaskedSource(node, resolve) : nil
        guard kind == "text" else {
            (testPath, testFormat, plainPath, settings) = (nil, nil, nil, TextSettings())
            return
        }
        plainPath = node["plain"].map { resolve($0.required("path").text) }
        let test = node.required("test")
        testFormat = test["format"].flatMap { TextFormat(rawValue: $0.text) }
        if let format = test["format"], test["path"] == nil {
            throw RetortError.recipe(
                "data.test.format is of a file of its own, and there is none", at: format.location,
                help: "say data.format, or give data.test a path")
        }
        switch (test["path"], test["every"]) {
        case (let path?, nil): testPath = resolve(path.text)
        case (nil, _?): testPath = nil
        case (_?, _?):
            throw RetortError.recipe(
                "data.test has both path and every", at: test.location,
                help: "keep one of them; `data.test={path: FILE}` replaces the whole section")
        default:
            throw RetortError.recipe(
                "data.test needs either path or every", at: test.location,
                help: "path names a file; every: 20 keeps each twentieth record for the test")
        }
        settings = TextSettings(
            source: TextOptions(
                format: node["format"].flatMap { TextFormat(rawValue: $0.text) },
                fields: Dictionary(
                    uniqueKeysWithValues: (node["fields"]?.fields ?? []).map { ($0.key, $0.value.text) }),
                onBadLine: BadLinePolicy(rawValue: node.required("on-bad-line").text) ?? .error),
            examples: ExampleOptions(
                // Cut rows lose nothing: an example goes on in the next.
                maxLength: node.required("packing").text == Packing.split.rawValue ? nil : node["max-length"]?.integer,
                truncation: LongExamplePolicy(rawValue: node.required("truncation").text) ?? .right,
                targets: ExampleTargets(rawValue: node.required("targets").text) ?? .answers,
                separator: node.required("separator").text, appendsEnd: node.required("appends-end").flag),
            tokenizer: node["tokenizer"].map { resolve($0.text) }, template: node["template"]?.text)
    }

    /// Where it stands in the recipe.
    var location: RetortError.Location? { node.location }

    /// Whether models are encoders that guess masked tokens.
    var isMasked: Bool { masked != nil }

    /// Whether there is text for losses of plain text.
    var hasPlain: Bool { node["plain"] != nil }

    /// Reads the examples.
    /// - Parameters:
    ///   - tokenizers: directories that may hold the tokenizer where the recipe names none, the first that does counts.
    ///   - asking: whether prompts without an answer are wanted beside examples that have one.
    ///   - say: told what was read, in words.
    /// - Throws: `RetortError` 65, 66, 69, 74, 78.
    func load(tokenizers: [String], asking: Bool = false, say: (String) throws -> Void) throws -> LanguageExamples {
        if let masked { return try masked.load(tokenizers: tokenizers, say: say) }
        if node.required("kind").text == "tokens" {
            let file = try SafeTensors(path: path)
            return LanguageExamples(
                train: PromptedCorpus(try Self.rows(file, node.required("train").text)),
                test: PromptedCorpus(try Self.rows(file, node.required("test").text)),
                plain: try node["plain"].map {
                    .init(rows: try Self.rows(file, $0.required("tensor").text), length: nil)
                },
                tokenizer: nil)
        }
        guard let folder = settings.folder(among: tokenizers) else {
            throw TextSettings.noTokenizer(among: tokenizers, at: node.location)
        }
        let tokenizer = try Tokenizer.load(folder)
        let packing = Packing(rawValue: node.required("packing").text) ?? .none
        let encoder = try settings.encoder(tokenizer)
        func corpus(_ records: some TextRecords, _ what: String) throws -> PromptedCorpus {
            let corpus = try PromptedCorpus(records, encoder, asking: asking, threads: 2)
            if let pairs = corpus.pairs {
                try say("\(what): \(pairs.summary.pairWords)")
                return corpus
            }
            if let answered = corpus.answered { try say("\(what): \(answered.summary.words)") }
            if corpus.prompts > 0 { try say("prompts of the \(what): \(corpus.asked.summary.promptWords)") }
            return corpus
        }
        let all = try TextSource.open([path], settings.source)
        for line in all.summary.words { try say("\(path.displayable): \(line)") }
        func examples(_ train: some TextRecords, _ test: some TextRecords) throws -> LanguageExamples {
            LanguageExamples(
                train: try corpus(train, "training text"), test: try corpus(test, "test text"),
                plain: try plain(tokenizer, say), packing: packing,
                length: node["max-length"]?.integer,
                pad: tokenizer.fillingToken,
                tokenizer: .init(folder: folder, tokens: tokenizer.idLimit))
        }
        guard let testPath else {
            let every = node.required("test").required("every").integer
            let chosen = { (isTest: Bool) in
                TextRecordChoice(all, (0..<all.count).filter { ($0 % every == 0) == isTest })
            }
            return try examples(chosen(false), chosen(true))
        }
        var source = settings.source
        source.format = testFormat ?? source.format
        let test = try TextSource.open([testPath], source)
        for line in test.summary.words { try say("\(testPath.displayable): \(line)") }
        return try examples(all, test)
    }

    private func plain(_ tokenizer: Tokenizer, _ say: (String) throws -> Void) throws -> LanguageExamples.Plain? {
        guard let plainPath else { return nil }
        let text = TextSettings(
            source: TextOptions(
                format: node["plain"]?["format"].flatMap { TextFormat(rawValue: $0.text) },
                onBadLine: settings.source.onBadLine),
            examples: ExampleOptions(appendsEnd: settings.examples.appendsEnd))
        let rows = try TokenizedCorpus(TextSource.open([plainPath], text.source), text.encoder(tokenizer), threads: 2)
        try say("plain text: \(rows.summary.words)")
        return .init(rows: rows, length: node.required("plain").required("max-length").integer)
    }

    /// A matrix of token ids; each is predicted but the first of a row.
    /// - Parameter limit: rows at most.
    static func rows(_ file: SafeTensors, _ name: String, limit: Int? = nil) throws -> TokenizedCorpus {
        let tensor = try file.tensor(name)
        let place = RetortError.Location(file: file.path)
        guard tensor.shape.count == 2, tensor.shape[0] > 0, tensor.shape[1] > 1 else {
            throw RetortError.badData(
                "tensor \(name.quoted(limit: 200)) has the shape \(tensor.shape)", at: place,
                why: "token ids are [rows, tokens], with at least two tokens in a row")
        }
        let (rows, length) = (min(tensor.shape[0], limit ?? .max), tensor.shape[1])
        // Read a few at a time: all ids of a large file, 8 bytes each, need not fit in memory.
        let block = max(1, blockIDs / length)
        var ids: [Int64] = []
        return try TokenizedCorpus(count: rows) { row in
            if row % block == 0 {
                ids = try file.int64s(name, from: row * length, count: min(block, rows - row) * length)
                if let wrong = ids.firstIndex(where: { $0 < 0 || $0 > Int64(Int32.max) }) {
                    throw RetortError.badData(
                        "tensor \(name.quoted(limit: 200)) holds \(ids[wrong]), which is no token", at: place,
                        why: "row \(row + wrong / length), position \(wrong % length)")
                }
            }
            let start = row % block * length
            return TokenizedExample(
                tokens: ids[start..<(start + length)].map(Int32.init),
                isTarget: [Bool](repeating: true, count: length))
        }
    }

    /// Ids that are read at once.
    private static let blockIDs = 1 << 18
}

/// What training and measuring look at.
struct LanguageExamples: Sendable {
    let train: PromptedCorpus
    let test: PromptedCorpus
    var plain: Plain?
    var packing = Packing.none
    /// Tokens of a packed row.
    var length: Int?
    /// What fills rows up.
    var pad: Int32 = 0
    /// What made tokens of text; nil where the data are tokens.
    let tokenizer: Source?
    /// Which tokens are to be guessed; nil: each is predicted from those before it.
    var masking: MaskingRule?

    /// Text for losses of plain text.
    struct Plain: Sendable {
        let rows: TokenizedCorpus
        /// Tokens of the rows it is cut into; nil: it has rows already.
        let length: Int?

        func batches(_ batch: Int, pad: Int32, seed: UInt64) throws -> LanguageBatches {
            try LanguageBatches(
                rows, batch: batch, packing: length == nil ? .none : .split, length: length, pad: pad,
                seed: seed ^ 0x706c_6169_6e00)
        }
    }

    struct Source: Sendable {
        let folder: String
        /// The largest id + 1.
        let tokens: Int
    }

    /// The identity of the data, for the manifest.
    var digest: String {
        ContentHash.hexadecimal(of: Array((train.digest + test.digest + (plain?.rows.digest ?? "")).utf8))
    }
    /// Tokens of the longest row.
    var longest: Int {
        max(
            packing == .none ? train.longest : length ?? 0, test.longest,
            plain.map { $0.length ?? $0.rows.summary.longest } ?? 0)
    }
    var largestToken: Int32 {
        max(train.largestToken, test.largestToken, plain?.rows.largestToken ?? 0)
    }

    /// - Parameter corpus: of the training examples some or all, or what was written to their prompts.
    func training(_ corpus: TokenizedCorpus, batch: Int, seed: UInt64) throws -> LanguageBatches {
        try LanguageBatches(
            corpus, batch: batch, packing: packing, length: length, pad: pad, seed: seed,
            masking: masking.map { TokenMasking($0, seed: seed) })
    }

    /// Test examples, about a thousand tokens at a time, one example a row.
    func measuring(_ corpus: TokenizedCorpus) throws -> LanguageBatches {
        try LanguageBatches(measuring: corpus, pad: pad, masking: masking)
    }
}

extension LanguageExamples {
    /// The test examples that have an answer, as a teacher reads them; nil: none has.
    /// - Parameter longest: tokens that it can read of one.
    func measuring(readAs tokens: TeacherTokens, longest: Int) throws -> LanguageBatches? {
        guard let answered = test.answered else { return nil }
        guard let renumbering = tokens.renumbering else { return try measuring(answered) }
        return try LanguageBatches(measuring: answered.read(by: renumbering, longest: longest), pad: 0)
    }
}

extension TokenizedCorpus {
    /// The same texts in other ids: what is learned of a token is learned of those that it is read as.
    func read(by renumbering: TokenRenumbering, longest: Int) throws -> TokenizedCorpus {
        try TokenizedCorpus(count: count) { number in
            let example = example(number)
            let (tokens, places) = renumbering.read(example.tokens)
            var isTarget = [Bool](repeating: false, count: tokens.count)
            // The first token of a text has no predecessor, whatever the other puts in front of it.
            for (place, isLearned) in example.isTarget.enumerated().dropFirst() where isLearned {
                for own in (places[place - 1] + 1)..<max(places[place - 1], places[place]) + 1 {
                    isTarget[Int(own)] = true
                }
            }
            return TokenizedExample(
                tokens: Array(tokens.prefix(longest)), isTarget: Array(isTarget.prefix(longest)))
        }
    }
}

extension LanguageBatches {
    /// What a model is measured on: about a thousand tokens at a time, one example a row. A run's table and `retort eval` look at the same
    /// batches, so that they have the same numbers.
    /// - Parameter masking: of texts for encoders; every model is asked for the same tokens, whatever the run's seed.
    init(measuring corpus: TokenizedCorpus, pad: Int32, masking: MaskingRule? = nil) throws {
        try self.init(
            corpus, batch: max(1, 1024 / max(1, corpus.summary.longest) / corpus.group), pad: pad, seed: nil,
            masking: masking.map { TokenMasking($0, seed: 0) })
    }
}

extension Tokenizer {
    /// What fills rows up.
    var fillingToken: Int32 { special("pad")?.id ?? special("eos")?.id ?? 0 }
}

extension TokenizedCorpus.Summary {
    var words: String {
        let grouped = NumberFormat.grouped
        var parts = [
            "\(grouped(examples)) examples, \(grouped(tokens)) tokens, \(grouped(targets)) of them learned, "
                + "median length \(medianLength), longest \(longest)"
        ]
        if cut > 0 { parts.append("\(grouped(cut)) cut") }
        if tooLong > 0 { parts.append("\(grouped(tooLong)) too long and left out") }
        if withoutTarget > 0 { parts.append("\(grouped(withoutTarget)) left out with nothing to learn") }
        return parts.joined(separator: "; ")
    }

    /// Of two answers to each prompt.
    var pairWords: String {
        let grouped = NumberFormat.grouped
        var parts = [
            "\(grouped(examples / 2)) pairs of answers, \(grouped(tokens)) tokens, \(grouped(targets)) of them answers', "
                + "median length \(medianLength), longest \(longest)"
        ]
        if cut > 0 { parts.append("\(grouped(cut)) answers cut") }
        if tooLong > 0 { parts.append("\(grouped(tooLong)) pairs too long and left out") }
        if withoutTarget > 0 { parts.append("\(grouped(withoutTarget)) pairs left out with nothing to learn") }
        return parts.joined(separator: "; ")
    }

    /// Of what is asked.
    var promptWords: String {
        let grouped = NumberFormat.grouped
        var parts = [
            "\(grouped(examples)), \(grouped(prompts)) of them without an answer, median length \(medianLength), longest "
                + "\(longest)" + (prompts < examples ? ", with the answers that are there" : "")
        ]
        if cut > 0 { parts.append("\(grouped(cut)) cut") }
        if tooLong > 0 { parts.append("\(grouped(tooLong)) too long and left out") }
        return parts.joined(separator: "; ")
    }
}
