import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// DistiLLM-2's contrast of two texts to the same prompt (Ko et al. 2025, arXiv:2503.07067): on the chosen one, the teacher's, skew KL
/// pulls the student up where the teacher is; on the rejected one, the student's own, skew reverse KL pushes it down where the teacher is
/// not:
///
///     (2 − β)·mean over chosen tokens of KL(p‖αp + (1−α)q) + β·mean over rejected tokens of KL(q‖(1−α)p + αq)
///
/// α is `lambda`, or, where `adaptive`, each text's own, the smaller the closer student and teacher already are: α = 1 − (1 − lambda)·m/g
/// within [0.01, lambda], where g is the difference of the means (geometric, over its tokens) of the probabilities of the text, the
/// author's less the other's, as they were when the text was written, and m the mean g of the first batch. β is 1, or, where `gradual`,
/// 1 + min(1, 2t)/2 at t of the training. The authors' released trainer has both switched off, and does not differentiate the mixture of
/// the second divergence; here the gradient is that of the formula.
public struct DistiLLM2Objective: LanguageObjective {
    public static let section = RecipeSection(
        "distillm2", "Skew KL on the teacher's texts, skew reverse KL on the student's (DistiLLM-2).",
        [
            RecipeField(
                "lambda", .number(0...1), .defaulted("0.1"), "share in the mixture; the largest, where it is adaptive"),
            RecipeField(
                "adaptive", .flag, .defaulted("true"), "each text's own share, by how far the models are apart on it"),
            RecipeField(
                "gradual", .flag, .defaulted("true"),
                "move weight from the chosen to the rejected texts over the training"),
            RecipeField("weight", .number(0...1e6), .defaulted("1"), "of the loss among others"),
        ])
    private let share: Float
    private let isAdaptive: Bool
    private let isGradual: Bool
    private let weight: Float

    public init(_ recipe: RecipeNode) {
        share = Float(recipe.required("lambda").number)
        isAdaptive = recipe.required("adaptive").flag
        isGradual = recipe.required("gradual").flag
        weight = Float(recipe.required("weight").number)
    }

    public var needsTeacher: Bool { true }
    public var needs: TextNeed { .pairs }
    public func contract(over what: String) -> String {
        let alpha = isAdaptive ? "up to \(share.short), by how far the models are apart" : share.short
        return "\(weight.short)·((2−β)·KL(p‖αp+(1−α)q) on chosen + β·KL(q‖(1−α)p+αq) on rejected), α \(alpha), "
            + "β \(isGradual ? "from 1 to 1.5" : "1"), each a mean over \(what)"
    }

    public func term(_ context: LanguageTermContext) -> any LanguageTerm { Term(self) }

    /// What a batch's rows are weighed with.
    private struct Weights {
        let chosen: Float
        let rejected: Float
    }

    private final class Term: LanguageTerm {
        private let spec: DistiLLM2Objective
        /// Mean gap of chosen and of rejected texts in the first batch.
        private var firstGap: (chosen: Float, rejected: Float)?
        private var weights = Weights(chosen: 1, rejected: 1)

        init(_ spec: DistiLLM2Objective) { self.spec = spec }

        var state: JSON? {
            firstGap.map { ["chosen": .double(Double($0.chosen)), "rejected": .double(Double($0.rejected))] }
        }

        func resume(_ state: JSONCursor) throws {
            firstGap = (
                Float(try state.member("chosen").double(in: -1...1)),
                Float(try state.member("rejected").double(in: -1...1))
            )
        }

        /// α at each token of a text.
        func advantages(of batch: RolloutBatch, _ progress: TrainingProgress) throws -> [Float]? {
            guard let signals = batch.signals else { return nil }
            let length = batch.batch.length
            let texts = (0..<batch.batch.rows).map { row in
                (row * length..<(row + 1) * length).filter { batch.batch.targets[$0] != LanguageBatch.ignored }
            }
            func tokens(_ chosen: Bool) -> Int {
                zip(texts, signals.isTeachers).reduce(0) { $1.1 == chosen ? $0 + $1.0.count : $0 }
            }
            let beta = spec.isGradual ? 1 + min(1, 2 * Float(progress.share)) / 2 : 1
            let all = Float(texts.reduce(0) { $0 + $1.count })
            weights = Weights(
                chosen: (2 - beta) * all / Float(max(1, tokens(true))),
                rejected: beta * all / Float(max(1, tokens(false))))
            var shares = [Float](repeating: spec.share, count: signals.student.count)
            guard spec.isAdaptive else { return shares }

            let gaps = zip(texts, signals.isTeachers).map { places, isTeachers -> Float in
                guard !places.isEmpty else { return 0 }
                func likelihood(_ logs: [Float]) -> Float {
                    exp(places.reduce(0) { $0 + logs[$1] } / Float(places.count))
                }
                let gap = likelihood(signals.teacher) - likelihood(signals.student)
                return isTeachers ? gap : -gap
            }
            func mean(_ chosen: Bool) -> Float {
                let own = zip(gaps, signals.isTeachers).filter { $0.1 == chosen }.map(\.0)
                return own.reduce(0, +) / Float(max(1, own.count))
            }
            let first = firstGap ?? (mean(true), mean(false))
            firstGap = first
            for (row, places) in texts.enumerated() {
                let goal = (1 - spec.share) * (signals.isTeachers[row] ? first.chosen : first.rejected)
                // Where the author is not the likelier, the models are as close as can be.
                let share = gaps[row] > 0 ? 1 - goal / (gaps[row] + 1e-5) : 0
                for place in places { shares[place] = max(min(0.01, spec.share), min(spec.share, share)) }
            }
            return shares
        }

        func loss(_ input: LanguageInput) throws -> Tensor {
            guard let signals = input.rollout, let teacher = input.teacher?.logits else {
                throw TensorError("a contrast of texts that were not written in pairs, or without a teacher")
            }
            let length = input.tokens.length
            let ops = (0..<input.tokens.rows).map { row in
                let places = row * length..<(row + 1) * length
                let share =
                    places.first { input.targets[$0] != LanguageBatch.ignored }.map { signals.advantage[$0] } ?? 0
                let isChosen = signals.isTeachers[row]
                return (
                    places,
                    Divergence(
                        isChosen ? .skewKL : .skewReverseKL, mix: share,
                        softWeight: spec.weight * (isChosen ? weights.chosen : weights.rejected))
                )
            }
            return try input.hidden.chunkedDivergence(
                ops, head: input.head, teacher: teacher, rowWeights: input.weights, chunk: input.chunk,
                headGradient: input.gradient)
        }
    }
}
