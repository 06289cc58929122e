import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Four steps of Hinton's distillation between two ResNet-8, against PyTorch: Tests/Fixtures/golden/models/kd_cnn_hinton. The teacher
/// answers in evaluation mode, the student trains with batch statistics; SGD with momentum and weight decay.
@Suite("Convolutional pair, replay")
struct VisionReplayTests {
    private func model(_ widths: [Int], _ weights: String, on device: Device) throws -> (ResNet, ParameterArena) {
        let model = try ResNet(
            ModelSettings(
                ["depth": .integer(8), "widths": .integers([widths[0]] + widths)], of: ResNet.architecture),
            for: ClassificationTask(sample: [1, 12, 12], classes: 10))
        let arena = try model.materialize(on: device, seed: 0)
        try ModelDirectory.loadWeights(of: model, from: Project.golden("models/kd_cnn_hinton/\(weights).safetensors"))
        return (model, arena)
    }

    @Test("each loss, and every number after the last step", arguments: TestBackend.available)
    func replay(_ backend: TestBackend) throws {
        let device = try backend.device()
        let path = Project.golden("models/kd_cnn_hinton.expected")
        let json = JSONCursor(try JSON.read(path + ".json"), file: path + ".json")
        let tensors = try SafeTensors(path: path + ".safetensors")
        func widths(_ who: String) throws -> [Int] {
            try json.member("widths").member(who).elements().map { try $0.int() }
        }
        let (teacher, _) = try model(try widths("teacher"), "teacher", on: device)
        let (student, arena) = try model(try widths("student"), "student", on: device)
        let taught = LocalTeacher(teacher)
        let objective = try #require(
            ObjectiveRegistry.make(
                RecipeReader.readValue(
                    "{loss: hinton, temperature: 4, alpha: 0.9}", .variant(key: "loss", ObjectiveRegistry.sections)))
                as? any LogitObjective)
        let optimizer = try SGD(arena, options: .init(momentum: 0.9, weightDecay: 5e-4))
        let images = try tensors.floats("images")
        let labels = try tensors.int64s("labels").map(Int32.init)
        let rows = try tensors.tensor("labels").shape[1]
        let size = images.count / labels.count
        student.setTraining(true)
        for (step, reference) in try json.member("train").member("steps").elements().enumerated() {
            let range = (step * rows)..<((step + 1) * rows)
            let x = try Tensor(
                Array(images[(range.lowerBound * size)..<(range.upperBound * size)]), [rows, 1, 12, 12], on: device)
            let input = ObjectiveInput(
                student: try student.forward(x), teachers: try taught.answer(x, capturing: []),
                labels: try device.compute.view(Array(labels[range]), [rows], .i32))
            let loss = try objective.loss(input)
            let expected = try reference.member("loss").double()
            #expect(abs(Double(try loss.item()) - expected) < 2e-6 * Double(4 * step + 1) * expected, "step \(step)")
            try loss.backward()
            try optimizer.step(learningRate: 0.05)
        }
        for parameter in student.parameters {
            let expected = try tensors.floats("after4." + parameter.name).map(Double.init)
            expectClose(
                try parameter.values(), expected, absolute: 2e-5 * max(1, expected.map(abs).max() ?? 1), parameter.name)
        }
        for buffer in student.buffers {
            let expected = try tensors.floats("after4." + buffer.name).map(Double.init)
            expectClose(
                try buffer.values(), expected, absolute: 1e-5 * max(1, expected.map(abs).max() ?? 1), buffer.name)
        }
    }
}
