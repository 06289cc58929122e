import RetortData
import RetortDistillation
import RetortKernels
import RetortModels
import RetortRuntime

/// A training step of ResNet-20 taught by ResNet-56 by Hinton's distillation on 32 × 32 images of three channels and 100 classes:
/// gathering the batch, the teacher's forward, the student's forward and backward, the loss, SGD with momentum
/// (scripts/pytorch/resnet_step.py). Epochs of two steps; time per step.
enum ResNetStepCase {
    static let stepsPerEpoch = 2

    static func step(batch: Int = 64) -> BenchCase {
        BenchCase(
            .step, "resnet_step", [batch, 3, 32, 32], isProduct: true, rotates: false, measuresMemory: true,
            measuresProcess: .device
        ) { device, _ in
            let planned = PlannedDevice()
            let (rehearsal, order) = try trainer(batch, Device(.planned(planned)))
            let before = planned.operationCount
            try rehearsal.epoch(0, order: order)
            let cost = planned.cost(since: before)
            let (trainer, _) = try trainer(batch, device)
            var (epoch, losses): (Int, [Float]) = (0, [])
            let scale = 1 / Double(stepsPerEpoch)
            return BenchSet(
                on: device.compute, cost: Cost(flops: cost.flops * scale, bytes: cost.bytes * scale),
                calls: stepsPerEpoch, outputs: [], tolerance: 0,
                run: {
                    losses = try trainer.epoch(epoch, order: order)
                    epoch += 1
                },
                // What the numbers are is the goldens' concern; here they must be numbers.
                reference: { _ in losses.allSatisfy(\.isFinite) ? 0 : .infinity })
        }
    }

    private static func trainer(_ batch: Int, _ device: Device) throws -> (Trainer, [Int32]) {
        let recipe = try Recipe.parse(
            """
            data: {kind: cifar100, path: none}
            teacher: {model: {kind: resnet, depth: 56}}
            student: {model: {kind: resnet, depth: 20}}
            arms: {student: {objective: [{loss: hinton, temperature: 4, alpha: 0.9}]}}
            train: {epochs: 1, batch: \(batch), optimizer: {kind: sgd, lr: 0.05, momentum: 0.9, weight-decay: 0.0005}}
            """, name: "bench")
        let task = ClassificationTask(sample: [3, 32, 32], classes: 100)
        func model(depth: Int, seed: UInt64, trains: Bool) throws -> (any Model, ParameterArena) {
            let model = try ResNet(
                ModelSettings(["depth": .integer(depth)], of: ResNet.architecture), for: task)
            return (model, try model.materialize(on: device, seed: seed, trains: trains))
        }
        let (teacher, _) = try model(depth: 56, seed: 1, trains: false)
        let (student, arena) = try model(depth: 20, seed: 2, trains: true)
        let rows = batch * stepsPerEpoch
        var random = BenchRandom()
        let pixels = (0..<(rows * 3 * 32 * 32)).map { _ in UInt8(random.integer(below: 256)) }
        let labels = (0..<rows).map { _ in Int32(random.integer(below: 100)) }
        let images = try ImageDataset(
            pixels: pixels, labels: labels, channels: 3, height: 32, width: 32, classNames: (0..<100).map(String.init))
        let trainer = try Trainer(
            student, arena, goal: .init(recipe.arms[0].terms, teacher: LocalTeacher(teacher)),
            data: try DeviceRows(.images(images), on: device), spec: recipe.train, seed: 0, on: device)
        return (trainer, (0..<Int32(rows)).map { $0 })
    }
}
