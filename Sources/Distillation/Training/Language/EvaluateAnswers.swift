import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// How a language model is asked for answers, and what is made of them.
public struct AnswerOptions: Sendable {
    /// Tokens of an answer at most.
    public var count = 256
    public var sampling = TokenSampling()
    /// What is compared of prediction and reference; nil: all of them.
    public var rule: AnswerRule?
    /// A file that gets a line for each prediction as soon as it is there; it must be new or empty.
    public var predictions: String?

    public init() {}
}

/// `retort eval --generate`: a language model, and optionally its teacher, answers prompts, and the answers are compared with those of the
/// file.
/// - Throws: `RetortError` 64 for options that do not fit; 65 or 66 for the models or the data; 73 or 74 for the predictions; 75 when a
///   signal asked to stop.
public func evaluateAnswers(
    languageModel path: String, teacher teacherPath: String?, on data: LanguageEvaluationData, _ options: AnswerOptions,
    dtype: DType = .f32, device: Device, progress: Progress
) throws -> EvaluationReport {
    // Answers have no end to be learned: a tokenizer without an end token will do.
    var data = data
    data.text.examples.appendsEnd = false
    let records = try data.records([path, teacherPath].compactMap { $0 })
    let folders: [(String, String?)] = [(Role.teacher, teacherPath), (Role.student, path)]
    let writers = try folders.compactMap { role, folder in
        try folder.map { try AnsweringModel(role, $0, dtype, records.encoder.tokenizer, on: device) }
    }
    var summary = records.summary
    let questions: [Question] = try (0..<records.chosen.count).compactMap { number in
        do {
            let question = try Question(records.chosen.record(number), records.encoder, options.rule)
            for writer in writers { try writer.check(question) }
            return question
        } catch let error as RetortError where error.exit == .badData && data.text.source.onBadLine == .skip {
            summary.leaveOut(error)
            return nil
        }
    }
    guard !questions.isEmpty else {
        throw RetortError.badData(
            "no record of \(records.chosen.count) can be asked", at: .init(file: data.path),
            why: summary.reasons.first ?? "")
    }
    let file = try options.predictions.map(newFile)
    var report = EvaluationReport([], on: device)
    for writer in writers {
        let scores = try writer.answer(questions, options, file, progress)
        report.results.arms.append(writer.arm(scores, hasRule: options.rule != nil))
        report.counts = [("prompts", questions.count), ("tokens", scores.reduce(0) { $0 + $1.tokens })]
    }
    try file?.close()
    report.notes = summary.words
    return report
}

/// A file that has nothing of another evaluation in it.
private func newFile(_ path: String) throws -> AppendFile {
    if let old = try? InputFile(path: path), old.size > 0 {
        throw RetortError(
            exit: .cannotCreate, what: "\(path.quoted(limit: 200)) has predictions already",
            help: "name another file, or remove it")
    }
    return try AppendFile(path: path)
}

/// A prompt with the answer that is wanted.
private struct Question {
    let place: TextRecord.Place?
    let prompt: String
    let tokens: [Int32]
    let reference: String
    /// What a rule makes of the reference.
    let wanted: String?

    /// - Throws: `RetortError` 65, with the record's place, where there is nothing to compare with.
    init(_ record: TextRecord, _ encoder: ExampleEncoder, _ rule: AnswerRule?) throws {
        place = record.place
        tokens = try encoder.prompt(record)
        func failure(_ what: String, _ why: String) -> RetortError {
            .badData(what, at: record.place?.location, why: why)
        }
        guard let reference = record.content.answer else {
            throw failure("the record has no answer to compare with", "it needs a prompt and what completes it")
        }
        guard !tokens.isEmpty else {
            throw failure("the prompt is empty", "the tokenizer puts no token in front of a text")
        }
        self.reference = reference
        if case .completion(let text, _) = record.content {
            prompt = text
        } else {
            prompt = try encoder.tokenizer.decode(tokens)
        }
        wanted = try rule?.answer(in: reference)
        if rule != nil, wanted == nil {
            throw failure("nothing in the record's answer is what --answer looks for", reference.quoted(limit: 200))
        }
    }
}

extension TextRecord.Content {
    /// What is to be written behind the prompt that `ExampleEncoder.prompt` makes; nil where nothing is.
    fileprivate var answer: String? {
        func last(_ turns: [TextMessage]) -> String? {
            let turns = turns.reversed().prefix { $0.role == .assistant }.reversed()
            return turns.isEmpty ? nil : turns.map(\.content).joined(separator: "\n")
        }
        return switch self {
        case .text, .prompt: nil
        case .completion(_, let completion): completion
        case .conversation(let turns): last(turns)
        case .preference(_, let chosen, _): last(chosen)
        }
    }
}

/// What became of a question.
private struct AnswerScores {
    let tokens: Int
    let answer: String?
    let rougeL: Double
    let isExact: Bool
    let tokenF1: Double

    init(_ prediction: String, tokens: Int, _ question: Question, _ rule: AnswerRule?) throws {
        self.tokens = tokens
        rougeL = RougeL(prediction, reference: question.reference).f
        tokenF1 = AnswerMatch.tokenF1(prediction, question.reference)
        answer = try rule?.answer(in: prediction)
        isExact =
            if let rule, let wanted = question.wanted {
                answer.map { rule.agrees($0, with: wanted) } ?? false
            } else {
                AnswerMatch.isExact(prediction, question.reference)
            }
    }
}

/// A model that writes answers.
private struct AnsweringModel {
    private let role: String
    private let entry: EvaluatedLanguageModel
    private let tokenizer: Tokenizer
    private let ends: Set<Int32>

    init(_ role: String, _ path: String, _ dtype: DType, _ tokenizer: Tokenizer, on device: Device) throws {
        self.role = role
        self.tokenizer = tokenizer
        entry = try EvaluatedLanguageModel(path, dtype: dtype, on: device)
        ends = try EndTokens.of(path, tokenizer, vocabulary: entry.model.vocabulary)
    }

    /// - Throws: `RetortError` 65 for a prompt that the model cannot read.
    func check(_ question: Question) throws {
        let model = entry.model
        func failure(_ what: String) -> RetortError {
            .badData(what, at: question.place?.location, why: "the model is \(entry.path.quoted(limit: 200))")
        }
        guard question.tokens.count <= model.maxPositions else {
            throw failure("the prompt has \(question.tokens.count) tokens, the model \(model.maxPositions) positions")
        }
        if let wrong = question.tokens.first(where: { Int($0) >= model.vocabulary }) {
            throw failure("the prompt has the token \(wrong), the model a vocabulary of \(model.vocabulary)")
        }
    }

    func answer(
        _ questions: [Question], _ options: AnswerOptions, _ file: AppendFile?, _ progress: Progress
    ) throws -> [AnswerScores] {
        var scores: [AnswerScores] = []
        try write(questions.map(\.tokens), options) { index, tokens in
            let prediction = try tokenizer.decode(tokens, skippingSpecialTokens: true).trimmed
            let question = questions[index]
            let score = try AnswerScores(prediction, tokens: tokens.count, question, options.rule)
            scores.append(score)
            try file?.append(line: line(question, prediction, score).text())
            progress.status(
                "\(role)  answer \(index + 1)/\(questions.count)  "
                    + "ROUGE-L \(NumberFormat.percent(mean(scores, \.rougeL)))")
        }
        return scores
    }

    /// Prompts that are answered side by side.
    private static let batch = 8

    /// What is written to prompts, handed on in their order.
    private func write(
        _ prompts: [[Int32]], _ options: AnswerOptions, _ body: (Int, [Int32]) throws -> Void
    ) throws {
        let writing = WritingOptions(
            count: options.count, sampling: options.sampling, ends: ends, vocabulary: tokenizer.idLimit)
        for start in stride(from: 0, to: prompts.count, by: Self.batch) {
            let part = start..<min(start + Self.batch, prompts.count)
            let written = try entry.model.generate(Array(prompts[part]), writing, texts: Array(part))
            for (index, tokens) in zip(part, written) {
                // What ends an answer is no part of it.
                try body(index, tokens.last.map(ends.contains) ?? false ? Array(tokens.dropLast()) : tokens)
            }
        }
    }

    private func line(_ question: Question, _ prediction: String, _ scores: AnswerScores) -> JSON {
        var line = JSONObject()
        line.set("role", .string(role))
        if let place = question.place { line.set("place", .string(place.description)) }
        line.set("prompt", .string(question.prompt))
        line.set("reference", .string(question.reference))
        line.set("prediction", .string(prediction))
        if let wanted = question.wanted {
            line.set("expected", .string(wanted))
            line.set("answer", scores.answer.map { .string($0) } ?? .null)
        }
        line.set("rouge_l", .double(scores.rougeL))
        line.set("exact_match", .bool(scores.isExact))
        line.set("token_f1", .double(scores.tokenF1))
        return .object(line)
    }

    /// - Parameter hasRule: answers were looked for in what was written.
    func arm(_ scores: [AnswerScores], hasRule: Bool) -> ArmResult {
        var metrics: [Metric: Double] = [
            .rougeL: mean(scores, \.rougeL), .exactMatch: mean(scores) { $0.isExact ? 1 : 0 },
            .tokenF1: mean(scores, \.tokenF1), .parameters: Double(entry.model.parameterCount),
            .bytes: Double(entry.model.parameterCount * 4),
        ]
        if hasRule { metrics[.unanswered] = mean(scores) { $0.answer == nil ? 1 : 0 } }
        return ArmResult(role, from: entry.path, metrics)
    }

    private func mean(_ scores: [AnswerScores], _ value: (AnswerScores) -> Double) -> Double {
        scores.reduce(0) { $0 + value($1) } / Double(max(1, scores.count))
    }
}

extension String {
    /// Without white space around it.
    fileprivate var trimmed: String {
        guard let first = unicodeScalars.firstIndex(where: { !$0.properties.isWhitespace }),
            let last = unicodeScalars.lastIndex(where: { !$0.properties.isWhitespace })
        else { return "" }
        return String(unicodeScalars[first...last])
    }
}
