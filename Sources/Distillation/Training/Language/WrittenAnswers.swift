import RetortModels
import RetortRuntime
import RetortSupport

/// What models write to the prompts of test examples, measured: greedily against what the data have there, and drawn at temperature 1
/// against a teacher, on whose texts a student that learned from others' may be at a loss (exposure bias).
struct WrittenAnswers {
    private let spec: AnswerSpec
    private let prompts: [[Int32]]
    /// What the data answer, or how their text goes on; nil: nothing.
    private let references: [(tokens: [Int32], isAnswer: Bool)?]
    private let tokenizer: Tokenizer?
    private let pad: Int32
    /// Prompts that are answered side by side.
    static let rows = 16

    /// - Parameters:
    ///   - test: what is asked, prompts without an answer too.
    ///   - tokenizer: nil: words are not compared.
    init(_ spec: AnswerSpec, _ test: TokenizedCorpus, tokenizer: Tokenizer?, pad: Int32) {
        self.spec = spec
        self.tokenizer = tokenizer
        self.pad = pad
        let examples = (0..<min(spec.rows ?? .max, test.count)).map { test.example($0) }
        prompts = examples.map { RolloutText.prompt(of: $0, least: spec.promptTokens) }
        references = examples.map { RolloutText.reference(of: $0, least: spec.promptTokens) }
    }

    /// What of it cannot be measured, in words; nil: nothing.
    var limits: String? {
        let count = references.count { $0 != nil }
        guard count < references.count else { return nil }
        return count == 0
            ? "answers: no test prompt has an answer to compare with: ROUGE-L and exact match are not measured"
            : "answers: ROUGE-L and exact match are measured on the \(NumberFormat.grouped(count)) of "
                + "\(NumberFormat.grouped(references.count)) test prompts that have an answer"
    }

    /// - Parameter teachers: empty: only words are compared.
    /// - Throws: `RetortError` 75 when a signal asked to stop.
    func metrics(_ model: any LanguageModel, teachers: [LanguageTeacher], on device: Device) throws -> [Metric:
        Double]
    {
        let ends = try EndTokens.named(in: model.config).union([tokenizer?.special("eos")?.id].compactMap { $0 })
        var metrics: [Metric: Double] = [:]
        let compared = references.indices.filter { references[$0] != nil }
        if let tokenizer, !compared.isEmpty {
            var (rouge, exact) = (0.0, 0)
            for (written, reference) in zip(
                try write(compared, model, TokenSampling(), ends), references.compactMap(\.self))
            {
                let said = try tokenizer.decode(written.answer, skippingSpecialTokens: true)
                let whole = try tokenizer.decode(reference.tokens, skippingSpecialTokens: true)
                // An answer is compared as a whole, a text that goes on as far as it was written.
                let wanted =
                    reference.isAnswer
                    ? whole
                    : try tokenizer.decode(Array(reference.tokens.prefix(spec.count)), skippingSpecialTokens: true)
                rouge += RougeL(said, reference: wanted).f
                if try AnswerRule.isSame(said, whole, by: spec.rule) { exact += 1 }
            }
            metrics[.rougeL] = rouge / Double(compared.count)
            if spec.rule != nil { metrics[.exactMatch] = Double(exact) / Double(compared.count) }
        }
        if !teachers.isEmpty {
            let texts = try write(
                Array(prompts.indices), model, TokenSampling(temperature: 1, seed: 1), ends,
                readBy: teachers)
            let corpus = try TokenizedCorpus(texts.map(\.example))
            let own = try LanguageEvaluation(
                model, LanguageBatches(measuring: corpus, pad: pad), teachers: teachers, on: device)
            metrics[.rolloutReverseKL] = own.comparison?.reverse
        }
        return metrics
    }

    /// - Parameter numbers: of the prompts.
    private func write(
        _ numbers: [Int], _ model: any LanguageModel, _ sampling: TokenSampling, _ ends: Set<Int32>,
        readBy teachers: [LanguageTeacher] = []
    ) throws -> [RolloutText] {
        let writer = RolloutWriter(
            count: spec.count, sampling: sampling, ends: ends, models: [model] + teachers.compactMap(\.model),
            speakers: [model] + teachers.filter(\.readsStudents).compactMap(\.model), tokens: tokenizer?.idLimit,
            rows: Self.rows)
        return try writer.answers(to: numbers.map { prompts[$0] }, by: model, numbers: numbers)
    }
}

extension LanguageModel {
    /// Its config.json.
    var config: JSONCursor { JSONCursor(json, file: "config.json") }
}
