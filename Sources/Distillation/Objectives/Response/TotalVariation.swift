import RetortRuntime

/// ½·Σ|p − q| (Wen et al. 2023, arXiv:2307.15190).
public struct TotalVariationObjective: DivergenceObjective {
    public static let section = RecipeSection(
        "tvd", "Total variation distance: half the sum of absolute differences.",
        DivergenceFields.all())
    static let formula = "½Σ|p−q|"
    let divergence: DivergenceTerm

    public init(_ recipe: RecipeNode) { divergence = DivergenceTerm(.totalVariation, recipe) }
}
