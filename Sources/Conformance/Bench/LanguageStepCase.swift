import Foundation
import RetortKernels
import RetortModels
import RetortDistillation
import RetortRuntime

/// A step of supervised fine-tuning of `BenchDecoder.small` by the recipes' trainer: the batch, forward, cross entropy, backward, AdamW
/// (scripts/pytorch/lm_step.py). Shape: rows × tokens of a row, none of them padding.
enum LanguageStepCase {
    static let shape = [8, 256]

    /// - Parameter dtype: of activations, and of the matrices that are read.
    static func step(_ sizes: [Int] = shape, dtype: DType = .f32) -> BenchCase {
        BenchCase(
            .language, "lm_step", sizes, dtype: dtype, isProduct: true, rotates: false, measuresMemory: true,
            measuresProcess: .device
        ) { device, random in
            let model = try BenchDecoder.small.model()
            let examples = try corpus(sizes, &random)
            let trainer = try trainer(model, examples, batch: sizes[0], dtype, on: device)
            let tokens = sizes[0] * sizes[1]
            var first: Float?
            return BenchSet(
                on: device.compute, cost: try cost(examples, batch: sizes[0], dtype), tokens: tokens, outputs: [],
                tolerance: 0.05,
                run: {
                    let loss = try trainer.train(steps: 1)[0]
                    first = first ?? loss
                },
                // Fresh weights know nothing: what the numbers are beyond that is the goldens' concern.
                reference: { _ in
                    let uniform = log(Double(BenchDecoder.small.vocabulary))
                    return first.map { abs(Double($0) - uniform) / uniform } ?? .infinity
                })
        }
    }

    private static func corpus(_ sizes: [Int], _ random: inout BenchRandom) throws -> TokenizedCorpus {
        // The first token of a row is not predicted.
        try TokenizedCorpus(
            (0..<sizes[0]).map { _ in
                TokenizedExample(
                    tokens: BenchDecoder.small.tokens(sizes[1], &random),
                    isTarget: [Bool](repeating: true, count: sizes[1]))
            })
    }

    private static func trainer(
        _ model: any LanguageModel, _ examples: TokenizedCorpus, batch: Int, _ dtype: DType, on device: Device
    ) throws -> SupervisedFineTuning {
        try SupervisedFineTuning(
            model, try model.materialize(on: device, seed: 1), examples: examples,
            train: "{epochs: 1000000, batch: \(batch), optimizer: {kind: adamw, lr: 0.0003}, dtype: \(dtype)}",
            on: device)
    }

    /// What the ops of one step add up to.
    private static func cost(_ examples: TokenizedCorpus, batch: Int, _ dtype: DType) throws -> Cost {
        let planned = PlannedDevice()
        let trainer = try trainer(
            try BenchDecoder.small.model(), examples, batch: batch, dtype, on: Device(.planned(planned)))
        let before = planned.operationCount
        _ = try trainer.train(steps: 1)
        return planned.cost(since: before)
    }
}
