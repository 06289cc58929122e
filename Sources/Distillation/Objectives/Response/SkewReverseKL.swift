import RetortRuntime

/// KL(q‖(1 − λ)p + λq) (Ko et al. 2024, DistiLLM, arXiv:2402.03898).
public struct SkewReverseKLObjective: DivergenceObjective {
    public static let section = RecipeSection(
        "skew-reverse-kl", "Reverse KL against a mixture of student and teacher (DistiLLM).",
        [RecipeField("lambda", .number(0...1), .defaulted("0.1"), "share of the student in the mixture")]
            + DivergenceFields.all())
    static let formula = "KL(q‖(1−λ)p+λq)"
    let divergence: DivergenceTerm

    public init(_ recipe: RecipeNode) { divergence = DivergenceTerm(.skewReverseKL, mix: "lambda", recipe) }
}
