import RetortRuntime

/// KL(q‖p) of student q and teacher p at temperature T; mean over rows. Gu et al. 2024 (MiniLLM, arXiv:2306.08543).
public struct ReverseKLObjective: DivergenceObjective {
    public static let section = RecipeSection(
        "reverse-kl",
        "Reverse Kullback–Leibler divergence KL(q‖p): the student keeps to what the teacher finds likely.",
        DivergenceFields.all())
    static let formula = "KL(q‖p)"
    let divergence: DivergenceTerm

    public init(_ recipe: RecipeNode) { divergence = DivergenceTerm(.reverseKL, recipe) }
}
