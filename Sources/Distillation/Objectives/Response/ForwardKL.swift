import RetortRuntime

/// KL(p‖q) of teacher p and student q at temperature T; mean over rows.
public struct ForwardKLObjective: DivergenceObjective {
    public static let section = RecipeSection(
        "forward-kl", "Forward Kullback–Leibler divergence KL(p‖q): the student covers all the teacher finds likely.",
        DivergenceFields.all())
    static let formula = "KL(p‖q)"
    let divergence: DivergenceTerm

    public init(_ recipe: RecipeNode) { divergence = DivergenceTerm(.forwardKL, recipe) }
}
