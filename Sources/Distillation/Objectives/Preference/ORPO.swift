import RetortKernels
import RetortRuntime
import RetortSupport

/// ORPO (Hong et al. 2024, arXiv:2403.07691): fine-tuning on the better answer and a preference at once, without a reference:
///
///     −a(chosen) − λ·ln σ(ln odds(chosen)/odds(rejected)),  odds(y) = e^a / (1 − e^a)
///
/// a(y) the mean of ln q over an answer's tokens. λ is `beta`, 0.1.
public struct ORPOObjective: PreferenceObjective {
    public static let section = RecipeSection(
        "orpo", "Cross entropy of the better answer, and the odds of it to the worse; no reference (ORPO).",
        [
            RecipeField("beta", .number(0...1e6), .defaulted("0.1"), "λ: what the odds count"),
            RecipeField("nll", .number(0...1e6), .defaulted("1"), "what the better answer's cross entropy counts"),
            weightField,
        ])
    public let beta: Float
    public let weight: Float
    private let nll: Float

    public init(_ recipe: RecipeNode) {
        beta = Float(recipe.required("beta").number)
        nll = Float(recipe.required("nll").number)
        weight = Float(recipe.required("weight").number)
    }

    public var likelihood: AnswerLikelihood { .mean }

    public func contract(over what: String) -> String {
        (weight == 1 ? "" : "\(weight.short)·(") + (nll == 0 ? "" : "−\(nll == 1 ? "" : "\(nll.short)·")a(chosen) ")
            + "− \(beta.short)·ln σ(ln odds(chosen)/odds(rejected))" + (weight == 1 ? "" : ")")
            + ", odds = e^a/(1−e^a), a the mean of ln q over an answer's tokens, mean over pairs"
    }

    public func losses(_ pairs: AnswerPairs, _ batch: PreferenceBatch) throws -> Tensor {
        let odds = try pairs.logOdds().map(.logSigmoid) * -beta
        return nll == 0 ? odds : try odds - pairs.chosen * nll
    }
}

extension AnswerPairs {
    /// ln odds(chosen) − ln odds(rejected), `[pairs]`, odds = q/(1 − q).
    public func logOdds() throws -> Tensor {
        // 1 − e^x = 2t/(1 + t) with t = tanh(−x/2): nothing cancels near x = 0. Below 10⁻⁷ an answer is certain.
        func unlikely(_ x: Tensor) throws -> Tensor {
            let t = try (x * -0.5).map(.tanh).map(.clampMinimum(1e-7))
            return try (t * 2).log() - t.adding(1).log()
        }
        return try (chosen - rejected) - (unlikely(chosen) - unlikely(rejected))
    }
}
