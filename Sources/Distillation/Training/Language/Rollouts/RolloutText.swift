import RetortModels

/// A text that a model wrote to a prompt: what the student is trained on where it learns from its own or from its teacher's texts.
struct RolloutText: Sendable {
    let prompt: [Int32]
    let answer: [Int32]
    /// Whether the teacher wrote it, or who stands for it.
    let isTeachers: Bool
    /// nil until `RolloutSignals.measure`.
    var signals: Signals?

    /// Of each token of the answer.
    struct Signals: Sendable {
        /// ln q(token) and ln p(token): of the student that wrote, and of the teacher, in nats.
        let student: [Float]
        let teacher: [Float]
        /// q(token) over the probability with which it was drawn; 1 where the student wrote alone.
        let importance: [Float]
    }

    init(prompt: [Int32], answer: [Int32], isTeachers: Bool = false) {
        self.prompt = prompt
        self.answer = answer
        self.isTeachers = isTeachers
    }

    /// What an example asks: the tokens before the last that are learned in a row, of plain text its beginning, and all of one of which nothing
    /// is learned. Nothing of the answer, also where a token has the end of the one and the beginning of the other.
    /// - Parameter least: tokens of a prompt at least, as far as the example has more than that.
    static func prompt(of example: TokenizedExample, least: Int) -> [Int32] {
        let context = context(of: example, least: least)
        if context.isQuestion, let seam = example.seam, !seam.prompt.isEmpty { return seam.prompt }
        return Array(example.tokens.prefix(context.length))
    }

    /// What an example answers, and whether that is an answer to a question rather than how a plain text goes on; nil where nothing is learned.
    static func reference(of example: TokenizedExample, least: Int) -> (tokens: [Int32], isAnswer: Bool)? {
        guard example.targetCount > 0 else { return nil }
        let context = context(of: example, least: least)
        let shared = context.isQuestion ? example.seam?.shared ?? 0 : 0
        return (Array(example.tokens.dropFirst(max(0, context.length - shared))), context.isQuestion)
    }

    /// How many tokens of an example stand before what it answers, and whether they end where its last answer begins.
    private static func context(of example: TokenizedExample, least: Int) -> (length: Int, isQuestion: Bool) {
        guard let last = example.isTarget.lastIndex(of: true) else { return (example.count, false) }
        let start = example.isTarget[..<last].lastIndex(of: false).map { $0 + 1 } ?? 0
        let length = max(1, min(max(start, least), example.count - 1))
        // The first token of a text is never learned.
        return (length, length == start && start > 1)
    }

    /// What an example asks and what it has for an answer, up to the last token that is learned.
    /// - Parameter longest: tokens of both at most; the prompt is cut at its beginning.
    init(of example: TokenizedExample, least: Int, longest: Int) {
        let prompt = Array(example.tokens.prefix(Self.context(of: example, least: least).length))
        let end = example.isTarget.lastIndex(of: true).map { $0 + 1 } ?? example.count
        let kept = Array(prompt.suffix(max(1, longest - 1)))
        let answer = example.tokens[prompt.count..<max(end, prompt.count + 1)]
        self.init(prompt: kept, answer: Array(answer.prefix(longest - kept.count)), isTeachers: true)
    }

    /// Prompt and answer, of which the answer is learned.
    var example: TokenizedExample {
        TokenizedExample(
            tokens: prompt + answer, isTarget: prompt.map { _ in false } + answer.map { _ in true })
    }
}

/// Texts side by side, and what is known of their tokens.
public struct RolloutBatch: Sendable {
    let batch: LanguageBatch
    var signals: RolloutSignals?

    init(_ batch: LanguageBatch, signals: RolloutSignals? = nil) {
        self.batch = batch
        self.signals = signals
    }

    /// - Parameters:
    ///   - texts: not empty.
    ///   - pad: fills rows up.
    init(_ texts: [RolloutText], pad: Int32) {
        let length = texts.map { $0.prompt.count + $0.answer.count }.max() ?? 0
        let (rows, count) = (texts.count, texts.count * length)
        var tokens = [Int32](repeating: pad, count: count)
        var targets = [Int32](repeating: LanguageBatch.ignored, count: count)
        var valid = [Bool](repeating: false, count: count)
        var signals = RolloutSignals(rows: rows, length: length)
        for (row, text) in texts.enumerated() {
            let start = row * length
            signals.isTeachers[row] = text.isTeachers
            for (place, token) in (text.prompt + text.answer).enumerated() {
                tokens[start + place] = token
                valid[start + place] = true
            }
            for (place, token) in text.answer.enumerated() {
                let before = start + text.prompt.count + place - 1
                targets[before] = token
                if let known = text.signals {
                    signals.student[before] = known.student[place]
                    signals.teacher[before] = known.teacher[place]
                    signals.importance[before] = known.importance[place]
                }
            }
        }
        batch = LanguageBatch(
            rows: rows, length: length, tokens: tokens, targets: targets,
            valid: valid.allSatisfy { $0 } ? nil : valid)
        self.signals = texts.allSatisfy { $0.signals != nil } ? signals : nil
    }

    /// Some of the rows: a micro-batch.
    func rows(_ range: Range<Int>) -> RolloutBatch {
        RolloutBatch(batch.rows(range), signals: signals?.rows(range))
    }
}
