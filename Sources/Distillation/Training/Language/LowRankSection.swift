import RetortModels

extension LowRankAdaptation {
    /// What may stand under `lora`.
    static let section = RecipeSection(
        "lora", "LoRA (Hu et al. 2021): y = x·Wᵀ + alpha / rank · (x·Aᵀ)·Bᵀ, W frozen, A and B trained.",
        [
            RecipeField("rank", .integer(1...4096), .defaulted("8"), "rows of A, columns of B"),
            RecipeField("alpha", .number(1e-6...1e6), .defaulted("16"), "the adapters count alpha / rank times"),
            RecipeField("dropout", .number(0...0.99), .defaulted("0"), "of what A sees, in training"),
            RecipeField(
                "targets", .list(of: .text, count: 1...64), .optional,
                "the layers that get one: q_proj, v_proj, … (default: every linear layer of the blocks)"),
        ])

    init(_ node: RecipeNode) {
        self.init(
            rank: node.required("rank").integer, alpha: Float(node.required("alpha").number),
            dropout: Float(node.required("dropout").number), targets: node["targets"]?.list.map(\.text))
    }
}
