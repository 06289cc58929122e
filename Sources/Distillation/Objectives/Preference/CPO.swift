import RetortKernels
import RetortRuntime
import RetortSupport

/// Contrastive preference optimisation (Xu et al. 2024, arXiv:2401.08417): DPO's loss without a reference, and the cross entropy of the
/// better answers, which keeps the student writing:
///
///     −ln σ(β·(ln q(chosen) − ln q(rejected))) + nll·(mean of −ln q over the better answers' tokens)
///
/// ln q summed over an answer's tokens; the second mean is over all tokens of the batch, as in the authors' code. The form `hinge` is
/// SLiC-HF's max(0, 1 − β·(ln q(chosen) − ln q(rejected))) (Zhao et al. 2023, arXiv:2305.10425).
public struct CPOObjective: PreferenceObjective {
    public enum Form: String, Sendable, CaseIterable { case sigmoid, hinge }

    public static let section = RecipeSection(
        "cpo",
        "Two answers to a prompt, the better made likelier than the worse, and its cross entropy; no reference (CPO).",
        [
            RecipeField("beta", .number(1e-6...1e6), .defaulted("0.1"), "what a difference of ln q counts"),
            RecipeField(
                "form", .choice(Form.allCases.map(\.rawValue)), .defaulted("sigmoid"), "hinge is SLiC's loss"),
            RecipeField("nll", .number(0...1e6), .defaulted("1"), "what the better answers' cross entropy counts"),
            weightField,
        ])
    public let beta: Float
    public let weight: Float
    private let form: Form
    private let nll: Float

    public init(_ recipe: RecipeNode) {
        beta = Float(recipe.required("beta").number)
        form = Form(rawValue: recipe.required("form").text) ?? .sigmoid
        nll = Float(recipe.required("nll").number)
        weight = Float(recipe.required("weight").number)
    }

    public var likelihood: AnswerLikelihood { .sum }

    public func contract(over what: String) -> String {
        let loss = form == .sigmoid ? "−ln σ(\(beta.short)·h)" : "max(0, 1 − \(beta.short)·h)"
        let hard = nll == 0 ? "" : " + \(nll == 1 ? "" : "\(nll.short)·")CE(chosen)"
        return (weight == 1 ? "" : "\(weight.short)·(") + loss + hard + (weight == 1 ? "" : ")")
            + ", h = ln q(chosen) − ln q(rejected), ln of an answer \(likelihood.words), mean over pairs"
            + (nll == 0 ? "" : "; CE a mean over the chosen answers' tokens")
    }

    public func losses(_ pairs: AnswerPairs, _ batch: PreferenceBatch) throws -> Tensor {
        let loss = try form == .sigmoid ? pairs.logistic(beta: beta) : pairs.hinge(beta: beta)
        // Its mean over pairs is the mean over tokens.
        return nll == 0 ? loss : try loss - pairs.chosen * (nll / max(1, batch.tokens))
    }
}
