/// A loss's temperature, and how it moves over the epochs: hot at first and cool at the end, as in annealing distillation (Jafari et al.
/// 2021, arXiv:2104.07163), or the reverse.
struct Temperature: Sendable {
    private let base: Float
    private let ramp: Ramp

    /// The keys `temperature` and `temperature-ramp`.
    static func fields(_ value: String, _ summary: String = "both logits are divided by this") -> [RecipeField] {
        [
            RecipeField("temperature", .number(1e-3...1e4), .defaulted(value), summary),
            RecipeField(
                "temperature-ramp",
                .variant(
                    key: "kind",
                    [
                        RecipeSection("constant", "The same throughout.", []),
                        RecipeSection("linear", "A straight line from the first epoch to the last.", ends),
                        RecipeSection("cosine", "Half a cosine from the first epoch to the last.", ends),
                    ]), .defaulted("{kind: constant}"), "a factor on the temperature over the epochs"),
        ]
    }

    private static let ends = [("from", "1", "first"), ("to", nil, "last")].map { key, value, epoch in
        RecipeField(
            key, .number(1e-3...1e3), value.map { .defaulted($0) } ?? .required, "factor in the \(epoch) epoch")
    }

    init(_ recipe: RecipeNode) {
        base = Float(recipe.required("temperature").number)
        ramp = Ramp(moving: recipe.required("temperature-ramp"))
    }

    func now(_ progress: TrainingProgress) -> Float { base * Float(ramp.factor(progress)) }
    func now(_ input: ObjectiveInput) -> Float { now(input.progress) }

    /// "4", "4 (times 1 to 0.25 over the epochs)".
    var contract: String {
        let moves = ramp.contract
        return base.short + (moves.isEmpty ? "" : " (\(moves.dropFirst(2)))")
    }
}
