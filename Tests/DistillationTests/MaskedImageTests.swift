import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// The teacher's features of what the student's picture hides.
@Suite("Masked-image feature distillation")
struct MaskedImageTests {
    @Test("the distance against float64, with and without weights of positions", arguments: TestBackend.available)
    func distance(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (rows, positions, channels, beta) = (3, 4, 5, 0.7)
        let count = rows * positions * channels
        let (s, t) = (SignalSample.random("masked s", count, 2), SignalSample.random("masked t", count, 2))
        let weights: [Float] = [1, 0, 0.25, 0, 0, 1, 1, 0, 0.5, 0.5, 0.5, 0.5]
        func expected(_ s: [Double], _ weights: [Float]) -> Double {
            var sum = 0.0
            for row in 0..<rows {
                var (above, below) = (0.0, 0.0)
                for position in 0..<positions {
                    let at = (row * positions + position) * channels
                    let teacher = t[at..<(at + channels)].map(Double.init)
                    let mean = Float64Reference.mean(teacher)
                    let variance = Float64Reference.mean(teacher.map { ($0 - mean) * ($0 - mean) })
                    let distances = zip(s[at..<(at + channels)], teacher).map { x, y in
                        let d = abs(x - (y - mean) / (variance + 1e-5).squareRoot())
                        return d < beta ? d * d / (2 * beta) : d - beta / 2
                    }
                    let weight = Double(weights[row * positions + position])
                    above += weight * Float64Reference.mean(distances)
                    below += weight
                }
                sum += above / below / Double(rows)
            }
            return sum
        }
        for counted in [weights, nil] {
            let (x, leaf) = try Tensor.variable(s, [rows, positions, channels], on: device)
            let loss = try x.maskedFeatureDistance(
                Tensor(t, [rows, positions, channels], on: device), beta: Float(beta),
                counting: counted.map { try Tensor($0, [rows, positions], on: device) })
            let reference = { expected($0, counted ?? [Float](repeating: 1, count: rows * positions)) }
            let doubles = s.map(Double.init)
            expectClose([try loss.item()], [reference(doubles)], absolute: 0, relative: 2e-6, "value")
            try loss.backward()
            let gradient = Float64Reference.gradient(doubles, reference)
            let largest = gradient.map { abs($0) }.max() ?? 0
            expectClose(try leaf.gradientValues(), gradient, absolute: 2e-5 * largest, "gradient")
        }
    }

    @Test("as many squares of every picture, by its place in the batch; what cannot be hidden is refused")
    func masks() throws {
        let device = try TestBackend.cpu.device()
        let mask = PatchMask(share: 0.4, side: 2)
        func draw(_ rows: Int, from first: Int = 0, step: Int = 3, shape: Dimensions = [2, 8, 6]) throws -> [Float] {
            try mask.draw(
                for: Tensor.full(1, [rows] + shape, on: device.compute), firstRow: first, seed: 7, step: step,
                on: device
            ).values()
        }
        let whole = try draw(9)
        #expect(whole.count == 9 * 48)
        for row in 0..<9 {
            let picture = whole[(row * 48)..<((row + 1) * 48)]
            // 12 squares of 4 pixels, 5 of them hidden.
            #expect(picture.reduce(0, +) == 20 && picture.allSatisfy { $0 == 0 || $0 == 1 })
            let squares = (0..<12).map { square in
                [0, 1, 6, 7].map { picture[row * 48 + square / 3 * 12 + square % 3 * 2 + $0] }
            }
            #expect(squares.allSatisfy { Set($0).count == 1 })
        }
        #expect(try draw(4) + draw(5, from: 4) == whole)
        #expect(try draw(9, step: 4) != whole)
        for (shape, words) in [([6], "rows of 6 features"), ([1, 8, 7], "8 × 7"), ([1, 2, 2], "2 × 2")]
            as [(Dimensions, String)]
        {
            let error = thrown(RetortError.self) { _ = try draw(2, shape: shape) }
            #expect(error?.exit == .recipe && error?.what.contains(words) == true, "\(String(describing: error))")
        }
    }

    private static let objective =
        "[{loss: masked-image, mask: 0.5, student: [layers.0.hidden], teacher: [layers.0.hidden]}]"

    private func vit(_ hidden: Int, seed: UInt64, on device: Device) throws -> (ViT, ParameterArena) {
        let sizes: [String: SettingValue] = [
            "hidden": .integer(hidden), "layers": .integer(1), "heads": .integer(2), "intermediate": .integer(16),
            "patch": .integer(4),
        ]
        let model = try ViT(
            ModelSettings(sizes, of: ViT.architecture), for: ClassificationTask(sample: [3, 8, 8], classes: 3))
        return (model, try model.materialize(on: device, seed: seed))
    }

    private func trainer(_ objective: String, microBatch: Int?, on device: Device) throws -> (
        Trainer, ViT, ViT, DeviceRows
    ) {
        let images = try ImageDataset(
            pixels: (0..<14 * 192).map { UInt8(truncatingIfNeeded: $0 * 89 + $0 / 192 * 31) },
            labels: (0..<14).map { Int32($0 % 3) }, channels: 3, height: 8, width: 8, classNames: ["a", "b", "c"])
        let data = try DeviceRows(
            .images(images), normalization: ImageNormalization(mean: [0.5, 0.5, 0.5], deviation: [0.2, 0.2, 0.2]),
            on: device)
        let part = microBatch.map { ", micro-batch: \($0)" } ?? ""
        let recipe = try Recipe.parse(
            """
            data: {kind: idx, path: none}
            teacher: {model: {kind: vit, hidden: 12}}
            student: {model: {kind: vit, hidden: 8}}
            arms: {student: {objective: \(objective)}}
            train: {epochs: 2, batch: 7\(part), optimizer: {kind: sgd, lr: 0.05, momentum: 0.9}}
            """, name: "masked")
        let (teacher, _) = try vit(12, seed: 1, on: device)
        let (student, arena) = try vit(8, seed: 2, on: device)
        let trainer = try Trainer(
            student, arena, goal: .init(recipe.arms[0].terms, teacher: LocalTeacher(teacher)), data: data,
            spec: recipe.train, seed: 5, on: device)
        return (trainer, student, teacher, data)
    }

    @Test("parts of a batch see the masks of the whole", arguments: TestBackend.fast)
    func parts(_ backend: TestBackend) throws {
        let device = try backend.device()
        func trained(_ microBatch: Int?) throws -> [[Float]] {
            let (trainer, student, _, _) = try trainer(
                "[{loss: cross-entropy}, \(Self.objective.dropFirst())", microBatch: microBatch, on: device)
            let losses = try [0, 1].flatMap { try trainer.epoch($0) }
            return try student.parameters.map { try $0.values() } + [losses]
        }
        let whole = try trained(nil)
        for (a, b) in zip(try trained(3), whole) {
            let scale = b.map { Double(abs($0)) }.max() ?? 1
            expectClose(a, b.map(Double.init), absolute: 2e-5 * max(scale, 1e-3), "parts of 3")
        }
    }

    @Test("the student sees the rest, the teacher all, and what is hidden counts", arguments: TestBackend.fast)
    func step(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (trainer, student, teacher, data) = try trainer(Self.objective, microBatch: nil, on: device)
        let order = trainer.permutation(epoch: 0)
        let x = try data.batch(Array(order[..<7]), on: device).x
        // Four squares of 4 × 4, two hidden.
        let hidden = try PatchMask(share: 0.5, side: 4).draw(
            for: x, firstRow: 0, seed: EpochOrder(seed: 5).seed(2), step: 0, on: device)
        let path = "layers.0.hidden"
        student.setTraining(true)
        teacher.setTraining(false)
        let expected = try Autograd.withoutGradients {
            let seen = try student.forward(x * (hidden * -1).adding(1), capturing: [path]).signals[path]!
            let taught = try teacher.forward(x, capturing: [path]).signals[path]!
            let head = trainer.projectors.parameters
            let given = try seen.narrowed(axis: 1, 1..<5).copied().reshaped([28, 8])
                .linear(head[0].tensor, bias: head[1].tensor).reshaped([7, 4, 12])
            return try given.maskedFeatureDistance(
                taught.narrowed(axis: 1, 1..<5), beta: 2, counting: hidden.averaged(2, 2).reshaped([7, 4])
            ).item()
        }
        let losses = try trainer.epoch(0)
        expectClose([losses[0]], [Double(expected)], absolute: 0, relative: 1e-5, "the first step's loss")
    }

    @Test("losses of one arm that hide different parts are refused")
    func contradiction() throws {
        let device = try TestBackend.cpu.device()
        let error = thrown(RetortError.self) {
            _ = try trainer("[{loss: masked-image}, {loss: masked-image, mask: 0.2}]", microBatch: nil, on: device)
        }
        #expect(error?.exit == .recipe && error?.what.contains("different parts") == true)
    }
}
