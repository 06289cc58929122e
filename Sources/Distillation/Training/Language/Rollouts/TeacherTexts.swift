import RetortModels
import RetortRuntime
import RetortSupport

/// A teacher's answers to the prompts of the training examples: what sequence-level distillation learns from. They are written before
/// training, to a file of JSON lines that grows batch by batch, so that a run that was stopped goes on behind the last.
struct TeacherTexts {
    private let writer: RolloutWriter
    private let rollouts: RolloutSpec
    private let spec: TeacherTextSpec
    private let teacher: any LanguageModel
    /// nil where the data are tokens.
    private let tokenizer: Tokenizer?

    init(
        _ writer: RolloutWriter, _ rollouts: RolloutSpec, _ spec: TeacherTextSpec, teacher: any LanguageModel,
        tokenizer: Tokenizer?
    ) {
        self.writer = writer
        self.rollouts = rollouts
        self.spec = spec
        self.teacher = teacher
        self.tokenizer = tokenizer
    }

    /// What became of the prompts.
    struct Result {
        let corpus: TokenizedCorpus
        let written: Int
        let kept: Int
        let ended: Int
    }

    /// Answers all prompts of a corpus, and keeps what is to be learned.
    /// - Parameters:
    ///   - path: the file; the answers that are there already are read, not written.
    ///   - onProgress: called with the answers that are there.
    /// - Throws: `RetortError` 65 when nothing is kept or the file is not what was written; 74 on a full disk; 75 when a signal asked to
    ///   stop: whole batches are kept.
    func write(_ corpus: TokenizedCorpus, to path: String, onProgress: (Int) -> Void = { _ in }) throws -> Result {
        let total = corpus.count * spec.samples
        var there = try Self.read(path)
        guard there.count <= total else {
            throw RetortError.badData(
                "\(path.quoted(limit: 200)) has \(there.count) texts, where \(total) are asked for")
        }
        let file = try AppendFile(path: path)
        for start in stride(from: there.count, to: total, by: writer.rows) {
            let numbers = Array(start..<min(total, start + writer.rows))
            let examples = numbers.map { corpus.example($0 / spec.samples) }
            let texts = try writer.answers(
                to: examples.map { RolloutText.prompt(of: $0, least: rollouts.promptTokens) }, by: teacher,
                numbers: numbers)
            for (number, (example, text)) in zip(numbers, zip(examples, texts)) {
                let line = try Line(number, text, keeps(text, example), tokenizer)
                try file.append(line: line.json.text())
                there.append(line)
            }
            onProgress(there.count)
        }
        try file.synchronize()
        try file.close()
        let kept = there.filter(\.isKept)
        guard !kept.isEmpty else {
            throw RetortError.badData(
                "none of the teacher's \(there.count) texts is kept", at: .init(file: path),
                why: "`keep: \(spec.keep.rawValue)` asks for more than it wrote",
                help: "look at the file; raise max-new-tokens, samples or the temperature, or keep more")
        }
        return Result(
            corpus: try TokenizedCorpus(kept.map { RolloutText(prompt: $0.prompt, answer: $0.answer).example }),
            written: there.count, kept: kept.count, ended: there.count { isEnded($0.answer) })
    }

    private func isEnded(_ answer: [Int32]) -> Bool { answer.last.map(writer.ends.contains) ?? false }

    private func keeps(_ text: RolloutText, _ example: TokenizedExample) throws -> Bool {
        switch spec.keep {
        case .all: return true
        case .ended: return isEnded(text.answer)
        case .correct:
            guard let tokenizer else {
                throw RetortError.recipe(
                    "`keep: correct` compares texts, and the data are tokens", at: rollouts.location,
                    help: "keep all, or use data of kind text")
            }
            func words(_ tokens: some Collection<Int32>) throws -> String {
                try tokenizer.decode(Array(tokens), skippingSpecialTokens: true)
            }
            let wanted = try words(example.tokens.suffix(example.count - text.prompt.count))
            return try AnswerRule.isSame(words(text.answer), wanted, by: spec.rule)
        }
    }

    /// A line of the file.
    private struct Line {
        let prompt: [Int32]
        let answer: [Int32]
        let isKept: Bool
        let json: JSON

        init(_ number: Int, _ text: RolloutText, _ isKept: Bool, _ tokenizer: Tokenizer?) throws {
            (prompt, answer, self.isKept) = (text.prompt, text.answer, isKept)
            func ids(_ tokens: [Int32]) -> JSON { .array(tokens.map { .int(Int($0)) }) }
            var members: [(key: String, value: JSON)] = [("number", .int(number)), ("kept", .bool(isKept))]
            if let tokenizer {
                members.append(("prompt", .string(try tokenizer.decode(prompt, skippingSpecialTokens: true))))
                members.append(("answer", .string(try tokenizer.decode(answer, skippingSpecialTokens: true))))
            }
            members += [("prompt_tokens", ids(prompt)), ("answer_tokens", ids(answer))]
            json = .object(members)
        }

        init(_ cursor: JSONCursor) throws {
            func ids(_ key: String) throws -> [Int32] {
                try cursor.member(key).elements().map { Int32(try $0.int(in: 0...Int(Int32.max))) }
            }
            prompt = try ids("prompt_tokens")
            answer = try ids("answer_tokens")
            isKept = try cursor.member("kept").bool()
            json = cursor.value
            guard !prompt.isEmpty, !answer.isEmpty else { throw cursor.failure("a text without tokens") }
        }
    }

    /// The texts that are there; leaves the file without a line that was cut off.
    private static func read(_ path: String) throws -> [Line] {
        try AppendFile.wholeValues(of: path).map(Line.init)
    }
}
