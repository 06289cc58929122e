import RetortRuntime

/// KL(p‖q) of the softmax over a query's candidates, of scores `[queries, candidates]` of teacher and student divided by T, times T²; mean over
/// queries. sentence-transformers' DistillKLDivLoss; the softmax of scores is ListNet's (Cao et al. 2007).
public struct ListwiseKLObjective: DivergenceObjective {
    public static let section = RecipeSection(
        "listwise-kl", "The teacher's distribution over the candidates of each query.", DivergenceFields.all())
    static let formula = "KL(p‖q) over candidates"
    let divergence: DivergenceTerm

    public init(_ recipe: RecipeNode) { divergence = DivergenceTerm(.forwardKL, recipe) }
}
