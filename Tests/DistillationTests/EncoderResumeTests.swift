import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// An encoder's training that was stopped and goes on is the training that was not.
@Suite("Resuming encoders")
struct EncoderResumeTests {
    /// The arm `student` of a small recipe, as a run trains it.
    private struct Rig {
        let trainer: EncoderTrainer
        let arena: ParameterArena

        init(_ arm: String, _ small: SmallEncoders, _ device: Device) throws {
            var overrides = ["arms={student: \(arm)}"]
            // What models hide is compared token by token.
            if arm.contains("hidden-states") { overrides.append("student.tokenizer=teacher") }
            guard
                let recipe = try readRecipe(small.folder.path("small.yaml"), overrides: overrides) as? EncoderRecipe,
                let spec = recipe.teacher
            else { throw RetortError.internalBug("another recipe") }
            let reading = try EncoderRun.Reading(recipe)
            let (arm, data) = (recipe.arms[0], reading.data)
            let taught = try EncoderRun.make(spec.spec, reading.teacher!, data, who: "teacher", seed: 0, on: device)
                .model
            let said = try taught.answers((0..<Int32(data.texts.count)).map { $0 }, embeddings: data.head != .none)
            let answers = try TeacherAnswers(
                said.values, width: taught.width,
                embeddings: data.head == .none ? nil : (said.embeddings, taught.embeddingWidth), on: device)
            let (model, arena) = try EncoderRun.make(
                recipe.student, reading.student, data, who: "student", seed: 1, on: device)
            trainer = try EncoderTrainer(
                model, arena, terms: arm.terms, teacher: arm.needsTeacher ? answers : nil,
                liveTeacher: arm.inner == nil ? nil : taught,
                lesson: data.lesson(
                    for: .student, teacher: arm.needsTeacher ? answers : nil, seed: 3, on: device), spec: arm.train,
                name: "student", seed: 3)
            self.arena = arena
        }

        func weights() throws -> [Float] {
            try arena.device.read(arena.values) + trainer.projectors.parameters.flatMap { try $0.values() }
        }
    }

    @Test(
        "a training that goes on from a file is the training bit for bit", arguments: TestBackend.fast,
        [
            "{objective: [{loss: embedding-mse, alpha: 10}]}",
            "{objective: [{loss: embedding-mse, alpha: 10}], train: {dtype: bf16}}",
            "{objective: [{loss: embedding-cosine}, {loss: rkd, alpha: 0.01, ramp: {kind: linear}}], train: {micro-batch: 3}}",
            "{objective: [{loss: hidden-states, layers: last}], train: {replacement: true, optimizer: {kind: sgd, lr: 0.01, momentum: 0.9}}}",
        ])
    func resumes(_ backend: TestBackend, _ arm: String) throws {
        let device = try backend.device()
        let small = try SmallEncoders(backend)
        let path = small.folder.path("state.safetensors")
        let whole = try Rig(arm, small, device)
        // The 23rd or 24th step begins a new epoch.
        let losses = try whole.trainer.train(steps: 32)
        let first = try Rig(arm, small, device)
        var stopped = try first.trainer.train(steps: 32) { first.trainer.step == 17 }
        #expect(stopped.count == 17)
        try first.trainer.state.write(to: path, from: device.compute)
        let second = try Rig(arm, small, device)
        try second.trainer.resume(StoredState(path))
        #expect(second.trainer.step == 17 && second.trainer.texts == first.trainer.texts)
        stopped += try second.trainer.train(steps: 15)
        #expect(stopped == losses)
        #expect(try second.weights() == whole.weights() && second.trainer.texts == whole.trainer.texts)
    }

    @Test("the state of another training is refused")
    func refused() throws {
        let device = try TestBackend.cpu.device()
        let small = try SmallEncoders(.cpu)
        let path = small.folder.path("state.safetensors")
        let plain = try Rig("{objective: [{loss: rkd}]}", small, device)
        try plain.trainer.state.write(to: path, from: device.compute)
        for (arm, word) in [
            ("{objective: [{loss: hidden-states, layers: last}]}", "student"),
            ("{objective: [{loss: rkd}], train: {optimizer: {kind: sgd, lr: 0.01, momentum: 0.9}}}", "student."),
        ] {
            let other = try Rig(arm, small, device)
            let error = thrown(RetortError.self) { try other.trainer.resume(StoredState(path)) }
            #expect(error?.exit == .badData && error?.what.contains(word) == true, "\(arm): \(error?.what ?? "none")")
        }
    }
}
