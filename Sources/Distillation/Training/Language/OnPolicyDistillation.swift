import RetortModels
import RetortRuntime
import RetortSupport

/// On-policy distillation of a language model (GKD, Agarwal et al. 2024, arXiv:2306.13649) by the trainer of the recipes, for programs that
/// have models and tokens already: in every step the student answers the prompts of a batch, with a cache of keys and values, and learns
/// from what its teacher says of these answers. Mean over the valid tokens of a batch.
public final class OnPolicyDistillation {
    private let trainer: LanguageTrainer

    /// - `arena`: the student's parameters, already placed.
    /// - `teacher`: on the same device, with the student's vocabulary; not in training.
    /// - `prompts`: batches of `train`'s size, not packed; their first tokens are what is answered.
    /// - `loss`: as under `objective` of a recipe: `{loss: jsd, beta: 0.5}`.
    /// - `promptTokens`: tokens of a prompt at least.
    /// - `newTokens`: tokens of an answer at most.
    /// - `train`: what a recipe says under `train`, such as `{steps: 100, batch: 8, optimizer: {kind: adamw, lr: 0.001}}`.
    /// - Throws: `RetortError` 78 for what `loss` and `train` may not say, and for another batch than the prompts'.
    public init(
        _ student: any LanguageModel, _ arena: ParameterArena, teacher: any LanguageModel, prompts: LanguageBatches,
        loss: String, promptTokens: Int, newTokens: Int, train: String, seed: UInt64 = 0, on device: Device
    ) throws {
        let spec = try LanguageTrainSpec(
            nil, fallback: RecipeReader.readValue(train, .section(.languageTrain)))
        guard spec.batch == prompts.batch else {
            throw RetortError.recipe("train.batch is \(spec.batch), and the prompts come \(prompts.batch) at a time")
        }
        let term = try LanguageArmTerm(
            RecipeReader.readValue(loss, .variant(key: "loss", LanguageObjectiveRegistry.sections)))
        let keys = "kind: student, share: 1, max-new-tokens: \(newTokens), prompt-tokens: \(promptTokens)"
        let rollouts = try RolloutSpec(
            RecipeReader.readValue("{\(keys)}", RolloutSpec.field.type), teachers: [Role.teacher])
        var sampling = rollouts.sampling
        sampling.seed = seed
        let guide = LanguageTeacher(teacher, on: device)
        let models = [student, teacher]
        let writer = RolloutWriter(
            count: rollouts.count, sampling: sampling, ends: [], models: models, speakers: models, tokens: nil,
            rows: spec.batch)
        let source = RolloutSource(
            rollouts, writer, student: student, teacher: guide, data: prompts, heldOut: nil, batch: spec.batch,
            chunk: spec.chunk, wantsSignals: term.objective.needs.wantsSignals, on: device)
        trainer = try LanguageTrainer(
            student, arena, terms: [term], teachers: [guide], data: prompts, rollouts: source, spec: spec, seed: seed,
            on: device)
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
