import RetortKernels
import RetortRuntime
import RetortSupport

/// SimPO (Meng et al. 2024, arXiv:2405.14734): −ln σ(β·(a(chosen) − a(rejected)) − γ), a(y) the mean of ln q over an answer's tokens: what
/// a student that writes would rank answers by. There is no reference; γ is the margin that the better one shall have. The authors set
/// γ/β, and begin with β 2 and γ/β 0.5: γ 1.
public struct SimPOObjective: PreferenceObjective {
    public static let section = RecipeSection(
        "simpo", "Two answers to a prompt, the better made likelier by token, by a margin; no reference (SimPO).",
        [
            RecipeField("beta", .number(1e-6...1e6), .defaulted("2"), "what a difference of mean ln q counts"),
            RecipeField("gamma", .number(0...1e6), .defaulted("1"), "the margin, in the same units as β times it"),
            weightField,
        ])
    public let beta: Float
    public let weight: Float
    private let gamma: Float

    public init(_ recipe: RecipeNode) {
        beta = Float(recipe.required("beta").number)
        gamma = Float(recipe.required("gamma").number)
        weight = Float(recipe.required("weight").number)
    }

    public var likelihood: AnswerLikelihood { .mean }

    public func contract(over what: String) -> String {
        (weight == 1 ? "" : "\(weight.short)·") + "−ln σ(\(beta.short)·(a(chosen) − a(rejected)) − \(gamma.short)), "
            + "a the mean of ln q over an answer's tokens, mean over pairs"
    }

    public func losses(_ pairs: AnswerPairs, _ batch: PreferenceBatch) throws -> Tensor {
        try pairs.logistic(beta: beta, beyond: gamma)
    }
}

extension AnswerPairs {
    /// −ln σ(β·h − γ) of the margin h, `[pairs]`.
    public func logistic(beta: Float, beyond gamma: Float) throws -> Tensor {
        try -((margin() * beta).adding(-gamma).map(.logSigmoid))
    }
}
