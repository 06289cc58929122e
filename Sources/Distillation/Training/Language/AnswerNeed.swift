import RetortModels
import RetortSupport

/// Why a training cannot do with prompts alone: it learns from the data's answers, or compares with them.
struct AnswerNeed: Sendable {
    /// In words, what stands behind "the arm x".
    let what: String
    let location: RetortError.Location?
    let help: String

    private static let ownTexts = "let a model write the texts: `rollouts: {kind: student, share: 1}`"

    /// Of a teacher that is trained in the run.
    static let ofTeacher = AnswerNeed(
        what: "is trained on the data's answers", location: nil, help: "give it the `path` of a model that is there")

    /// Of an arm; nil: it learns from what models write alone.
    static func of(_ rollouts: RolloutSpec?, _ terms: [LanguageArmTerm], _ losses: [RecipeNode], at node: RecipeNode)
        -> AnswerNeed?
    {
        guard let rollouts else {
            return AnswerNeed(what: "learns from the data's answers", location: node.location, help: ownTexts)
        }
        if let (loss, _) = zip(losses, terms).first(where: { $1.texts == .data }) {
            return AnswerNeed(
                what: "has a loss on the data's answers", location: loss.location, help: "remove the loss `on: data`")
        }
        let what: (String, help: String)
        switch rollouts.kind {
        case .mixed, .student(_, .teacher), .student(share: 1, _): return nil
        case .teacher(let spec):
            guard spec.keep == .correct else { return nil }
            what = ("compares what the teacher writes with the data's answers", "say `keep: ended`, or `all`")
        case .student(let share, .data):
            what = (
                "learns from the data's answers in \(NumberFormat.percent(1 - share)) of its steps",
                "say `share: 1`, or `otherwise: teacher`"
            )
        case .replay:
            what = (
                "learns from the data's answers until they are worn out", "\(ownTexts); a replay begins with the data"
            )
        case .pairs(let spec):
            guard spec.chosen == .data else { return nil }
            what = ("compares the student's answers with the data's", "say `chosen: teacher`")
        }
        return AnswerNeed(what: what.0, location: rollouts.location ?? node.location, help: what.help)
    }
}

extension LanguageRecipe {
    /// Reads the data.
    /// - Parameter say: told what was read, in words.
    /// - Throws: as `LanguageSource.load`; `RetortError` 78 for a training that needs answers where no example has one.
    func examples(say: (String) throws -> Void) throws -> LanguageExamples {
        let asks = answers != nil || arms.contains { $0.answerNeed == nil }
        let examples = try data.load(tokenizers: tokenizers, asking: asks, say: say)
        if examples.train.answered == nil {
            let taught = teachers.lazy.filter { $0.train != nil }.map { ($0.role, AnswerNeed.ofTeacher, $0.location) }
            let arms = arms.lazy.compactMap { arm in
                arm.answerNeed.map { ("arm \(arm.name)", $0, $0.location) }
            }
            if let (who, need, location) = taught.first ?? arms.first {
                throw RetortError.recipe(
                    "the \(who) \(need.what), and no training example has one", at: location,
                    why: examples.train.whereFirst, help: need.help)
            }
        }
        if examples.test.answered == nil, let answers, answers.rule != nil {
            throw RetortError.recipe(
                "answers.answer looks for answers in the data, and no test example has one", at: answers.rulePlace,
                why: examples.test.whereFirst, help: "remove `answer`, or give data.test a file with answers")
        }
        try checkAnswers(of: examples)
        return examples
    }

    /// - Throws: `RetortError` 78 for an arm that cannot use the one answer, or the two, that the data have to a prompt.
    private func checkAnswers(of examples: LanguageExamples) throws {
        let isPaired = examples.train.pairs != nil
        for arm in arms {
            guard let preference = arm.preference else {
                let other = arm.terms.first { $0.texts != .plain && !($0.objective is CrossEntropyObjective) }
                guard isPaired, arm.rollouts != nil || other != nil else { continue }
                throw RetortError.recipe(
                    arm.rollouts == nil
                        ? "the arm \(arm.name) learns from one answer to a prompt, and the data have two"
                        : "the arm \(arm.name) lets a model answer prompts, and the data have two answers to each",
                    at: arm.rollouts?.location ?? arm.location,
                    why:
                        "of preferences cross-entropy learns the chosen answers, and dpo, simpo, orpo and cpo compare both",
                    help: "use one of these, or give data with one answer")
            }
            guard arm.rollouts == nil else {
                guard isPaired else { continue }
                throw RetortError.recipe(
                    "the arm \(arm.name) compares answers that a model writes, and the data have two answers to each prompt",
                    at: arm.rollouts?.location, help: "remove `rollouts`, or give data with one answer")
            }
            guard isPaired else {
                throw RetortError.recipe(
                    "the arm \(arm.name) compares two answers to a prompt, and the data have one", at: arm.location,
                    why: preference.objective.contract(over: preference.places.words),
                    help:
                        "give data with `chosen` and `rejected` (format: preference), or let models write two: `rollouts: {kind: pairs}`"
                )
            }
            guard examples.packing == .none else {
                throw RetortError.recipe(
                    "the arm \(arm.name) compares answers, and data.packing packs them", at: arm.location,
                    help: "remove data.packing")
            }
        }
    }
}

extension LanguageExamples {
    /// What a training goes through.
    /// - Parameter need: nil: it learns from what models write.
    func train(_ need: AnswerNeed?) throws -> TokenizedCorpus {
        guard need != nil else { return train.asked }
        guard let answered = train.answered else {
            throw RetortError.internalBug("a training without the answers that it needs")
        }
        return answered
    }

    /// The same of an arm: both answers to each prompt where it compares them.
    func train(_ arm: LanguageRecipe.Arm) throws -> TokenizedCorpus {
        guard arm.preference != nil, arm.rollouts == nil else { return try train(arm.answerNeed) }
        guard let pairs = train.pairs else {
            throw RetortError.internalBug("a training that compares answers, without two of them")
        }
        return pairs
    }

    /// What arms make of examples of which not all have an answer, or have two, a line each.
    func words(for arms: [LanguageRecipe.Arm]) -> [String] {
        let grouped = NumberFormat.grouped
        if let pairs = train.pairs {
            let count = grouped(pairs.groups)
            return arms.map {
                "\($0.name): "
                    + ($0.preference == nil
                        ? "learns the chosen answers of the \(count) pairs" : "compares the answers of \(count) pairs")
            }
        }
        guard train.prompts > 0 else { return [] }
        return arms.map { arm in
            guard let need = arm.answerNeed, let answered = train.answered else {
                return "\(arm.name): answers to \(grouped(train.asked.count)) prompts are written, of which "
                    + "\(grouped(train.prompts)) have none in the data"
            }
            return "\(arm.name): the \(grouped(answered.count)) examples with an answer alone; it \(need.what)"
        }
    }
}

extension PromptedCorpus {
    /// Where the first prompt without an answer stands, in words.
    var whereFirst: String { firstQuestion.map { "\($0): a prompt, with nothing behind it" } ?? "" }
}
