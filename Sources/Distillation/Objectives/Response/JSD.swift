import RetortRuntime

/// β·KL(p‖m) + (1 − β)·KL(q‖m) with m = β·p + (1 − β)·q (Agarwal et al. 2024, GKD, arXiv:2306.13649). At β = 0 and 1 it is defined
/// as KL(p‖q) and KL(q‖p), which are not its limits: see `jsd-continuous`.
public struct JSDObjective: DivergenceObjective {
    public static let section = RecipeSection(
        "jsd", "Generalised Jensen–Shannon divergence as GKD defines it.",
        [
            RecipeField(
                "beta", .number(0...1), .defaulted("0.5"),
                "weight of the teacher in the mixture; 0 is KL(p‖q), 1 is KL(q‖p)")
        ]
            + DivergenceFields.all())
    static let formula = "JSD_β(p,q), GKD form"
    let divergence: DivergenceTerm

    public init(_ recipe: RecipeNode) { divergence = DivergenceTerm(.jsd, mix: "beta", recipe) }

    public func contract(over what: String) -> String {
        let contract = divergence.contract(Self.formula, over: what)
        // Towards 0 the divergence is beta·KL(p‖q), towards 1 (1 − beta)·KL(q‖p): people take it for these themselves.
        guard divergence.mix > 0 && divergence.mix <= 0.1 || divergence.mix >= 0.9 && divergence.mix < 1 else {
            return contract
        }
        return contract
            + "; so near \(divergence.mix < 0.5 ? 0 : 1) value and gradient shrink with beta: jsd-continuous does not, nor does "
            + "beta \(divergence.mix < 0.5 ? 0 : 1) itself"
    }
}
