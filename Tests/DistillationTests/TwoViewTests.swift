import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses that look at one of two views of each picture: student and teacher answer both, the losses are added up.
@Suite("Two views")
struct TwoViewTests {
    private static let rows = 12
    private static let classes = 4
    private static let labels = (0..<rows).map { Int32($0 * 5 % classes) }

    /// One step on all rows.
    private struct Step {
        let loss: Float
        /// Logits `[rows, classes]` of student and teacher before it, by view, and the labels, in the order of the batch.
        let student: [[[Double]]]
        let teacher: [[[Double]]]
        let labels: [Int]
    }

    private func step(_ terms: [ArmTerm], _ backend: TestBackend) throws -> Step {
        let device = try backend.device()
        let pictures = SamplePictures(channels: 3, height: 6, width: 5, classes: Self.classes)
        let data = try DeviceRows(
            .images(
                ImageDataset(
                    pixels: (0..<Self.rows).flatMap { pictures.pixels($0) }, labels: Self.labels, channels: 3,
                    height: 6, width: 5, classNames: ["a", "b", "c", "d"])),
            normalization: ImageNormalization(mean: [0.4, 0.4, 0.4], deviation: [0.2, 0.2, 0.2]),
            augmentation: ImageAugmentation(padding: 1, flipProbability: 0.5),
            strong: PictureAugmentation(randAugment: RandAugment(operations: 2, cutout: 0.5)), on: device)
        let (teacher, student) = (MLP([90, 11, Self.classes]), MLP([90, 7, Self.classes]))
        _ = try teacher.materialize(on: device, seed: 1)
        let arena = try student.materialize(on: device, seed: 2)
        let spec = TrainSpec(
            epochs: 1, batch: Self.rows, optimizer: .adam(rate: 0.001), schedule: .constant)
        let trainer = try Trainer(
            student, arena, goal: .init(terms, teacher: LocalTeacher(teacher)), data: data, spec: spec, seed: 5,
            on: device)
        let order = trainer.permutation(epoch: 0)
        let batch = try data.batch(
            device.compute.view(order, [Self.rows], .i32),
            at: .init(seed: EpochOrder(seed: 5).seed(1), epoch: 0, step: 0), classes: Self.classes,
            views: [.weak, .strong], on: device)
        func answers(_ model: MLP) throws -> [[[Double]]] {
            try batch.views.map {
                try Float64Reference.rows(model($0.x).values().map(Double.init), Self.classes)
            }
        }
        let (before, taught) = try Autograd.withoutGradients { (try answers(student), try answers(teacher)) }
        let losses = try trainer.epoch(0)
        try #require(losses.count == 1)
        return Step(
            loss: losses[0], student: before, teacher: taught, labels: order.map { Int(Self.labels[Int($0)]) })
    }

    private func crossEntropy(_ logits: [[Double]], _ labels: [Int]) -> Double {
        Float64Reference.mean(zip(logits, labels).map { -Float64Reference.logSoftmax($0)[$1] })
    }

    private func divergence(_ student: [[Double]], _ teacher: [[Double]], _ temperature: Double) -> Double {
        let rows = zip(student, teacher).map {
            Float64Reference.divergence(
                Float64Reference.softmax($1, temperature: temperature),
                Float64Reference.logSoftmax($0, temperature: temperature))
        }
        return temperature * temperature * Float64Reference.mean(rows)
    }

    /// ‖A·Aᵀ − B·Bᵀ‖², A the teacher's probabilities and B the student's, or of their transposes.
    private func relations(
        _ student: [[Double]], _ teacher: [[Double]], _ temperature: Double, transposed: Bool
    ) -> Double {
        func products(_ logits: [[Double]]) -> [Double] {
            var rows = logits.map { Float64Reference.softmax($0, temperature: temperature) }
            if transposed {
                let given = rows
                rows = given[0].indices.map { column in given.map { $0[column] } }
            }
            return rows.flatMap { row in rows.map { zip(row, $0).reduce(0) { $0 + $1.0 * $1.1 } } }
        }
        return zip(products(student), products(teacher)).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    }

    @Test("the CIFAR recipes' MLKD is the published code's sum", arguments: TestBackend.fast)
    func published(_ backend: TestBackend) throws {
        let recipe = try Recipe.read(Project.recipe("cifar100/resnet32x4-to-8x4.yaml"))
        let arm = try #require(recipe.arms.first { $0.name == "mlkd" })
        let step = try step(arm.terms, backend)
        let (weak, strong) = (step.student[0], step.student[1])
        let (weakTaught, strongTaught) = (step.teacher[0], step.teacher[1])
        // Masks of the half of the rows and of the classes that the teacher is least sure of, of losses that are means already.
        let half = 0.5
        var loss = 0.1 * (crossEntropy(weak, step.labels) + crossEntropy(strong, step.labels))
        for temperature in [2.0, 3, 4, 5, 6] {
            loss += 0.9 * half * divergence(weak, weakTaught, temperature)
            // At 2 and 6 the code that means the strong view names the weak one.
            let isSlip = temperature == 2 || temperature == 6
            loss +=
                0.9 * divergence(isSlip ? weak : strong, isSlip ? weakTaught : strongTaught, temperature)
            loss +=
                0.9 * half * relations(weak, weakTaught, temperature, transposed: false) / Double(Self.rows)
            loss +=
                0.9 * half * relations(weak, weakTaught, temperature, transposed: true) / Double(Self.classes)
        }
        expectClose([step.loss], [loss], absolute: 1e-5, relative: 1e-5)
        // The views differ, or the test would tell nothing.
        #expect(abs(divergence(weak, weakTaught, 4) - divergence(strong, strongTaught, 4)) > 1e-3)
        #expect(abs(divergence(strong, weakTaught, 4) - divergence(strong, strongTaught, 4)) > 1e-3)
    }

    @Test("a loss alone looks at its own view", arguments: TestBackend.fast)
    func alone(_ backend: TestBackend) throws {
        for (place, view) in ExampleView.allCases.enumerated() {
            let objective = try ObjectiveRegistry.parse("{loss: forward-kl, temperature: 2, alpha: 1}")
            let step = try step([ArmTerm(objective, view: view)], backend)
            let squared = divergence(step.student[place], step.teacher[place], 2)
            expectClose([step.loss], [squared], absolute: 1e-5, relative: 1e-5, view.rawValue)
        }
    }

    @Test("without a second view there is nothing to look at", arguments: TestBackend.fast)
    func missing(_ backend: TestBackend) throws {
        let device = try backend.device()
        let data = try DeviceRows(
            TabularDataset(
                features: [Float](repeating: 1, count: 8), labels: [0, 1], columnNames: ["a", "b", "c", "d"],
                classes: 2), on: device)
        let student = MLP([4, 2])
        let trainer = try Trainer(
            student, student.materialize(on: device, seed: 1),
            goal: .init([ArmTerm(CrossEntropyObjective(smoothing: 0), view: .strong)], teacher: nil), data: data,
            spec: TrainSpec(epochs: 1, batch: 2, optimizer: .adam(rate: 0.001), schedule: .constant), seed: 1,
            on: device)
        let error = thrown(RetortError.self) { _ = try trainer.epoch(0) }
        #expect(error?.exit == .recipe && error?.help.contains("strong-augment") == true)
    }
}
