import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A batch trained in parts gives the gradient of the whole batch: also for losses that compare examples with each other.
@Suite("Micro-batches")
struct MicroBatchTests {
    /// The parameters after a few steps with momentum, which keep every difference of a gradient.
    private func trained(_ objective: String, microBatch: Int?, _ backend: TestBackend) throws -> [[Float]] {
        let device = try backend.device()
        let labels = (0..<42).map { Int32($0 % 3) }
        let isViewed = objective.contains("view: strong")
        let rows: DeviceRows
        if isViewed {
            // Six numbers of an example as well, of pictures with a second view.
            let pictures = SamplePictures(channels: 1, height: 2, width: 3)
            rows = try DeviceRows(
                .images(
                    ImageDataset(
                        pixels: (0..<42).flatMap { pictures.pixels($0) }, labels: labels, channels: 1, height: 2,
                        width: 3, classNames: ["a", "b", "c"])),
                augmentation: ImageAugmentation(flipProbability: 0.5),
                strong: PictureAugmentation(randAugment: RandAugment(operations: 3)), on: device)
        } else {
            let random = Philox(seed: 3, stream: Philox.stream("micro"))
            rows = try DeviceRows(
                TabularDataset(
                    features: random.uniforms(42 * 6, -1, 1), labels: labels,
                    columnNames: (0..<6).map { "x\($0)" }, classes: 3), on: device)
        }
        let part = microBatch.map { ", micro-batch: \($0)" } ?? ""
        let recipe = try Recipe.parse(
            """
            data: \(isViewed ? "{kind: idx, path: none, strong-augment: {}}" : "{kind: csv, path: none.csv, label: none, test: {every: 5}}")
            teacher: {model: {kind: mlp, layers: [6, 9, 3]}}
            student: {model: {kind: mlp, layers: [6, 5, 3]}}
            arms: {student: {objective: \(objective)}}
            train: {epochs: 2, batch: 21\(part), optimizer: {kind: sgd, lr: 0.02, momentum: 0.9}}
            """, name: "micro")
        let teacher = MLP([6, 9, 3])
        _ = try teacher.materialize(on: device, seed: 1)
        let student = MLP([6, 5, 3])
        let arena = try student.materialize(on: device, seed: 2)
        let trainer = try Trainer(
            student, arena, goal: .init(recipe.arms[0].terms, teacher: LocalTeacher(teacher)),
            data: rows, spec: recipe.train, seed: 5, on: device)
        var losses: [Float] = []
        for epoch in 0..<2 { losses += try trainer.epoch(epoch) }
        return try student.parameters.map { try $0.values() } + trainer.projectors.parameters.map { try $0.values() }
            + [losses]
    }

    @Test(
        "parts of 8 and of 1 are as the whole",
        arguments: [
            "[{loss: cross-entropy}]", "[{loss: hinton, temperature: 3, alpha: 0.7}]", "[{loss: rkd}]",
            "[{loss: sp, alpha: 30}]", "[{loss: pkt, alpha: 300}]", "[{loss: dist}]", "[{loss: mlkd}]",
            "[{loss: irg}]", "[{loss: crd, negatives: 20}]", "[{loss: contrastive}]",
            "[{loss: cross-entropy}, {loss: rkd}, {loss: cc, alpha: 1}]",
            "[{loss: forward-kl, reduction: element-mean}, {loss: logit-mse, alpha: 0.01, reduction: sum}]",
            "[{loss: cross-entropy, weight: 0.05, reduction: sum}, {loss: sp, alpha: 30}]",
            "[{loss: cross-entropy}, {loss: cross-entropy, view: strong}, {loss: mlkd}, {loss: mlkd, view: strong}]",
            "[{loss: hinton, view: strong}, {loss: sp, alpha: 30}]",
            "[{loss: hinton, reduction: sum, alpha: 0.05, view: strong}, {loss: sp, alpha: 30}]",
        ], TestBackend.fast)
    func wholeAndParts(_ objective: String, _ backend: TestBackend) throws {
        let whole = try trained(objective, microBatch: nil, backend)
        for size in [8, 1] {
            let parts = try trained(objective, microBatch: size, backend)
            for (index, (a, b)) in zip(parts, whole).enumerated() {
                let scale = b.map { Double(abs($0)) }.max() ?? 1
                expectClose(a, b.map(Double.init), absolute: 2e-5 * max(scale, 1e-3), "\(size) \(index)")
            }
        }
    }

    @Test("sum and element-mean are the mean times examples, and over classes")
    func reductions() throws {
        // The first step's loss, before anything has moved.
        func first(_ keys: String, _ microBatch: Int?) throws -> Float {
            try #require(trained("[{loss: hinton\(keys)}]", microBatch: microBatch, .cpu).last?.first)
        }
        for size in [nil, 8] {
            let mean = try first("", size)
            let (sum, elements) = (try first(", reduction: sum", size), try first(", reduction: element-mean", size))
            #expect(abs(sum - 21 * mean) < 1e-5 * sum && abs(elements - mean / 3) < 1e-5 * mean, "\(sum) \(elements)")
        }
    }

    @Test("a loss that spans the batch is not the mean of its parts: the two passes are needed")
    func spanningLossesDiffer() throws {
        let device = try TestBackend.cpu.device()
        let random = Philox(seed: 4, stream: Philox.stream("span"))
        let s = random.uniforms(8 * 4, -1, 1)
        let t = random.uniforms(8 * 5, -1, 1)
        func distance(_ range: Range<Int>) throws -> Float {
            let a = try Tensor(Array(s[(range.lowerBound * 4)..<(range.upperBound * 4)]), [range.count, 4], on: device)
            let b = try Tensor(Array(t[(range.lowerBound * 5)..<(range.upperBound * 5)]), [range.count, 5], on: device)
            return try a.similarityDistance(b).item()
        }
        let whole = try distance(0..<8)
        let mean = try (distance(0..<4) + distance(4..<8)) / 2
        #expect(abs(whole - mean) > 0.01 * abs(whole))
    }
}
