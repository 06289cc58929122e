import Foundation
import RetortModels
import RetortRuntime

/// Maps a student's embeddings to the teacher's dimension by several experts, of which a gate that sees the teacher's embedding picks one: `[rows,
/// student]` → `[rows, teacher]`. Kang et al. 2020 (DE-RRD, arXiv:2012.04357), section 3.1.
///
/// An expert is a linear layer to half the sum of both dimensions, ReLU, and a linear layer. The gate is softmax((log softmax(W t) + g) / τ), g Gumbel
/// noise and τ falling from 1 to `finalTemperature` exponentially over the epochs. One expert needs no gate. The noise is a function of (seed, name,
/// step, row of the table, expert).
final class ExpertProjector: Module {
    private let experts: [(inner: Linear, outer: Linear)]
    private let gate: Linear?
    private let finalTemperature: Double
    private let name: String
    private let seed: UInt64
    var isTraining = true

    init(
        _ name: String, student: Int, teacher: Int, experts: Int, finalTemperature: Double, seed: UInt64
    ) {
        let width = max(1, (student + teacher) / 2)
        self.experts = (0..<experts).map { i in
            (
                Linear("\(name).experts.\(i).0", inputs: student, outputs: width, activation: .relu),
                Linear("\(name).experts.\(i).2", inputs: width, outputs: teacher)
            )
        }
        gate = experts > 1 ? Linear("\(name).selection", inputs: teacher, outputs: experts) : nil
        self.finalTemperature = finalTemperature
        self.name = name
        self.seed = seed
    }

    var children: [any Module] {
        experts.flatMap { [$0.inner, $0.outer] as [any Module] } + (gate.map { [$0] } ?? [])
    }

    func temperature(_ progress: TrainingProgress) -> Float {
        let share = Double(progress.epoch) / Double(max(1, progress.epochs))
        return Float(pow(finalTemperature, share))
    }

    /// - Parameter rows: where the embeddings stand in their table.
    func project(_ student: Tensor, teacher: Tensor, rows: [Int32], _ progress: TrainingProgress) throws -> Tensor {
        let outputs = try experts.map { try $0.outer($0.inner(student)) }
        guard let gate else { return outputs[0] }
        let count = experts.count
        let random = Philox(seed: seed, stream: Philox.stream("\(name)/\(progress.step)"))
        let noise = rows.flatMap { row in
            (0..<count).map { Float(random.gumbel(UInt64(row) * UInt64(count) + UInt64($0))) }
        }
        let logits = try gate(teacher).logSoftmax()
        let noisy = Tensor(view: try logits.device.view(noise, [rows.count, count]), on: Device(logits.device))
        let weights = try (logits + noisy).softmax(temperature: temperature(progress))
        return try Tensor.total(
            outputs.enumerated().map { i, output in try output * weights.narrowed(axis: 1, i..<(i + 1)) })
    }

    /// A pair for users and items.
    struct Pair {
        let users: ExpertProjector
        let items: ExpertProjector
        let teacher: EmbeddingTables

        init(_ context: RecommenderContext, experts: Int, finalTemperature: Double) throws {
            let teacher = try context.required()
            func make(_ part: String) -> ExpertProjector {
                ExpertProjector(
                    "\(context.name).\(part)", student: context.studentDimension, teacher: teacher.dimension,
                    experts: experts, finalTemperature: finalTemperature, seed: context.seed)
            }
            self.teacher = teacher
            users = make("users")
            items = make("items")
        }

        var modules: [any Module] { [users, items] }

        /// The hint over a batch: Σ ‖t − p(s)‖² over its distinct users, plus half of that over its distinct taken and its distinct not taken
        /// items, divided by its pairs.
        func hint(_ input: RecommenderInput) throws -> Tensor {
            let users = try hint(self.users, input.student.users, teacher.users, input.users, input)
            let taken = try hint(items, input.student.items, teacher.items, input.positives, input)
            let other = try hint(items, input.student.items, teacher.items, input.negatives, input)
            return try (users + (taken + other) * 0.5) * (1 / Float(input.pairs))
        }

        private func hint(
            _ projector: ExpertProjector, _ student: Tensor, _ teacher: Tensor, _ rows: [Int32],
            _ input: RecommenderInput
        ) throws -> Tensor {
            let rows = rows.distinct
            let target = try teacher.gatherRows(rows, shape: [rows.count])
            let projected = try projector.project(
                student.gatherRows(rows, shape: [rows.count]), teacher: target, rows: rows, input.progress)
            return try projected.meanSquaredError(target, reduction: .sum)
        }
    }

    /// The keys of a recipe that make a pair.
    static func fields(experts: Int) -> [RecipeField] {
        [
            RecipeField(
                "experts", .integer(1...1024), .defaulted(String(experts)),
                "projectors for users and as many for items; a gate on the teacher's embedding picks one"),
            RecipeField(
                "final-temperature", .number(1e-10...1), .defaulted("1e-4"),
                "of the gate in the last epoch; it falls from 1"),
        ]
    }
}
