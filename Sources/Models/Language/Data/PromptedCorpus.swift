import RetortData

/// The examples of a source that have an answer to be learned, and all that a model can be asked: of an example with an answer what stands
/// before it, of a record that ends with a question the whole.
public struct PromptedCorpus: Sendable {
    /// Examples of which something is learned; nil: there is none.
    public let answered: TokenizedCorpus?
    /// These and the prompts without an answer, in the source's order; the same object where no record ends with a question. A conversation
    /// that does is here as a prompt, also where earlier turns of it are learned in `answered`.
    public let asked: TokenizedCorpus
    /// Of records that are preferences both answers, the better one first; `answered` then has the better ones alone. nil: they have one
    /// answer or none.
    public let pairs: TokenizedCorpus?
    /// Where the first record begins that ends with a question; nil: none does, or it was made here.
    public let firstQuestion: TextRecord.Place?

    /// Prompts without an answer among those that are asked.
    public var prompts: Int { asked.summary.prompts }

    /// The identity of the data; of examples with answers alone that of their corpus.
    public var digest: String {
        if let pairs { return pairs.digest }
        guard let answered else { return asked.digest }
        return answered === asked ? asked.digest : answered.digest + asked.digest
    }
    /// Tokens of the longest example.
    public var longest: Int {
        max(asked.summary.longest, answered?.summary.longest ?? 0, pairs?.summary.longest ?? 0)
    }
    public var largestToken: Int32 {
        max(asked.largestToken, answered?.largestToken ?? 0, pairs?.largestToken ?? 0)
    }

    /// Examples that all have something to be learned.
    public init(_ examples: TokenizedCorpus) {
        (answered, asked, pairs, firstQuestion) = (examples, examples, nil, nil)
    }

    /// - Parameter pairs: the better and the worse answer to each prompt in turns.
    init(pairs: TokenizedCorpus) throws {
        let better = try pairs.betterAnswers()
        (answered, asked, firstQuestion) = (better, better, nil)
        self.pairs = pairs
    }

    /// Encodes every record of a source. Of preferences, which a source has throughout or not at all, both answers or none.
    /// - `asking`: whether prompts without an answer are wanted beside examples that have one.
    /// - `threads`: how many encode at once; the result does not depend on it.
    /// - Throws: as `TokenizedCorpus.init`; `RetortError` 65 when nothing is left.
    public init(
        _ source: some TextRecords, _ encoder: ExampleEncoder, asking: Bool, threads: Int = 1
    ) throws {
        if source.count > 0, case .preference = try source.record(0).content {
            let builder = try CorpusBuilder(count: source.count, group: 2, threads: threads) { number, block in
                block.add(try encoder.pair(source.record(number)), record: number)
            }
            let both = try TokenizedCorpus(builder.placed(in: source))
            let better = try both.betterAnswers()
            (pairs, answered, asked, firstQuestion) = (both, better, better, nil)
            return
        }
        pairs = nil
        let builder = try CorpusBuilder(count: source.count, threads: threads) { number, block in
            let record = try source.record(number)
            let outcome = try encoder.encode(record)
            block.add(outcome, record: number)
            if record.content.isQuestion { block.noted.append(Int32(clamping: number)) }
        }.placed(in: source)
        let questions = builder.noted
        let answered = try builder.isEmpty && !questions.isEmpty ? nil : TokenizedCorpus(builder)
        self.answered = answered
        firstQuestion = try questions.first.flatMap { try source.record(Int($0)).place }
        guard !questions.isEmpty, asking || answered == nil else {
            guard let answered else { throw builder.emptiness }
            asked = answered
            return
        }
        var all = try CorpusBuilder(count: questions.count, threads: threads) { number, block in
            let record = try source.record(Int(questions[number]))
            guard let question = try encoder.question(record) else { return }
            block.add(question, record: Int(questions[number]))
        }
        if let answered { all = try CorpusBuilder(all, with: answered, but: Set(questions)) }
        asked = try TokenizedCorpus(all.placed(in: source))
    }
}

extension TokenizedCorpus {
    /// Of pairs the first of each.
    fileprivate func betterAnswers() throws -> TokenizedCorpus {
        try TokenizedCorpus(count: groups) { example($0 * group) }
    }
}

extension CorpusBuilder {
    /// Prompts and examples in the order of their records. What was cut or left out is that of the prompts.
    /// - Parameter left: records whose examples are not taken.
    fileprivate convenience init(_ prompts: CorpusBuilder, with examples: TokenizedCorpus, but left: Set<Int32>) throws
    {
        self.init()
        var all = (0..<examples.count).filter { !left.contains(examples.records[$0]) }.map {
            (record: examples.records[$0], number: $0, corpus: examples)
        }
        if !prompts.isEmpty {
            let corpus = try TokenizedCorpus(prompts)
            all += (0..<corpus.count).map { (corpus.records[$0], $0, corpus) }
            all.sort { $0.record < $1.record }
        }
        for one in all {
            try add(.example(one.corpus.example(one.number), isCut: false), record: Int(one.record))
        }
        summary.cut = prompts.summary.cut
        summary.tooLong = prompts.summary.tooLong
    }
}
