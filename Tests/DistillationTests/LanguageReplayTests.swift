import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A pair of tiny Llamas with the batches of five distillation steps, against PyTorch and transformers:
/// Tests/Fixtures/golden/models/kd_lm_*.
private struct LanguagePair {
    let json: JSONCursor
    let tensors: SafeTensors
    let student: any LanguageModel
    let trainer: LanguageTrainer
    private let device: Device

    /// - Parameter objective: as a recipe would say it.
    init(_ name: String, _ objective: String, on device: Device) throws {
        self.device = device
        let path = Project.golden("models/\(name)")
        json = JSONCursor(try JSON.read(path + ".expected.json"), file: path + ".expected.json")
        tensors = try SafeTensors(path: path + ".expected.safetensors")
        let teacher = try LanguageModelDirectory.load(path + "/teacher", on: device).model
        let (student, arena) = try LanguageModelDirectory.load(path + "/student", on: device)
        self.student = student
        let term = try LanguageArmTerm(
            RecipeReader.readValue(objective, .variant(key: "loss", LanguageObjectiveRegistry.sections)))
        let train = try RecipeReader.readValue(
            """
            {steps: 5, batch: 3, optimizer: {kind: adamw, lr: 0.003, betas: [0.9, 0.95], weight-decay: 0.1}}
            """, .section(.languageTrain))
        trainer = try LanguageTrainer(
            student, arena, terms: [term], teachers: [LanguageTeacher(teacher, on: device)], data: Self.handed,
            spec: LanguageTrainSpec(nil, fallback: train), seed: 0, on: device)
    }

    /// For a trainer that is handed its batches.
    private static var handed: LanguageBatches {
        get throws {
            try LanguageBatches(
                TokenizedCorpus([TokenizedExample(tokens: [0, 1], isTarget: [false, true])]), batch: 3, seed: nil)
        }
    }

    /// The batch of a step, in parts of so many rows.
    func batch(_ step: Int, rowsEach: Int) throws -> [LanguageBatch] {
        let shape = try tensors.tensor("input_ids").shape
        let (rows, length) = (shape[1], shape[2])
        let (ids, labels, mask) = (
            try tensors.int64s("input_ids"), try tensors.int64s("labels"), try tensors.int64s("attention_mask")
        )
        return stride(from: 0, to: rows, by: rowsEach).map { first in
            let numbers = first..<min(rows, first + rowsEach)
            let range = ((step * rows + numbers.lowerBound) * length)..<((step * rows + numbers.upperBound) * length)
            return LanguageBatch(
                rows: numbers.count, length: length, tokens: ids[range].map(Int32.init),
                targets: range.map { ($0 + 1) % length == 0 ? -100 : Int32(labels[$0 + 1]) },
                valid: mask[range].map { $0 != 0 }, documents: nil)
        }
    }

    func loss(_ parts: [LanguageBatch]) throws -> Double {
        let slot = try device.compute.empty([1])
        try trainer.backward(parts, lossInto: slot)
        return Double(try device.compute.read(slot)[0])
    }
}

@Suite("Language pair, replay")
struct LanguageReplayTests {
    private static let pairs = [
        ("kd_lm_hinton", "{loss: hinton, temperature: 2, alpha: 0.7}"),
        ("kd_lm_gjsd", "{loss: jsd, beta: 0.5}"),
    ]

    @Test(
        "each loss, the first gradients, the weights after five steps", arguments: TestBackend.available, pairs)
    func replay(_ backend: TestBackend, _ pair: (name: String, objective: String)) throws {
        let lm = try LanguagePair(pair.name, pair.objective, on: try backend.device())
        let steps = try lm.json.member("train").member("steps").elements()
        #expect(steps.count == 5)
        for (step, reference) in steps.enumerated() {
            // Rounding of single precision, and what it has moved the weights by since.
            let expected = try reference.member("loss").double()
            let loss = try lm.loss(lm.batch(step, rowsEach: 3))
            #expect(abs(loss - expected) < 4e-6 * Double(2 * step + 1) * max(1, expected), "step \(step)")
            if step == 0 {
                for parameter in lm.student.parameters {
                    let gradient = try lm.tensors.floats("grad_step0." + parameter.name).map(Double.init)
                    expectClose(
                        try parameter.gradientValues(), gradient,
                        absolute: 1e-5 * (gradient.map(abs).max() ?? 1) + 1e-8, parameter.name)
                }
            }
            try lm.trainer.takeStep()
        }
        // Adam's first steps turn a gradient's rounding into a part of the step where the gradient is next to nothing.
        let drift = try lm.json.member("f32_err").member("params_after").double()
        for parameter in lm.student.parameters {
            let expected = try lm.tensors.floats("after5." + parameter.name).map(Double.init)
            expectClose(
                try parameter.values(), expected, absolute: 20 * drift + 2e-6 * (expected.map(abs).max() ?? 1),
                parameter.name)
        }
    }

    @Test(
        "a batch in parts of unequal token counts has the loss and the gradient of the batch",
        arguments: TestBackend.fast)
    func parts(_ backend: TestBackend) throws {
        let device = try backend.device()
        let whole = try LanguagePair("kd_lm_hinton", Self.pairs[0].1, on: device)
        let cut = try LanguagePair("kd_lm_hinton", Self.pairs[0].1, on: device)
        let counts = try cut.batch(0, rowsEach: 1).map(\.targetCount)
        #expect(Set(counts).count > 1, "the rows have \(counts) targets")
        let (one, sum) = (try whole.loss(whole.batch(0, rowsEach: 3)), try cut.loss(cut.batch(0, rowsEach: 1)))
        #expect(abs(one - sum) < 2e-6 * one)
        for (a, b) in zip(whole.student.parameters, cut.student.parameters) {
            let expected = try a.gradientValues().map(Double.init)
            expectClose(
                try b.gradientValues(), expected, absolute: 4e-6 * (expected.map(abs).max() ?? 1) + 1e-8, a.name)
        }
    }
}
