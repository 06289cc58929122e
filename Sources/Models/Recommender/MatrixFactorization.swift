import RetortRuntime

/// Matrix factorisation: a user's score of an item is the inner product of two learnt vectors, plus the item's bias where one is wanted. A user's
/// bias would cancel in every ranking. Trained with BPR it is BPR-MF (Rendle et al. 2009, arXiv:1205.2618).
///
/// Weights `user_embedding.weight` `[users, dimension]`, `item_embedding.weight` `[items, dimension]`, `item_bias.weight` `[items, 1]`; embeddings
/// start normal with deviation 0.01, biases at 0.
public final class MatrixFactorization: RecommenderModel {
    public static let architecture = Architecture(
        "matrix-factorization", className: "MatrixFactorization",
        "Inner products of user and item embeddings (BPR-MF; Rendle et al. 2009).",
        [
            ModelSetting("dimension", .integer(1...65536), nil, "numbers of one embedding"),
            ModelSetting("bias", .word(["none", "item"]), .word("none"), "what is learnt beside the embeddings"),
        ])

    public let settings: ModelSettings
    public let task: RecommenderTask
    public let dimension: Int
    public var isTraining = true
    private let user: Parameter
    private let item: Parameter
    private let itemBias: Parameter?

    public init(_ settings: ModelSettings, for task: RecommenderTask) throws {
        self.settings = settings
        self.task = task
        dimension = settings.integer("dimension")
        try task.check(dimension: dimension)
        user = Parameter("user_embedding.weight", [task.users, dimension], .normal(deviation: 0.01))
        item = Parameter("item_embedding.weight", [task.items, dimension], .normal(deviation: 0.01))
        itemBias = settings.word("bias") == "item" ? Parameter("item_bias.weight", [task.items, 1], .zeros) : nil
    }

    public var parameters: [Parameter] { [user, item] + (itemBias.map { [$0] } ?? []) }

    public func tables() throws -> EmbeddingTables {
        EmbeddingTables(users: user.tensor, items: item.tensor, itemBias: itemBias?.tensor)
    }
}
