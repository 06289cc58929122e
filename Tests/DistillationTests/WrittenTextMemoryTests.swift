import RetortKernels
import RetortModels
import RetortRuntime
import TestSupport
import Testing

@testable import RetortDistillation

/// What models are asked about texts, how likely each token is: the same however few tokens' logits are held at a time.
@Suite("Memory of what is asked of written texts")
struct WrittenTextMemoryTests {
    @Test("log-probabilities are those of all logits at once, in chunks of any size", arguments: TestBackend.fast)
    func chunks(_ backend: TestBackend) throws {
        // Of its own: memory that other tests take at the same time would count.
        let device = try backend.ownDevice()
        let models = try [UInt64(1), 2].map { try LanguageTeacherTests.Rig.model($0, on: device).model }
        let teacher = LanguageTeacher(models[1], on: device)
        let texts = (0..<3).map { row in
            let tokens = (0..<(9 - row)).map { Int32((row * 5 + $0 * (2 + row)) % 23) }
            return TokenizedExample(tokens: tokens, isTarget: tokens.indices.map { $0 > 2 })
        }
        let batch = try LanguageBatches(TokenizedCorpus(texts), batch: 3, seed: nil).batch(of: [0, 1, 2])
        let references = try models.map { model -> [Double] in
            model.setTraining(false)
            let logits = try Autograd.withoutGradients {
                try model.forward(TokenBatch(batch)).logits.values().map(Double.init)
            }
            return batch.targets.enumerated().map { place, label -> Double in
                guard label >= 0 else { return 0 }
                return Float64Reference.logSoftmax(Array(logits[place * 24..<(place + 1) * 24]))[Int(label)]
            }
        }
        #expect(batch.targets.count == 27 && references.allSatisfy { $0.contains { $0 < -1 } })
        for chunk in [ChunkSize.rows(1), .rows(4), .bytes(200), .automatic] {
            device.compute.resetPeakMemory()
            let own = try models[0].logProbabilities(batch, chunk: chunk, on: device)
            let theirs = try teacher.logProbabilities(batch, chunk: chunk)
            let lesson = try teacher.lesson(batch, TokenBatch(batch), capturing: [], chunk: chunk, on: device)
            let asked = try lesson.logProbabilities(batch.targets).values()
            // Of 24 classes 27 tokens are 2592 bytes, and memory comes in pieces of 512.
            let held = device.compute.memory.most[.logits] ?? 0
            #expect(chunk == .automatic ? held > 2500 : held > 0 && held <= 512, "\(chunk): \(held)")
            expectClose(own, references[0], absolute: 1e-5, "student, \(chunk)")
            expectClose(theirs, references[1], absolute: 1e-5, "teacher, \(chunk)")
            expectClose(asked, references[1], absolute: 1e-5, "reference, \(chunk)")
        }
    }

    @Test(
        "a training holds no more logits than its loss-memory says, and learns the same", arguments: TestBackend.fast,
        [
            "objective: [{loss: minillm}], rollouts: {kind: mixed, share: 0.3, collect: 8, max-new-tokens: 6, prompt-tokens: 3}",
            "objective: [{loss: sampled-reverse-kl}], rollouts: {kind: mixed, share: 0, collect: 8, max-new-tokens: 6, prompt-tokens: 3}",
        ])
    func steps(_ backend: TestBackend, _ arm: String) throws {
        func run(_ memory: String) throws -> (losses: [Float], held: Int) {
            let device = try backend.ownDevice()
            let train = "{optimizer: {kind: sgd, lr: 0.01}, schedule: {kind: constant}, clip: 0\(memory)}"
            let training = try SmallTraining(
                "{\(arm), train: \(train)}", deviation: 0.4, ends: [2, 3, 8, 17], on: device)
            device.compute.resetPeakMemory()
            return (try training.trainer.train(steps: 2), device.compute.memory.most[.logits] ?? 0)
        }
        let (free, bounded) = (try run(""), try run(", loss-memory: 500"))
        #expect(free.held > 4096 && bounded.held > 0 && bounded.held <= 1024, "\(free.held), \(bounded.held)")
        for (a, b) in zip(free.losses, bounded.losses) { #expect(abs(a - b) < 1e-4 * max(1, abs(a)), "\(a) \(b)") }
    }
}
