import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport

/// A model that ranks items for users by the inner product of their embeddings.
public protocol RecommenderModel: ConfiguredModule, SendableMetatype {
    /// What recipes and config.json call it, and what can be set.
    static var architecture: Architecture { get }
    /// - Throws: `ModelError` when the settings do not fit the task.
    init(_ settings: ModelSettings, for task: RecommenderTask) throws
    var settings: ModelSettings { get }
    var task: RecommenderTask { get }
    /// Numbers of one embedding.
    var dimension: Int { get }
    /// The embeddings of all users and items as they are ranked by, on the tape when parameters are trainable.
    func tables() throws -> EmbeddingTables
    /// What has to be on the device beside the parameters; called once, before `tables`.
    func prepare(on device: Device) throws
}

extension RecommenderModel {
    public func prepare(on device: Device) throws {}

    public var configuration: JSON {
        let architecture = Self.architecture
        return .object(
            [
                ("architectures", .array([.string(architecture.className)])),
                ("model_type", .string(architecture.kind)),
            ] + settings.members(of: architecture)
                + [
                    ("num_users", .int(task.users)), ("num_items", .int(task.items)),
                    ("interactions_sha256", .string(task.identity)),
                ])
    }
}

/// Every recommender a recipe or a config.json can name. One line here for each file.
public enum RecommenderModelRegistry {
    public static let all: [any RecommenderModel.Type] = [MatrixFactorization.self, LightGCN.self]

    public static func find(_ kind: String) -> (any RecommenderModel.Type)? {
        all.first { $0.architecture.kind == kind }
    }
}

/// What a recommender is for: its users and items, and what they are known to have taken.
public struct RecommenderTask: Sendable {
    /// What is learnt from.
    public let train: PositiveLists
    public let items: Int
    /// Names ids and training pairs (`InteractionSplit.identity`).
    public let identity: String

    public init(train: PositiveLists, items: Int, identity: String) {
        self.train = train
        self.items = items
        self.identity = identity
    }

    public init(_ split: InteractionSplit) {
        self.init(train: split.train, items: split.items.count, identity: split.identity)
    }

    public var users: Int { train.users }

    /// - Throws: `ModelError` for tables that cannot be addressed.
    func check(dimension: Int) throws {
        guard Double(users + items) * Double(dimension) < 1e10 else {
            throw ModelError(
                "dimension", "embeddings of \(users + items) users and items with dimension \(dimension) are too large")
        }
    }
}

/// The embeddings of all users and items.
public struct EmbeddingTables {
    /// `[users, dimension]`.
    public let users: Tensor
    /// `[items, dimension]`.
    public let items: Tensor
    /// `[items, 1]`, added to an item's scores.
    public let itemBias: Tensor?

    public init(users: Tensor, items: Tensor, itemBias: Tensor? = nil) {
        self.users = users
        self.items = items
        self.itemBias = itemBias
    }

    public var dimension: Int { users.shape[1] }
    /// The same numbers, off the tape.
    public var detached: EmbeddingTables {
        EmbeddingTables(users: users.detached, items: items.detached, itemBias: itemBias?.detached)
    }

    /// The scores of each user with a list of items of his own: `ids` `[rows]`, `lists` `[rows, count]` → `[rows, count]`.
    public func scores(_ ids: [Int32], lists: [Int32]) throws -> Tensor {
        let shape: Dimensions = [ids.count, lists.count / max(1, ids.count)]
        let user = try users.gatherRows(ids, shape: [ids.count, 1])
        let products = try (user * items.gatherRows(lists, shape: shape)).sum(-1)
        guard let itemBias else { return products }
        return try products + itemBias.gatherRows(lists, shape: shape).reshaped(shape)
    }

    /// The scores of some users with every item: `[rows, items]`.
    public func scores(ofAllItems ids: [Int32]) throws -> Tensor {
        let products = try users.gatherRows(ids, shape: [ids.count]).matmul(items.transposed(0, 1))
        guard let itemBias else { return products }
        return try products + itemBias.reshaped([1, items.shape[0]])
    }
}
