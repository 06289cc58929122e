import RetortModels
import RetortRuntime
import RetortSupport

/// Supervised fine-tuning of a language model by the trainer of the recipes, for programs that have their tokens already: cross entropy,
/// mean over the valid tokens of a batch.
public final class SupervisedFineTuning {
    private let trainer: LanguageTrainer

    /// - `arena`: the model's parameters, already placed.
    /// - `train`: what a recipe says under `train`, such as `{steps: 100, batch: 8, optimizer: {kind: adamw, lr: 0.001}}`.
    /// - Throws: `RetortError` 78 for what `train` may not say.
    public init(
        _ model: any LanguageModel, _ arena: ParameterArena, examples: TokenizedCorpus, train: String, seed: UInt64 = 0,
        on device: Device
    ) throws {
        let node = try RecipeReader.readValue(train, .section(.languageTrain))
        let spec = try LanguageTrainSpec(nil, fallback: node)
        trainer = try LanguageTrainer(
            model, arena, terms: [LanguageArmTerm(CrossEntropyObjective(smoothing: 0))], teachers: [],
            data: LanguageBatches(examples, batch: spec.batch, seed: seed), spec: spec, seed: seed, on: device)
    }

    /// Takes some steps.
    /// - Returns: the loss of each, nats per token.
    /// - Throws: `RetortError` 86 when a loss or a gradient is not finite; 75 when a signal asked to stop.
    public func train(steps: Int) throws -> [Float] {
        let losses = try trainer.train(steps: steps)
        if losses.count < steps { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
        return losses
    }
}
