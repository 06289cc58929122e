import RetortRuntime

/// LightGCN (He et al. 2020, arXiv:2002.02126): embeddings spread over the graph of who took what and are averaged over the layers.
///
/// Layer k + 1 of a user is Σ e_i / √(|N_u| |N_i|) over the items i taken, and likewise for items; the final embeddings are the mean of layers
/// 0 … `layers`. There is nothing else: no weights, no activation. The graph is the training interactions alone.
///
/// Weights `user_embedding.weight` `[users, dimension]` and `item_embedding.weight` `[items, dimension]`: layer 0, which starts normal with deviation
/// 0.1, as the authors' code does.
public final class LightGCN: RecommenderModel {
    public static let architecture = Architecture(
        "lightgcn", className: "LightGCN",
        "Embeddings averaged over their neighbourhoods in the graph of interactions (He et al. 2020).",
        [
            ModelSetting("dimension", .integer(1...65536), nil, "numbers of one embedding"),
            ModelSetting("layers", .integer(1...16), .integer(3), "steps along the graph"),
        ])

    public let settings: ModelSettings
    public let task: RecommenderTask
    public let dimension: Int
    public var isTraining = true
    private let user: Parameter
    private let item: Parameter
    private var graph: (toUsers: Adjacency, userScale: Tensor, itemScale: Tensor)?

    public init(_ settings: ModelSettings, for task: RecommenderTask) throws {
        self.settings = settings
        self.task = task
        dimension = settings.integer("dimension")
        try task.check(dimension: dimension)
        user = Parameter("user_embedding.weight", [task.users, dimension], .normal(deviation: 0.1))
        item = Parameter("item_embedding.weight", [task.items, dimension], .normal(deviation: 0.1))
    }

    public var parameters: [Parameter] { [user, item] }

    public func prepare(on device: Device) throws {
        let train = task.train
        let adjacency = try Adjacency(
            receiving: train.userOfPair, sending: train.items, receivers: task.users, senders: task.items, on: device)
        var degrees = [Int](repeating: 0, count: task.items)
        for item in train.items { degrees[Int(item)] += 1 }
        // Who has no neighbour receives nothing, whatever his scale.
        func scale(_ degrees: [Int]) throws -> Tensor {
            try Tensor(degrees.map { 1 / Float(max(1, $0)).squareRoot() }, [degrees.count, 1], on: device)
        }
        graph = (adjacency, try scale((0..<task.users).map { train[$0].count }), try scale(degrees))
    }

    public func tables() throws -> EmbeddingTables {
        guard let graph else { preconditionFailure("LightGCN is used before it was prepared on a device") }
        var (users, items) = (user.tensor, item.tensor)
        var (userSum, itemSum) = (users, items)
        let layers = settings.integer("layers")
        for _ in 0..<layers {
            let toUsers = try (items * graph.itemScale).aggregated(over: graph.toUsers) * graph.userScale
            let toItems = try (users * graph.userScale).aggregated(over: graph.toUsers.transposed) * graph.itemScale
            (users, items) = (toUsers, toItems)
            (userSum, itemSum) = try (userSum + users, itemSum + items)
        }
        let share = 1 / Float(layers + 1)
        return EmbeddingTables(users: try userSum * share, items: try itemSum * share)
    }
}
