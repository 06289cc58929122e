import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306): each answer by itself is worth what a person would gain or lose by
/// it beside what the student gives answers on average,
///
///     w·(1 − σ(β·(ln q/r(chosen) − z)))    and    w·(1 − σ(β·(z − ln q/r(rejected))))
///
/// mean over all answers. z is an estimate of KL(q‖r): the mean of ln q/r of answers behind prompts that they do not belong to, not below 0,
/// without a gradient. Each prompt of a batch is given the answers of the next, so that z is the whole batch's, whatever parts it comes in; of a batch
/// of one prompt it is 0. The authors have β 0.1 and weights of 1.
public struct KTOObjective: PreferenceObjective {
    public static let section = RecipeSection(
        "kto", "Answers that are good or bad, each by itself, beside a reference (KTO).",
        [
            RecipeField("beta", .number(1e-6...1e6), .defaulted("0.1"), "how far from the reference a reward reaches"),
            RecipeField("desirable", .number(0...1e6), .defaulted("1"), "weight of the chosen answers"),
            RecipeField("undesirable", .number(0...1e6), .defaulted("1"), "weight of the rejected answers"),
            ReferenceModel.field, weightField,
        ])
    public let beta: Float
    public let weight: Float
    public let reference: ReferenceModel?
    private let desirable: Float
    private let undesirable: Float

    public init(_ recipe: RecipeNode) {
        beta = Float(recipe.required("beta").number)
        desirable = Float(recipe.required("desirable").number)
        undesirable = Float(recipe.required("undesirable").number)
        reference = recipe["reference"].flatMap { ReferenceModel(rawValue: $0.text) }
        weight = Float(recipe.required("weight").number)
    }

    public var needsTeacher: Bool { true }
    public var likelihood: AnswerLikelihood { .sum }

    public func contract(over what: String) -> String {
        func share(_ weight: Float) -> String { weight == 1 ? "" : "\(weight.short)·" }
        return share(weight)
            + "(\(share(desirable))(1 − σ(\(beta.short)·(ln q/r(chosen) − z))) + "
            + "\(share(undesirable))(1 − σ(\(beta.short)·(z − ln q/r(rejected)))))/2, "
            + "z = max(0, mean of ln q/r of answers to other prompts), ln of an answer \(likelihood.words), mean over pairs"
    }

    public func losses(_ pairs: AnswerPairs, _ batch: PreferenceBatch) throws -> Tensor {
        try pairs.prospects(
            beta: beta, desirable: desirable, undesirable: undesirable,
            divergence: Tensor.full(batch.divergence, [], on: pairs.chosen.device))
    }

    /// z.
    public func divergence(of batch: LanguageBatch, _ context: LanguageTermContext) throws -> Float {
        guard let mismatched = try batch.exchangingAnswers(), let likely = context.likelihoods,
            let reference = likely.teacher
        else { return 0 }
        let (own, theirs) = (try likely.student(mismatched), try reference(mismatched))
        // A place without a token of an answer is 0 of both.
        let sum = zip(own, theirs).reduce(0.0) { $0 + Double($1.0) - Double($1.1) }
        return Float(max(0, sum / Double(mismatched.rows)))
    }
}

extension AnswerPairs {
    /// (w₊·(1 − σ(β·(ln q/r(chosen) − z))) + w₋·(1 − σ(β·(z − ln q/r(rejected)))))/2, `[pairs]`.
    /// - `desirable`, `undesirable`: w₊ and w₋.
    /// - `divergence`: z, a constant.
    public func prospects(beta: Float, desirable: Float, undesirable: Float, divergence: Tensor) throws -> Tensor {
        let ratios = try ratios()
        // 1 − σ(x) = σ(−x).
        let gains = try ((divergence - ratios.chosen) * beta).map(.sigmoid) * (desirable / 2)
        return try gains + ((ratios.rejected - divergence) * beta).map(.sigmoid) * (undesirable / 2)
    }
}

extension LanguageBatch {
    /// Of rows that are, in turns, the better and the worse answer to a prompt: each prompt with the answers of the next pair, the last with those of
    /// the first. nil for one pair.
    func exchangingAnswers() throws -> LanguageBatch? {
        guard rows > 2 else { return nil }
        /// Tokens of a row up to the first of its answer, and behind, with what is learned.
        func parts(_ row: Int) -> (prompt: [Int32], answer: [Int32], isTarget: [Bool]) {
            let places = row * length..<(row + 1) * length
            let end =
                valid.map { valid in places.last { valid[$0] }.map { $0 + 1 } ?? places.lowerBound }
                ?? places.upperBound
            let first = places.first { targets[$0] >= 0 } ?? end - 1
            let answer = first + 1..<max(first + 1, end)
            return (
                Array(tokens[places.lowerBound...first]), Array(tokens[answer]), answer.map { targets[$0 - 1] >= 0 }
            )
        }
        let all = (0..<rows).map(parts)
        let examples = all.indices.map { row in
            let (prompt, other) = (all[row].prompt, all[(row + 2) % rows])
            // No row is longer than models were found to read.
            let tokens = Array((prompt + other.answer).prefix(length))
            return TokenizedExample(
                tokens: tokens, isTarget: Array((prompt.map { _ in false } + other.isTarget).prefix(length)))
        }
        let corpus = try TokenizedCorpus(examples, keepingPrompts: true)
        return try LanguageBatches(corpus, batch: rows, seed: nil).batch(of: examples.indices.map(Int32.init))
    }
}
