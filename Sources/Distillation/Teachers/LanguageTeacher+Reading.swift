import RetortModels
import RetortRuntime
import RetortSupport

extension LanguageTeacher {
    /// Reads a batch in tokens of its own, a text a row.
    /// - Parameters:
    ///   - alignment: which of its tokens are compared with which of the student's.
    ///   - chunk: how many tokens' logits are held at a time where tokens' probabilities are asked for.
    ///   - device: the student's.
    /// - Throws: `RetortError` 65 for a text that its tokenizer cannot read.
    func reading(
        _ batch: LanguageBatch, _ alignment: TokenAlignment, chunk: ChunkSize = .automatic, on device: Device
    ) throws -> TranslatedTeacher {
        guard case .model(let model, let own) = source, let bridge = tokens.bridge else {
            throw RetortError.internalBug("a teacher without a tokenizer of its own is asked to read")
        }
        let texts = batch.texts
        let translations = try texts.map { try bridge.translate($0.tokens) }
        let length = max(1, min(model.maxPositions, translations.map(\.tokens.count).max() ?? 1))
        var ids = [Int32](repeating: 0, count: texts.count * length)
        var valid = [Bool](repeating: false, count: ids.count)
        var groups: [TranslatedTeacher.Group] = []
        for (row, (text, translation)) in zip(texts, translations).enumerated() {
            let start = row * length
            for (place, token) in translation.tokens.prefix(length).enumerated() {
                ids[start + place] = token
                valid[start + place] = true
            }
            groups += alignment.groups(text, translation, longest: length).map {
                // A token is predicted one place before its own.
                TranslatedTeacher.Group(
                    student: ($0.source.lowerBound - 1 + text.range.lowerBound)..<($0.source.upperBound - 1
                        + text.range.lowerBound),
                    teacher: ($0.target.lowerBound - 1 + start)..<($0.target.upperBound - 1 + start))
            }
        }
        model.setTraining(false)
        return try Autograd.withoutGradients {
            let head = try model.head()
            let hidden = try model.hidden(TokenBatch(ids, rows: texts.count, valid: valid)).last.reshaped([
                ids.count, head.hidden,
            ])
            func rows(_ places: [Int]) throws -> Tensor {
                try hidden.gatherRows(places.map(Int32.init), shape: [places.count])
            }
            let several = groups.filter { $0.teacher.count > 1 }.flatMap(\.teacher)
            var logs: [Int: Float] = [:]
            if !several.isEmpty {
                let labels = try own.compute.view(several.map { ids[$0 + 1] }, [several.count], .i32)
                let values = try rows(several).chunkedLogProbabilities(labels, head: head, chunk: chunk).values()
                logs = Dictionary(uniqueKeysWithValues: zip(several, values))
            }
            return TranslatedTeacher(
                groups: groups, logProbability: { $0.reduce(0) { $0 + (logs[$1] ?? 0) } },
                logits: { places in
                    let logits = try Autograd.withoutGradients { try HeadLogits(rows(places), head) }
                    return own.description == device.description
                        ? logits : TransferredLogits(logits, from: own, to: device)
                }, shared: (bridge.shared.studentIDs, bridge.shared.teacherIDs))
        }
    }
}

extension TokenAlignment {
    /// The groups of a text whose tokens are learned, and which both models can predict.
    /// - Parameter longest: tokens that the teacher reads.
    func groups(_ text: BatchText, _ translation: TokenBridge.Translation, longest: Int) -> [TokenBridge.Group] {
        let usable = translation.groups.filter { group in
            group.source.lowerBound > 0 && group.target.lowerBound > 0 && group.target.upperBound <= longest
                && group.source.allSatisfy { text.isLearned[$0 - 1] }
        }
        switch self {
        case .bytes: return usable
        case .order:
            return zip(usable.flatMap(\.source), usable.flatMap(\.target)).map {
                TokenBridge.Group(source: $0..<($0 + 1), target: $1..<($1 + 1))
            }
        }
    }
}

/// How much of a text a teacher with a tokenizer of its own is compared on.
struct ReadingCoverage {
    private(set) var learned = 0
    private(set) var compared = 0
    private(set) var teachers = 0
    private let shared: Int

    /// - Parameter corpus: its first few hundred examples are looked at.
    /// - Throws: `RetortError` 65 for a text that the tokenizer cannot read.
    init(_ bridge: TokenBridge, _ corpus: TokenizedCorpus) throws {
        shared = bridge.shared.count
        for number in 0..<min(200, corpus.count) {
            let example = corpus.example(number)
            // Of a prompt without an answer its own tokens show how the tokenizers fit.
            let isPrompt = example.targetCount == 0
            let text = BatchText(
                range: 0..<example.count, tokens: example.tokens[...],
                isLearned: example.isTarget.dropFirst().map { $0 || isPrompt } + [false])
            let groups = try TokenAlignment.bytes.groups(text, bridge.translate(example.tokens), longest: .max)
            learned += text.learned.count
            compared += groups.reduce(0) { $0 + $1.source.count }
            teachers += groups.reduce(0) { $0 + $1.target.count }
        }
    }

    var words: String {
        "\(NumberFormat.percent(Double(compared) / Double(max(1, learned)))) of the learned tokens are compared, "
            + "\(NumberFormat.significant(Double(teachers) / Double(max(1, compared)))) of the teacher's to one of the student's; "
            + "both vocabularies have \(NumberFormat.grouped(shared)) tokens"
    }
}
