// Hinton's distillation on UCI digits, from Swift: what `retort train recipes/digits.yaml` does for one seed.
// Run it in the package's folder: swift run -c release DigitsExample
import RetortData
import RetortDistillation
import RetortKernels
import RetortModels
import RetortRuntime

@main
struct Digits {
    static func main() throws {
        let device = try Device.select()
        let digits = try TabularDataset.csv("data/uci-digits/digits.csv", label: "label", scale: 1 / 16)
        let (train, test) = try digits.split(testEvery: 5)
        let all = try DeviceRows(train, on: device)
        let few = try DeviceRows(try train.first(rows: 150), on: device)
        let held = try DeviceRows(test, on: device)

        let teacher = MLP([64, 256, 256, 10])
        try fit(teacher, on: all, epochs: 60, seed: 1, device) { logits, _, labels, rows in
            try logits.crossEntropy(labels, scale: 1 / Float(rows)).total
        }
        teacher.freeze()

        let alone = MLP([64, 16, 10])
        try fit(alone, on: few, epochs: 600, seed: 2, device) { logits, _, labels, rows in
            try logits.crossEntropy(labels, scale: 1 / Float(rows)).total
        }

        // alpha · T² · KL(teacher ‖ student) + (1 − alpha) · cross entropy, value and gradient in one launch.
        let (alpha, temperature): (Float, Float) = (0.9, 8)
        let student = MLP([64, 16, 10])
        try fit(student, on: few, epochs: 600, seed: 2, device) { logits, x, labels, rows in
            let loss = Divergence(
                .forwardKL, temperature: temperature, softWeight: alpha * temperature * temperature,
                hardWeight: 1 - alpha, scale: 1 / Float(rows))
            let soft = try Autograd.withoutGradients { try teacher(x) }
            return try logits.divergence(loss, teacher: soft.view, labels: labels).total
        }

        for (name, model) in [("teacher", teacher), ("student alone", alone), ("student distilled", student)] {
            print(name, try Evaluation(model, held, on: device).accuracy)
        }
    }

    typealias Loss = (_ logits: Tensor, _ x: Tensor, _ labels: View, _ rows: Int) throws -> Tensor

    static func fit(_ model: MLP, on data: DeviceRows, epochs: Int, seed: UInt64, _ device: Device, loss: Loss) throws {
        let optimizer = try Adam(try model.materialize(on: device, seed: seed))
        for epoch in 0..<epochs {
            let order = Philox(seed: seed, stream: UInt64(epoch)).permutation(data.rows)
            for start in stride(from: 0, to: data.rows, by: 64) {
                let (x, labels) = try data.batch(Array(order[start..<min(data.rows, start + 64)]), on: device)
                try loss(try model(x), x, labels, labels.count).backward()
                try optimizer.step(learningRate: 0.001)
            }
        }
    }
}
