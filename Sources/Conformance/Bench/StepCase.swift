import Foundation
import RetortData
import RetortDistillation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// A training step with Hinton's distillation by the trainer itself: gathering the batch, the teacher's forward, the student's forward
/// and backward, the loss, AdamW. Epochs of eight steps; time per step.
enum StepCase {
    static let stepsPerEpoch = 8

    /// 784-1024-1024-10 taught by 784-2048-2048-10, T = 4, alpha = 0.9: scripts/pytorch/mlp_step.py.
    static func mlp(batch: Int = 128) -> BenchCase {
        step("kd_step", batch: batch, mlpWidths)
    }

    /// The sizes of recipes/digits.yaml.
    static func digits(batch: Int = 64) -> BenchCase {
        step("digits_step", batch: batch, digitsWidths)
    }

    private static let mlpWidths = Widths(teacher: [784, 2048, 2048, 10], student: [784, 1024, 1024, 10])
    private static let digitsWidths = Widths(teacher: [64, 256, 256, 10], student: [64, 16, 10])

    /// Opens a device, makes the models and takes one step: what a user waits for after starting the program.
    static func firstStep(digits: Bool, batch: Int, device: String?) throws {
        var random = BenchRandom()
        let rig = try Rig(
            batch: batch, steps: 1, digits ? digitsWidths : mlpWidths, try Device.select(device), &random)
        try rig.epoch()
    }

    private struct Widths: Sendable {
        let teacher: [Int]
        let student: [Int]
    }

    private static func step(_ kernel: String, batch: Int, _ widths: Widths) -> BenchCase {
        BenchCase(.step, kernel, [batch, widths.student[0]], isProduct: true, rotates: false) { device, random in
            let planned = PlannedDevice()
            let rehearsal = try Rig(batch: batch, steps: stepsPerEpoch, widths, Device(.planned(planned)), &random)
            let before = planned.operationCount
            try rehearsal.epoch()
            let cost = planned.cost(since: before)

            let rig = try Rig(batch: batch, steps: stepsPerEpoch, widths, device, &random)
            let scale = 1 / Double(stepsPerEpoch)
            return BenchSet(
                on: device.compute, cost: Cost(flops: cost.flops * scale, bytes: cost.bytes * scale),
                calls: stepsPerEpoch,
                outputs: [], tolerance: 1e-4, run: { try rig.epoch() }, reference: { _ in rig.firstLossError() })
        }
    }

    /// A teacher, a student and their trainer on random data.
    private final class Rig {
        private let trainer: Trainer
        private let order: [Int32]
        private var epochs = 0
        private static let seeds: (teacher: UInt64, student: UInt64) = (1, 2)
        private let batch: Int
        private let temperature = 4.0
        private let alpha = 0.9
        // What the first loss follows from.
        private let data: TabularDataset
        private let expert: MLP
        private let pupil: MLP
        private var firstLoss: Float?

        init(batch: Int, steps: Int, _ widths: Widths, _ device: Device, _ random: inout BenchRandom) throws {
            let (teacher, student) = (widths.teacher, widths.student)
            let rows = batch * steps
            let classes = student[student.count - 1]
            let recipe = try Recipe.parse(
                """
                data: {kind: csv, path: none.csv, label: none, test: {every: 5}}
                teacher: {model: {kind: mlp, layers: \(teacher)}}
                student: {model: {kind: mlp, layers: \(student)}}
                arms: {student: {objective: [{loss: hinton, temperature: \(temperature), alpha: \(alpha)}]}}
                train: {epochs: 1, batch: \(batch), optimizer: {kind: adamw, lr: 0.001}}
                seeds: [0]
                """, name: "bench")
            self.batch = batch
            data = try TabularDataset(
                features: random.floats(rows * student[0]),
                labels: (0..<rows).map { _ in Int32(random.integer(below: classes)) },
                columnNames: (0..<student[0]).map { "x\($0)" }, classes: classes)
            (expert, pupil) = (MLP(teacher), MLP(student))
            _ = try expert.materialize(on: device, seed: Self.seeds.teacher, trains: false)
            let arena = try pupil.materialize(on: device, seed: Self.seeds.student)
            trainer = try Trainer(
                pupil, arena, goal: .init(recipe.arms[0].terms, teacher: LocalTeacher(expert)),
                data: try DeviceRows(data, on: device), spec: recipe.train, seed: 0, on: device)
            order = (0..<Int32(rows)).map { $0 }
        }

        func epoch() throws {
            let losses = try trainer.epoch(epochs, order: order)
            if epochs == 0 { firstLoss = losses[0] }
            epochs += 1
        }

        /// Relative error of the loss of the very first step.
        func firstLossError() -> Double {
            guard let firstLoss else { return .infinity }
            let teacherWeights = HostLayer.all(expert, seed: Self.seeds.teacher)
            let studentWeights = HostLayer.all(pupil, seed: Self.seeds.student)
            var sum = 0.0
            for r in 0..<batch {
                let x = data.row(r).map(Double.init)
                let (s, t) = (HostLayer.logits(studentWeights, x), HostLayer.logits(teacherWeights, x))
                let logQ = RowCheck.logSoftmax(s.map { $0 / temperature })
                let logP = RowCheck.logSoftmax(t.map { $0 / temperature })
                let divergence = zip(logP, logQ).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
                let hard = -RowCheck.logSoftmax(s)[Int(data.labels[r])]
                sum += alpha * temperature * temperature * divergence + (1 - alpha) * hard
            }
            let expected = sum / Double(batch)
            return abs(Double(firstLoss) - expected) / abs(expected)
        }
    }

    /// A linear layer's numbers on the host, for the reference.
    private struct HostLayer {
        let weight: [Float]
        let bias: [Float]

        /// What a model started from.
        static func all(_ model: MLP, seed: UInt64) -> [HostLayer] {
            let values = model.parameters.map { $0.initialValues(seed: seed) }
            return stride(from: 0, to: values.count, by: 2).map { HostLayer(weight: values[$0], bias: values[$0 + 1]) }
        }

        /// Linear layers with ReLU between them.
        static func logits(_ layers: [HostLayer], _ x: [Double]) -> [Double] {
            var x = x
            for (index, layer) in layers.enumerated() {
                let inputs = x.count
                x = layer.bias.indices.map { o in
                    var sum = Double(layer.bias[o])
                    for i in 0..<inputs { sum += Double(layer.weight[o * inputs + i]) * x[i] }
                    return index < layers.count - 1 ? max(sum, 0) : sum
                }
            }
            return x
        }
    }
}

/// What a profiled run of a step says about where its time goes.
public struct StepProfile {
    /// Time in products over the time of all ops.
    public let productShare: Double
    public let table: String

    /// - Parameter name: the device as `--device` has it; opened again, for a profiling queue is slower.
    init(_ kernel: BenchCase, deviceName: String?, epochs: Int = 5) throws {
        let profiler = Profiler()
        let device = try Device.select(deviceName, profiler: profiler)
        var random = BenchRandom()
        let set = try kernel.make(device, &random)
        for _ in 0..<epochs { try set.run() }
        let rows = profiler.rows
        let total = rows.reduce(0.0) { $0 + $1.device.seconds }
        let products = rows.filter { $0.name == Matmul().name }.reduce(0.0) { $0 + $1.device.seconds }
        productShare = products / max(total, 1e-12)
        table = try profileTable(profiler, on: device)
    }
}
