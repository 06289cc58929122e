import RetortDistillation
import RetortKernels
import RetortModels
import RetortRuntime

/// A step of on-policy distillation of `BenchDecoder.small` by another of its size: it answers prompts token by token with a cache of keys
/// and values, its teacher reads the answers, forward, generalised Jensen–Shannon divergence, backward, AdamW. Shape: prompts × tokens of a
/// prompt × tokens of an answer.
enum OnPolicyStepCase {
    static let shape = [8, 32, 64]
    /// Of the step's time that kernels take at least.
    static let goal = 0.8

    static func step(_ sizes: [Int] = shape) -> BenchCase {
        BenchCase(.language, "lm_onpolicy", sizes, isProduct: true, rotates: false, kernelsGoal: goal) {
            device, random in
            let (student, teacher) = (try BenchDecoder.small.model(), try BenchDecoder.small.model())
            let arena = try student.materialize(on: device, seed: 1)
            _ = try teacher.materialize(on: device, seed: 2, trains: false)
            let training = try OnPolicyDistillation(
                student, arena, teacher: teacher, prompts: try prompts(sizes, &random), loss: "{loss: jsd, beta: 0.5}",
                promptTokens: sizes[1], newTokens: sizes[2],
                train: "{epochs: 1000000, batch: \(sizes[0]), optimizer: {kind: adamw, lr: 0.0003}}", on: device)
            let (weights, tokens) = (Double(arena.count), Double(sizes[0] * (sizes[1] + sizes[2])))
            // Attention's part is small beside the products: each token is written, read by the teacher, and learned, which is three
            // passes. Weights are read for every token of an answer, for those passes, and seven times by AdamW.
            let passes = Double(sizes[2]) + 4 + 7
            var losses: [Float] = []
            return BenchSet(
                on: device.compute, cost: Cost(flops: 2 * weights * tokens * 5, bytes: 4 * weights * passes),
                tokens: sizes[0] * sizes[2], outputs: [], tolerance: 0,
                run: { losses = try training.train(steps: 1) },
                // What the numbers are is the goldens' concern; here they must be those of a divergence.
                reference: { _ in losses.allSatisfy { $0.isFinite && $0 > -1e-6 } ? 0 : .infinity })
        }
    }

    /// One token more than a prompt, for the end of a text is never asked.
    private static func prompts(_ sizes: [Int], _ random: inout BenchRandom) throws -> LanguageBatches {
        let examples = (0..<sizes[0]).map { _ in
            TokenizedExample(
                tokens: BenchDecoder.small.tokens(sizes[1] + 1, &random),
                isTarget: [Bool](repeating: true, count: sizes[1] + 1))
        }
        return try LanguageBatches(TokenizedCorpus(examples), batch: sizes[0], seed: 0)
    }
}
