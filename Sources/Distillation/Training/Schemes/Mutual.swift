import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Deep mutual learning (Zhang et al. 2018, arXiv:1706.00384): several students learn at the same time, each from the labels and from
/// the others' answers of the same step; the distillation terms are averaged over the others. They may be of different architectures, as
/// in the paper. The first student is the recipe's, which the tables are about; the others are measured and saved beside it.
///
/// With `refresh` above 1 the others answer from weights as old as that many steps: co-distillation (Anil et al. 2018,
/// arXiv:1804.03235), which tolerates stale teachers.
public struct MutualScheme: Scheme {
    public static let section = RecipeSection(
        "mutual", "Several students teach each other while they learn (Zhang et al. 2018).",
        [
            RecipeField(
                "peers", .integer(2...16), .optional,
                "students, each from its own start; absent: two, or the recipe's and the others"),
            RecipeField(
                "others", .list(of: ModelSpec.schema, count: 1...15), .optional,
                "architectures of the further students, the first of them the second student's; absent: all are like the recipe's"
            ),
            RecipeField(
                "refresh", .integer(1...1_000_000), .defaulted("1"),
                "steps after which the others' weights are looked at again; above 1: co-distillation"),
        ])
    private let students: Int
    private let others: [ModelSpec]
    private let refresh: Int
    private let location: RetortError.Location?

    public init(_ recipe: RecipeNode) {
        others = recipe["others"]?.list.map { ModelSpec($0) } ?? []
        students = recipe["peers"]?.integer ?? max(2, others.count + 1)
        refresh = recipe.required("refresh").integer
        location = recipe["others"]?.location
    }

    public func check(_ arm: Recipe.Arm, recipe: RecipeNode) throws {
        guard others.count < students else {
            throw RetortError.recipe(
                "\(others.count) others are more than \(students) students have", at: location,
                help: "add `peers: \(others.count + 1)`")
        }
    }

    public var trainsPeers: Bool { true }
    public var bringsTeacher: Bool { true }
    public var peers: [ModelSpec?] { (0..<(students - 1)).map { others.indices.contains($0) ? others[$0] : nil } }
    public var peersShareSteps: Bool { refresh == 1 }
    public var contract: String {
        "\(students) students teach each other"
            + (others.isEmpty
                ? "" : ", the recipe's and \(others.map { $0.type.architecture.kind }.joined(separator: ", "))")
            + (refresh > 1 ? ", with weights up to \(refresh) steps old" : "")
    }

    public func train(_ session: ArmSession) throws -> any Model {
        let specs = [nil] + peers
        let all = try specs.enumerated().map { try session.student(number: $0, $1) }
        let trainers = try all.enumerated().map { index, student in
            let others = all.indices.filter { $0 != index }
            let stale =
                refresh > 1
                ? try StalePeers(
                    others.map { (specs[$0], all[$0].model, all[$0].arena) }, of: session, refresh: refresh)
                : nil
            return try session.trainer(
                student.model, student.arena, teacher: stale, peers: others.map { all[$0].model })
        }
        let mutual = MutualTrainer(trainers)
        try session.fit(mutual)
        session.peers = all.dropFirst().map(\.model)
        return mutual.model
    }
}

/// Trains peers in lock step: all see the same batch and answer before any of them moves.
final class MutualTrainer: EpochTrainer {
    private let trainers: [Trainer]

    init(_ trainers: [Trainer]) {
        self.trainers = trainers
        Trainer.introduce(trainers)
    }

    var model: any Model { trainers[0].model }
    var step: Int { trainers[0].step }
    var projectors: ProjectorSet { trainers[0].projectors }

    func epoch(_ index: Int) throws -> [Float] { try Trainer.epoch(index, of: trainers)[0] }
    func balance() throws -> [Double] { try trainers[0].balance() }
}

extension MutualTrainer: EpochResumable {
    var state: TrainingState {
        var state = TrainingState()
        for (number, trainer) in trainers.enumerated() { trainer.describe(&state, of: "peer\(number).") }
        return state
    }

    func resume(_ stored: StoredState) throws {
        for (number, trainer) in trainers.enumerated() { try trainer.resume(stored, of: "peer\(number).") }
    }
}
