import RetortModels
import RetortRuntime
import RetortSupport

/// What rewards of held-out answers show: on how many prompts the better answer has the higher one, and by how much, as the loss of an arm
/// has rewards: β·(ln q − ln r), without a reference β·ln q.
final class PreferenceMeasure {
    struct Outcome {
        let pairs: Int
        /// Share of the pairs whose margin is above 0.
        let accuracy: Double
        /// Mean of reward(chosen) − reward(rejected).
        let margin: Double

        var metrics: [(Metric, Double)] { [(.preferenceAccuracy, accuracy), (.preferenceMargin, margin)] }
    }

    private let objective: any PreferenceObjective
    private let reference: LanguageTeacher?
    private let batches: [LanguageBatch]
    private let chunk: ChunkSize
    private let device: Device
    /// Of a reference that stays as it is: ln r(chosen) − ln r(rejected) of each pair.
    private var known: [Double]?

    /// - Parameters:
    ///   - term: of an arm; nil for one that compares no answers, of which nothing can be measured.
    ///   - teachers: the reference among them.
    ///   - data: pairs of answers, in turns the better and the worse.
    ///   - chunk: how many tokens' logits are held at a time.
    init?(
        _ term: LanguageArmTerm?, among teachers: [LanguageTeacher], on data: LanguageBatches,
        chunk: ChunkSize, _ device: Device
    ) {
        guard let term, let objective = term.objective as? any PreferenceObjective else { return nil }
        self.objective = objective
        reference = teachers.first { $0.name == term.teachers.first }
        let epoch = data.epoch(0)
        batches = (0..<epoch.steps).map(epoch.batch)
        self.chunk = chunk
        self.device = device
    }

    /// - Throws: `RetortError` 75 when a signal asked to stop.
    func callAsFunction(_ model: any LanguageModel) throws -> Outcome {
        var margins = try differences { try model.logProbabilities($0, chunk: chunk, on: device) }
        if let reference {
            let theirs = try known ?? differences { try reference.logProbabilities($0, chunk: chunk) }
            if reference.moving == nil { known = theirs }
            margins = zip(margins, theirs).map { $0 - $1 }
        }
        let count = Double(max(1, margins.count))
        return Outcome(
            pairs: margins.count, accuracy: Double(margins.count { $0 > 0 }) / count,
            margin: Double(objective.beta) * margins.reduce(0, +) / count)
    }

    /// ln(chosen) − ln(rejected) of each pair.
    /// - Parameter tokens: ln of each token of a batch.
    private func differences(_ tokens: (LanguageBatch) throws -> [Float]) throws -> [Double] {
        try batches.flatMap { batch in
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
            let logs = try tokens(batch)
            let answers = (0..<batch.rows).map { row -> Double in
                let places = (row * batch.length..<(row + 1) * batch.length).filter { batch.targets[$0] >= 0 }
                let sum = places.reduce(0) { $0 + Double(logs[$1]) }
                return objective.likelihood == .mean ? sum / Double(max(1, places.count)) : sum
            }
            return stride(from: 0, to: batch.rows, by: 2).map { answers[$0] - answers[$0 + 1] }
        }
    }
}
