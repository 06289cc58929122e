import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A training that was stopped and goes on is the training that was not.
@Suite("Checkpoints")
struct CheckpointTests {
    @Test(
        "a training that goes on from a file is the training bit for bit", arguments: TestBackend.fast,
        [
            "{objective: [{loss: hinton, temperature: 2, alpha: 0.5}]}",
            "{objective: [{loss: hidden-states, layers: last}, {loss: cross-entropy}]}",
            "{scheme: {kind: moving-average, decay: 0.8}, objective: [{loss: forward-kl, alpha: 0.5}]}",
            "{objective: [{loss: jsd}], rollouts: {kind: student, max-new-tokens: 4, prompt-tokens: 3}}",
            "{objective: [{loss: skew-kl}], rollouts: {kind: replay, capacity: 12, threshold: 0.6, threshold-step: 0.2, tolerance: 0, check-every: 2, held-out: 5, max-new-tokens: 4, prompt-tokens: 3}}",
            "{objective: [{loss: minillm}], rollouts: {kind: mixed, collect: 24, epochs: 2, max-new-tokens: 4, prompt-tokens: 3}}",
            "{objective: [{loss: distillm2}], rollouts: {kind: pairs, collect: 16, epochs: 2, max-new-tokens: 4, prompt-tokens: 3}}",
        ])
    func resumes(_ backend: TestBackend, _ arm: String) throws {
        let device = try backend.device()
        let folder = try ScratchFolder()
        let whole = try SmallTraining(arm, on: device)
        let losses = try whole.trainer.train(steps: 14)

        // 40 examples in batches of 8: the seventh step is in the second epoch.
        let first = try SmallTraining(arm, on: device)
        var stopped = try first.trainer.train(steps: 14) { first.trainer.step == 7 }
        #expect(stopped.count == 7)
        try first.trainer.state.write(to: folder.path("state.safetensors"), from: device.compute)
        let second = try SmallTraining(arm, on: device)
        try second.trainer.resume(StoredState(folder.path("state.safetensors")))
        #expect(second.trainer.step == 7 && second.trainer.tokens == first.trainer.tokens)
        stopped += try second.trainer.train(steps: 7)
        #expect(stopped == losses, "\(stopped) \(losses)")
        #expect(try second.weights() == whole.weights())
        #expect(second.trainer.tokens == whole.trainer.tokens)
    }

    @Test(
        "adapters beside frozen weights: the same bits, and the same files", arguments: TestBackend.fast,
        [
            "{objective: [{loss: hinton, temperature: 2, alpha: 0.5}], train: {micro-batch: 3}}",
            "{objective: [{loss: minillm}], rollouts: {kind: mixed, collect: 24, epochs: 2, max-new-tokens: 4, prompt-tokens: 3}}",
        ])
    func adapters(_ backend: TestBackend, _ arm: String) throws {
        let device = try backend.device()
        let folder = try ScratchFolder()
        func make() throws -> SmallTraining {
            try SmallTraining(arm, lora: "{rank: 4, alpha: 8, dropout: 0.2}", on: device)
        }
        let whole = try make()
        let start = try whole.weights()
        let losses = try whole.trainer.train(steps: 14)

        let first = try make()
        var stopped = try first.trainer.train(steps: 14) { first.trainer.step == 7 }
        try first.trainer.state.write(to: folder.path("state.safetensors"), from: device.compute)
        let second = try make()
        try second.trainer.resume(StoredState(folder.path("state.safetensors")))
        stopped += try second.trainer.train(steps: 7)
        #expect(stopped == losses && losses.count == 14, "\(stopped) \(losses)")
        #expect(try second.weights() == whole.weights() && whole.weights() != start)

        let (one, other) = (try whole.saved(to: folder.path("whole")), try second.saved(to: folder.path("parts")))
        #expect(
            Set(one.keys) == [
                "adapter/adapter_config.json", "adapter/adapter_model.safetensors", "final/config.json",
                "final/model.safetensors",
            ])
        #expect(Set(other.keys) == Set(one.keys))
        for (name, data) in one { #expect(other[name] == data, "\(name)") }
        // What was stopped is another model: there is something to go on to.
        let half = try first.saved(to: folder.path("half"))
        for name in ["adapter/adapter_model.safetensors", "final/model.safetensors"] {
            #expect(half[name] != one[name], "\(name)")
        }
    }

    @Test("with examples drawn anew, in micro-batches, by SGD with momentum")
    func others() throws {
        let device = try TestBackend.cpu.device()
        let folder = try ScratchFolder()
        let arm =
            "{objective: [{loss: cross-entropy}], train: {replacement: true, micro-batch: 3, optimizer: {kind: sgd, lr: 0.1, momentum: 0.9}}}"
        let (whole, first, second) = (
            try SmallTraining(arm, on: device), try SmallTraining(arm, on: device), try SmallTraining(arm, on: device)
        )
        let losses = try whole.trainer.train(steps: 9)
        let before = try first.trainer.train(steps: 4)
        try first.trainer.state.write(to: folder.path("state.safetensors"), from: device.compute)
        try second.trainer.resume(StoredState(folder.path("state.safetensors")))
        #expect(try before + second.trainer.train(steps: 5) == losses)
        #expect(try second.weights() == whole.weights())
    }

    @Test("the state of another training is refused, and so is a damaged file")
    func refused() throws {
        let device = try TestBackend.cpu.device()
        let folder = try ScratchFolder()
        let path = folder.path("state.safetensors")
        let plain = try SmallTraining("{objective: [{loss: cross-entropy}]}", on: device)
        try plain.trainer.state.write(to: path, from: device.compute)
        let other = try SmallTraining("{objective: [{loss: hidden-states, layers: last}]}", on: device)
        let error = try #require(thrown(RetortError.self) { try other.trainer.resume(StoredState(path)) })
        #expect(error.exit == .badData && error.what.contains("projectors"), "\(error.what)")
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes.removeLast(8)
        try bytes.write(to: URL(fileURLWithPath: path))
        #expect(thrown(RetortError.self) { _ = try StoredState(path) }?.exit == .badData)
        try folder.write("{}", to: "weights.safetensors")
        #expect(thrown(RetortError.self) { _ = try StoredState(folder.path("weights.safetensors")) }?.exit == .badData)
    }

    @Test("the newest counts, older ones go; they are due by steps and by time")
    func files() throws {
        let folder = try ScratchFolder()
        func spec(_ keys: String) throws -> CheckpointSpec {
            CheckpointSpec(try RecipeReader.readValue(keys, CheckpointSpec.field.type))
        }
        let device = try TestBackend.cpu.device()
        let all = Checkpoints(in: folder.path("checkpoints"), try spec("{steps: 5, minutes: 0}"))
        #expect(try all.newest() == nil)
        #expect((1...10).filter { all.isDue(after: $0) } == [5, 10])
        var state = TrainingState()
        state.add("x", try device.compute.view([Float(1), 2, 3], [3]))
        for step in [5, 10] {
            state.set("step", .int(step))
            try all.write(state, step: step, from: device.compute)
        }
        let other = Checkpoints(in: folder.path("checkpoints"), name: "generation-1.", try spec("{}"))
        #expect(try other.newest() == nil && !other.isDue(after: 5))
        try other.write(state, step: 3, from: device.compute)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path("checkpoints")).sorted() == [
                "generation-1.step-3.safetensors", "step-10.safetensors",
            ])
        #expect(try all.newest()?.facts.member("step").int() == 10)
        let soon = Checkpoints(in: folder.path("checkpoints"), try spec("{minutes: 0.0001}"))
        Thread.sleep(forTimeInterval: 0.02)
        #expect(soon.isDue(after: 1))
        all.remove()
        #expect(!FileManager.default.fileExists(atPath: folder.path("checkpoints")))
    }

    @Test("at the end of an epoch they are due when its steps have gone past one where they are")
    func epochs() throws {
        let spec = CheckpointSpec(try RecipeReader.readValue("{steps: 10, minutes: 0}", CheckpointSpec.field.type))
        let all = Checkpoints(in: "none", spec)
        let ends = stride(from: 7, through: 49, by: 7)
        #expect(ends.filter { all.isDue(after: $0, since: $0 - 7) } == [14, 21, 35, 42])
    }

    @Test("the metrics of steps that are taken again are taken back")
    func metrics() throws {
        let small = try SmallLanguage(.cpu)
        guard let read = try readRecipe(small.folder.path("small.yaml")) as? LanguageRecipe else {
            throw RetortError.internalBug("another recipe")
        }
        func open() throws -> RunDirectory {
            try RunDirectory(
                output: small.folder.path("run"), name: "small", recipe: read.node, dataHash: "",
                device: TestBackend.cpu.device())
        }
        var first: RunDirectory? = try open()
        for (arm, seed, step) in [("a", 0, 1), ("a", 0, 2), ("a", 1, 2), ("b", 0, 2), ("a", 0, 3)] {
            try first?.record([("arm", .string(arm)), ("seed", .int(seed)), ("step", .int(step))])
        }
        try first?.record([("arm", "a"), ("seed", 0), ("generation", 1), ("step", 3)])
        let other = thrown(RetortError.self) { _ = try open() }
        #expect(
            other?.exit == .cannotCreate && other?.why == "another retort is at work in it",
            "\(String(describing: other))")
        first = nil
        let directory = try open()
        try directory.forget("a", 0, keeping: 1)
        try directory.record([("arm", .string("a")), ("seed", .int(0)), ("step", .int(2))])
        let lines = try String(contentsOfFile: small.folder.path("run/metrics.jsonl"), encoding: .utf8)
        #expect(
            lines.split(separator: "\n").map(String.init) == [
                #"{"arm":"a","seed":0,"step":1}"#, #"{"arm":"a","seed":1,"step":2}"#, #"{"arm":"b","seed":0,"step":2}"#,
                #"{"arm":"a","seed":0,"generation":1,"step":3}"#,
                #"{"arm":"a","seed":0,"step":2}"#,
            ])
    }
}
