import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// CIFAR residual networks against PyTorch: weights under the published names, logits in both modes, every gradient, running
/// statistics, three steps of SGD.
@Suite("ResNet, goldens")
struct ResNetGoldenTests {
    private func model(_ name: String) throws -> ResNet {
        let path = Project.golden("models/\(name)/config.json")
        let config = JSONCursor(try JSON.read(path), file: path)
        let widths = try config.member("widths").elements().map { try $0.int() }
        let size = try config.member("image_size").int()
        let settings = ModelSettings(
            [
                "depth": .integer(6 * (try config.member("blocks_per_stage").int()) + 2),
                "widths": .integers([widths[0]] + widths),
            ], of: ResNet.architecture)
        return try ResNet(
            settings,
            for: ClassificationTask(
                sample: [try config.member("in_channels").int(), size, size],
                classes: try config.member("num_classes").int()))
    }

    @Test("logits, gradients, running statistics, training", arguments: ["resnet8", "resnet20"], TestBackend.available)
    func agrees(_ name: String, _ backend: TestBackend) throws {
        let device = try backend.device()
        let golden = try GoldenModel(name)
        let model = try model(name)
        let arena = try model.materialize(on: device, seed: 0)
        try ModelDirectory.loadWeights(of: model, from: golden.weights)
        #expect(model.parameterCount == (try golden.json.member("param_count").int()))
        let images = try golden.tensor("images", on: device)
        let labels = try golden.labels()
        let labelView = try device.compute.view(labels, [labels.count], .i32)

        model.setTraining(false)
        let seen = try model(images).values()
        expectClose(
            seen, try golden.floats("logits_eval").map(Double.init), absolute: try golden.tolerance("logits_eval"),
            "logits_eval")

        model.setTraining(true)
        let optimizer = try SGD(arena, options: .init(momentum: 0.9, weightDecay: 5e-4))
        let expected = try golden.trainingLosses()
        let stages = ["stem", "layer1", "layer2", "layer3"]
        for (step, reference) in expected.enumerated() {
            let output = try model.forward(images, capturing: step == 0 ? Set(stages) : [])
            let loss = try output.logits.crossEntropy(labelView, scale: 1 / Float(labels.count)).total
            // Training amplifies rounding: a few roundings of the loss for each step.
            #expect(
                abs(Double(try loss.item()) - reference) < 2e-6 * Double(step * 4 + 1) * reference + 2e-6,
                "step \(step)")
            if step == 0 {
                expectClose(
                    try output.logits.values(), try golden.floats("logits_train").map(Double.init),
                    absolute: try golden.tolerance("logits_train"), "logits_train")
                for (index, stage) in stages.enumerated() {
                    let feature = try golden.floats("feature_train.\(index)").map(Double.init)
                    expectClose(
                        try #require(output.signals[stage]).values(), feature,
                        absolute: 1e-5 * (feature.map(abs).max() ?? 1), stage)
                }
                for buffer in model.buffers {
                    let after = try golden.floats("buffer_after1." + buffer.name).map(Double.init)
                    expectClose(
                        try buffer.values(), after, absolute: 2e-6 * (after.map(abs).max() ?? 1) + 1e-7, buffer.name)
                }
            }
            guard step < expected.count - 1 else { break }
            try loss.backward()
            if step == 0 {
                let share = try golden.json.member("f32_err").member("grad").member("max_rel_to_own_max").double()
                for parameter in model.parameters {
                    let gradient = try golden.floats("grad." + parameter.name).map(Double.init)
                    expectClose(
                        try parameter.gradientValues(), gradient,
                        absolute: (8 * share + 2e-6) * (gradient.map(abs).max() ?? 1) + 1e-9, parameter.name)
                }
            }
            try optimizer.step(learningRate: 0.05)
        }
        for name in ["conv1.weight", "fc.weight"] {
            let parameter = try #require(model.parameters.first { $0.name == name })
            expectClose(
                try parameter.values(), try golden.floats("after3." + name).map(Double.init), absolute: 2e-5, name)
        }
    }
}
