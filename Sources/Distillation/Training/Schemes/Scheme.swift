import RetortModels
import RetortRuntime
import RetortSupport

/// How teacher and student come together: from a fixed teacher (offline), from peers that learn at the same time (online), from
/// itself. One file each; one line in `SchemeRegistry`.
public protocol Scheme: Sendable {
    /// The word under `kind` of an arm's `scheme` and the keys beside it.
    static var section: RecipeSection { get }
    init(_ recipe: RecipeNode)
    /// Whether several students learn side by side, batch by batch.
    var trainsPeers: Bool { get }
    /// Whether losses have a teacher without the recipe's.
    var bringsTeacher: Bool { get }
    /// The teachers that it brings, by their architecture; nil: the student's own.
    var peers: [ModelSpec?] { get }
    /// Whether these learn in the same steps, each with what the others answer in that step; others answer apart.
    var peersShareSteps: Bool { get }
    /// Whether the recipe's teachers teach to the end.
    var keepsTeachers: Bool { get }
    /// In one line; "" for the plain one.
    var contract: String { get }
    /// Whether the arm can be what its recipe says.
    /// - `recipe`: the arm's keys, for places.
    /// - Throws: `RetortError` 78.
    func check(_ arm: Recipe.Arm, recipe: RecipeNode) throws
    /// Whether it can be done with so many training rows; asked before anything is trained.
    /// - Throws: `RetortError` 78.
    func rehearse(_ task: ClassificationTask, rows: Int) throws
    /// Trains the student of one arm and seed.
    func train(_ session: ArmSession) throws -> any Model
}

extension Scheme {
    public var trainsPeers: Bool { false }
    public var peers: [ModelSpec?] { bringsTeacher ? [nil] : [] }
    public var peersShareSteps: Bool { false }
    public var keepsTeachers: Bool { true }
    public func check(_ arm: Recipe.Arm, recipe: RecipeNode) throws {}
    public func rehearse(_ task: ClassificationTask, rows: Int) throws {}
}

/// Every scheme a recipe can name.
public enum SchemeRegistry {
    public static let all: [any Scheme.Type] = [
        OfflineScheme.self, MutualScheme.self, BornAgainScheme.self, MovingAverageScheme.self,
        FederatedScheme.self,
    ]

    static let field = RecipeField(
        "scheme", .variant(key: "kind", all.map { $0.section }), .defaulted("{kind: offline}"),
        "how teacher and student come together")

    static func make(_ recipe: RecipeNode) -> any Scheme {
        let kind = recipe.required("kind").text
        guard let type = all.first(where: { $0.section.name == kind }) else { preconditionFailure("schema: \(kind)") }
        return type.init(recipe)
    }
}

/// Something that trains epoch by epoch.
public protocol EpochTrainer: AnyObject {
    /// The model that is measured and saved.
    var model: any Model { get }
    /// Optimizer steps taken.
    var step: Int { get }
    /// What losses train beside the model.
    var projectors: ProjectorSet { get }
    /// Numbers of its own for metrics.jsonl.
    var facts: [(key: String, value: Double)] { get }
    /// One pass over the rows; the loss of each step.
    func epoch(_ index: Int) throws -> [Float]
    /// What each loss is multiplied by now; empty when nothing balances them.
    func balance() throws -> [Double]
}

extension EpochTrainer {
    public var facts: [(key: String, value: Double)] { [] }
    public func balance() throws -> [Double] { [] }
}

extension Trainer: EpochTrainer {
    public func epoch(_ index: Int) throws -> [Float] { try epoch(index, order: nil) }
}
