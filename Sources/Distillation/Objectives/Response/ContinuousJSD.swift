import RetortRuntime

/// (1 − β)·KL(p‖m) + β·KL(q‖m) with m = β·p + (1 − β)·q: tends to KL(p‖q) for β → 0 and to KL(q‖p) for β → 1.
public struct ContinuousJSDObjective: DivergenceObjective {
    public static let section = RecipeSection(
        "jsd-continuous", "Jensen–Shannon divergence whose ends are the two KL divergences.",
        [RecipeField("beta", .number(0...1), .defaulted("0.5"), "0 is KL(p‖q), 1 is KL(q‖p), continuous between")]
            + DivergenceFields.all())
    static let formula = "JSD_β(p,q), continuous form"
    let divergence: DivergenceTerm

    public init(_ recipe: RecipeNode) { divergence = DivergenceTerm(.continuousJSD, mix: "beta", recipe) }
}
