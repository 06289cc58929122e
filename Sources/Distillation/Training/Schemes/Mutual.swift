import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Deep mutual learning (Zhang et al. 2018, arXiv:1706.00384): several students learn at the same time, each from the labels and from
/// the others' answers of the same step; the distillation terms are averaged over the others. The first student is the one that is
/// measured and saved.
///
/// With `refresh` above 1 the others answer from weights as old as that many steps: co-distillation (Anil et al. 2018,
/// arXiv:1804.03235), which tolerates stale teachers.
public struct MutualScheme: Scheme {
    public static let section = RecipeSection(
        "mutual", "Several students teach each other while they learn (Zhang et al. 2018).",
        [
            RecipeField(
                "peers", .integer(2...16), .defaulted("2"),
                "students, of the same architecture, each from its own start"),
            RecipeField(
                "refresh", .integer(1...1_000_000), .defaulted("1"),
                "steps after which the others' weights are looked at again; above 1: co-distillation"),
        ])
    private let students: Int
    private let refresh: Int

    public init(_ recipe: RecipeNode) {
        students = recipe.required("peers").integer
        refresh = recipe.required("refresh").integer
    }

    public var trainsPeers: Bool { true }
    public var bringsTeacher: Bool { true }
    public var peers: Int { students - 1 }
    public var contract: String {
        "\(students) students teach each other" + (refresh > 1 ? ", with weights up to \(refresh) steps old" : "")
    }

    public func train(_ session: ArmSession) throws -> any Model {
        let all = try (0..<students).map { try session.student(number: $0) }
        let trainers = try all.enumerated().map { index, student in
            let others = all.enumerated().filter { $0.offset != index }.map(\.element)
            let stale = refresh > 1 ? try StalePeers(others, of: session, refresh: refresh) : nil
            return try session.trainer(student.model, student.arena, teacher: stale, peers: peers)
        }
        let mutual = MutualTrainer(trainers)
        try session.fit(mutual)
        return mutual.model
    }
}

/// Trains peers in lock step: all see the same batch and answer before any of them moves.
final class MutualTrainer: EpochTrainer {
    private let trainers: [Trainer]

    init(_ trainers: [Trainer]) { self.trainers = trainers }

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
