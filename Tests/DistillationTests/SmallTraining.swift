import Foundation
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport

@testable import RetortDistillation

/// One arm of a small recipe as a run trains it, but for the teacher, who has not learned anything.
struct SmallTraining {
    let trainer: LanguageTrainer
    let student: any LanguageModel
    let arena: ParameterArena
    let teacher: any LanguageModel
    /// Gives its steps texts that models write; nil: they learn from the data's.
    let source: RolloutSource?
    /// For losses of plain text.
    let plain: LanguageBatches?
    private let adaptation: LowRankAdaptation?

    /// - Parameters:
    ///   - arm: as it stands in a recipe; the data have plain text too.
    ///   - lora: adapters beside a model that was there; nil: all weights of a fresh one are trained.
    ///   - deviation: of fresh weights. With a recipe's usual ones models predict nearly the same of every token.
    ///   - examples: in this order, epoch after epoch; nil: the sample's, shuffled.
    ///   - ends: tokens that end what is written.
    init(
        _ arm: String, lora: String? = nil, deviation: Double = 0.02, examples: [TokenizedExample]? = nil,
        ends: Set<Int32> = [], on device: Device
    ) throws {
        var recipe = SmallLanguage.recipe.replacing(
            "student: {objective: [{loss: hinton, temperature: 2, alpha: 0.5}]}", with: "student: \(arm)"
        ).replacing("rows.safetensors}", with: "rows.safetensors, plain: {tensor: train}}")
        if let lora {
            recipe = recipe.replacing(
                "student: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 16}}",
                with: "student: {path: base, lora: \(lora)}")
        }
        recipe = recipe.replacing("positions: 16", with: "positions: 16, initializer-range: \(deviation)")
        let small = try SmallLanguage(.cpu, recipe)
        if lora != nil {
            try LanguageModelDirectory.save(
                LanguageTeacherTests.Rig.model(4, on: device).model, to: small.folder.path("base"))
        }
        guard let read = try readRecipe(small.folder.path("small.yaml")) as? LanguageRecipe,
            let spec = read.teachers[0].spec
        else { throw RetortError.internalBug("another recipe") }
        let arm = read.arms[1]
        let data = try read.data.load(tokenizers: []) { _ in }
        let taught = try spec.make(vocabulary: nil, settings: nil, seed: 9, on: device).model
        func make() throws -> (model: any LanguageModel, arena: ParameterArena) {
            try read.student.make(vocabulary: taught.vocabulary, settings: taught.json, seed: 1, on: device)
        }
        let (model, arena) = try make()
        var teachers = [LanguageTeacher(taught, on: device)]
        if case .movingAverage(let decay) = arm.scheme {
            teachers.append(.averaging(model, arena, into: try make(), decay: decay, on: device))
        }
        var (learned, heldOut) = (data.train.asked, LanguageBatches?.none)
        if let examples { learned = try TokenizedCorpus(examples) }
        if case .replay(let spec)? = arm.rollouts?.kind {
            let parts = try learned.parted(every: spec.heldOut)
            learned = parts.others
            heldOut = try LanguageBatches(measuring: parts.each, pad: 0)
        }
        let batches =
            try examples == nil
            ? data.training(learned, batch: arm.train.batch, seed: 3)
            : LanguageBatches(learned, batch: arm.train.batch, seed: nil)
        source = arm.rollouts.map { rollouts -> RolloutSource in
            var sampling = rollouts.sampling
            sampling.seed = 3
            return RolloutSource(
                rollouts,
                RolloutWriter(
                    count: rollouts.count, sampling: sampling, ends: ends, models: [model, taught],
                    speakers: [model, taught], tokens: nil, rows: 4),
                student: model, teacher: teachers[0], data: batches, heldOut: heldOut, batch: arm.train.batch,
                chunk: arm.train.chunk, wantsSignals: arm.terms.contains { $0.objective.needs.wantsSignals }, on: device
            )
        }
        plain = try data.plain?.batches(arm.train.batch, pad: data.pad, seed: 3)
        trainer = try LanguageTrainer(
            model, arena, terms: arm.terms, teachers: teachers, data: batches, rollouts: source, plain: plain,
            spec: arm.train, seed: 3, on: device)
        (student, teacher) = (model, taught)
        (self.arena, adaptation) = (arena, read.student.adaptation)
    }

    /// What is trained.
    func weights() throws -> [Float] { try arena.device.read(arena.values) }

    /// What a run leaves of it, by path: its adapters, and the model that they become part of.
    func saved(to folder: String) throws -> [String: Data] {
        if let adaptation {
            try AdapterDirectory.save(adaptation, of: student, base: "base", to: folder + "/adapter")
            try student.mergeAdapters()
        }
        try LanguageModelDirectory.save(student, to: folder + "/final")
        return try contents(of: folder)
    }
}
