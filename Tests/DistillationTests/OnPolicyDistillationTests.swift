import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

@Suite("On-policy distillation without a recipe")
struct OnPolicyDistillationTests {
    private static let examples = (0..<40).map { row in
        let tokens = (0..<(10 - row % 4)).map { Int32((row * 7 + $0 * (1 + row % 5)) % 24) }
        return TokenizedExample(tokens: tokens, isTarget: tokens.map { _ in true })
    }
    private static let keys = "optimizer: {kind: sgd, lr: 0.01, momentum: 0.9}, schedule: {kind: constant}, clip: 0"
    private static let rollouts = "{kind: student, share: 1, max-new-tokens: 6, prompt-tokens: 3}"

    /// The texts that are written are the same but for the rounding of products of other sizes: more are written side by side.
    @Test("its steps are those of a recipe's arm", arguments: TestBackend.fast)
    func steps(_ backend: TestBackend) throws {
        let device = try backend.device()
        func small() throws -> SmallTraining {
            try SmallTraining(
                "{objective: [{loss: jsd, beta: 0.3}], rollouts: \(Self.rollouts), train: {\(Self.keys)}}",
                deviation: 0.4, examples: Self.examples, on: device)
        }
        let arm = try small()
        let expected = try arm.trainer.train(steps: 6)
        let models = try small()
        func training(batch: Int, newTokens: Int = 6) throws -> OnPolicyDistillation {
            try OnPolicyDistillation(
                models.student, models.arena, teacher: models.teacher,
                prompts: LanguageBatches(TokenizedCorpus(Self.examples), batch: batch, seed: nil),
                loss: "{loss: jsd, beta: 0.3}", promptTokens: 3, newTokens: newTokens,
                train: "{steps: 6, batch: 8, \(Self.keys)}", seed: 3, on: device)
        }
        let refused = thrown(RetortError.self) { _ = try training(batch: 7) }
        #expect(refused?.exit == .recipe && refused?.what.contains("7 at a time") == true)
        let found = try training(batch: 8).train(steps: 6)
        expectClose(found, expected.map(Double.init), absolute: 1e-5, relative: 1e-4, "losses")
        let weights = try arm.weights()
        let largest = weights.map { Double(abs($0)) }.max() ?? 0
        expectClose(try models.weights(), weights.map(Double.init), absolute: 5e-5 * largest, "weights")
    }

    @Test("what is asked of written texts holds no more logits than loss-memory says", arguments: TestBackend.fast)
    func memory(_ backend: TestBackend) throws {
        func run(_ memory: String) throws -> (losses: [Float], held: Int) {
            // Of its own: memory that other tests take at the same time would count.
            let device = try backend.ownDevice()
            let models = try SmallTraining(
                "{objective: [{loss: jsd}], rollouts: \(Self.rollouts), train: {\(Self.keys)}}", deviation: 0.4,
                examples: Self.examples, on: device)
            let training = try OnPolicyDistillation(
                models.student, models.arena, teacher: models.teacher,
                prompts: LanguageBatches(TokenizedCorpus(Self.examples), batch: 8, seed: nil),
                loss: "{loss: sampled-reverse-kl}", promptTokens: 3, newTokens: 6,
                train: "{steps: 2, batch: 8, \(Self.keys)\(memory)}", seed: 3, on: device)
            device.compute.resetPeakMemory()
            return (try training.train(steps: 2), device.compute.memory.most[.logits] ?? 0)
        }
        let (free, bounded) = (try run(""), try run(", loss-memory: 500"))
        #expect(free.held > 4096 && bounded.held > 0 && bounded.held <= 1024, "\(free.held), \(bounded.held)")
        for (a, b) in zip(free.losses, bounded.losses) { #expect(abs(a - b) < 1e-4 * max(1, abs(a)), "\(a) \(b)") }
    }
}
