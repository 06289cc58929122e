import RetortRuntime

/// KL(p‖λp + (1 − λ)q) (Ko et al. 2024, DistiLLM, arXiv:2402.03898).
public struct SkewKLObjective: DivergenceObjective {
    public static let section = RecipeSection(
        "skew-kl", "Forward KL against a mixture of teacher and student (DistiLLM).",
        [RecipeField("lambda", .number(0...1), .defaulted("0.1"), "share of the teacher in the mixture")]
            + DivergenceFields.all())
    static let formula = "KL(p‖λp+(1−λ)q)"
    let divergence: DivergenceTerm

    public init(_ recipe: RecipeNode) { divergence = DivergenceTerm(.skewKL, mix: "lambda", recipe) }
}
