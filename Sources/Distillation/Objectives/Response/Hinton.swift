import RetortRuntime

/// Hinton, Vinyals & Dean 2015 (arXiv:1503.02531): alpha·T²·KL(p‖q) + (1 − alpha)·CE(labels, q at T = 1), with p and q the softmax of
/// teacher and student at temperature T; mean over rows.
public struct HintonObjective: DivergenceObjective {
    public static let section = RecipeSection(
        "hinton", "Soft labels at a temperature, mixed with hard labels.",
        DivergenceFields.all(temperature: "4", alpha: "0.9"))
    static let formula = "KL(p‖q)"
    let divergence: DivergenceTerm

    public init(_ recipe: RecipeNode) { divergence = DivergenceTerm(.forwardKL, recipe) }
}
