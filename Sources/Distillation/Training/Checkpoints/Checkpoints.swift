import Foundation
import RetortKernels
import RetortSupport

/// The states of one training on disk, in `checkpoints/` of an arm's seed: the newest counts, older ones go when it is there.
final class Checkpoints {
    private let folder: String
    private let name: String
    private let spec: CheckpointSpec
    private let clock = ContinuousClock()
    private var last: ContinuousClock.Instant

    /// - Parameters:
    ///   - folder: `<arm>/seed-<n>/checkpoints`; made when the first is written.
    ///   - name: of one of several trainings there: "generation-1."; "" for the only one.
    init(in folder: String, name: String = "", _ spec: CheckpointSpec) {
        self.folder = folder
        self.name = name
        self.spec = spec
        last = clock.now
    }

    /// Whether it is time for one.
    /// - Parameter before: the step at which this was asked last; nil for each step.
    func isDue(after step: Int, since before: Int? = nil) -> Bool {
        if let steps = spec.steps, step / steps > (before ?? step - 1) / steps { return true }
        return spec.minutes > 0 && clock.now - last >= .seconds(spec.minutes * 60)
    }

    /// The newest; nil where there is none.
    /// - Throws: `RetortError` 65 for a damaged one.
    func newest() throws -> StoredState? {
        try steps().max().map { try StoredState(path($0)) }
    }

    /// - Throws: `RetortError` 73 or 74; those before are still there then.
    func write(_ state: TrainingState, step: Int, from device: ComputeDevice) throws {
        try Folder.createWithParents(folder)
        let older = steps().filter { $0 != step }
        try state.write(to: path(step), from: device)
        for step in older { try? FileManager.default.removeItem(atPath: path(step)) }
        last = clock.now
    }

    /// What is not needed any more.
    func remove() { try? FileManager.default.removeItem(atPath: folder) }

    private func path(_ step: Int) -> String { "\(folder)/\(name)step-\(step).safetensors" }

    private func steps() -> [Int] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).compactMap { file in
            let prefix = name + "step-"
            guard file.hasPrefix(prefix), file.hasSuffix(".safetensors") else { return nil }
            return Int(file.dropFirst(prefix.count).dropLast(".safetensors".count))
        }
    }
}

/// When a training writes down where it is. A signal makes it do so too.
struct CheckpointSpec: Sendable {
    /// Between two; 0: only when a signal asks it to stop.
    let minutes: Double
    let steps: Int?

    init(_ node: RecipeNode) {
        minutes = node.required("minutes").number
        steps = node["steps"]?.integer
    }

    static let field = RecipeField(
        "checkpoint",
        .section(
            RecipeSection(
                "checkpoint", "When a training writes down where it is, to go on from there.",
                [
                    RecipeField(
                        "minutes", .number(0...1e6), .defaulted("10"),
                        "between two; 0 leaves it to Ctrl-C and SIGTERM, which always write one"),
                    RecipeField(
                        "steps", .integer(1...1_000_000_000), .optional,
                        "after so many optimizer steps, too; of classifiers and recommenders at the end of their epoch"),
                ])), .defaulted("{}"),
        "when a training writes down where it is, so that the same command goes on from there")
}
