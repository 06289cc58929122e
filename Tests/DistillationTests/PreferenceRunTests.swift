import Foundation
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Sixteen questions with a right and a wrong answer, and students that learn which is which.
struct PairPlace {
    let folder: ScratchFolder

    static let arms = """
        arms:
          student-alone: {objective: [{loss: cross-entropy}]}
          dpo: {objective: [{loss: dpo, beta: 0.5}]}
          simpo: {objective: [{loss: simpo}]}

        """

    static func recipe(_ arms: String = Self.arms, data: String = "", train: String = "", more: String = "") -> String {
        """
        data: {kind: text, path: pairs.jsonl, tokenizer: stories260K, template: llama2, test: {every: 4}\(data)}
        student: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 64}}
        \(arms)
        train: {steps: 24, batch: 4, optimizer: {kind: adamw, lr: 0.02}\(train)}
        \(more)
        """
    }

    init() throws {
        folder = try ScratchFolder()
        try FileManager.default.copyItem(
            atPath: Project.root + "/Tests/Fixtures/tokenizers/stories260K", toPath: folder.path("stories260K"))
        let pairs = (1...16).map {
            "{\"prompt\": \"What is after \($0)?\", \"chosen\": \"It is \($0 + 1).\", \"rejected\": \"No, not \($0 * 2)!\"}\n"
        }
        try folder.write(pairs.joined(), to: "pairs.jsonl")
        let single = (1...16).map { "{\"prompt\": \"What is after \($0)?\", \"completion\": \"It is \($0 + 1).\"}\n" }
        try folder.write(single.joined(), to: "single.jsonl")
    }

    func start(_ recipe: String, _ output: String, on device: Device) throws -> any RecipeRun {
        try readRecipe(folder.write(recipe, to: "pairs.yaml")).start(
            on: device, output: folder.path(output), progress: Progress(quiet: true))
    }

    func text(_ path: String) throws -> String { try String(contentsOfFile: folder.path(path), encoding: .utf8) }

    /// A trainer of the second arm, as a run makes it.
    func trainer(_ recipe: String, on device: Device) throws -> (LanguageTrainer, ParameterArena) {
        let read = try #require(readRecipe(folder.write(recipe, to: "rig.yaml")) as? LanguageRecipe)
        let data = try read.examples { _ in }
        let arm = read.arms[0]
        func make(trains: Bool) throws -> (model: any LanguageModel, arena: ParameterArena) {
            try read.student.make(
                vocabulary: data.tokenizer?.tokens, settings: nil, pad: data.pad, seed: 1, trains: trains, on: device)
        }
        let (model, arena) = try make(trains: true)
        let teachers =
            try arm.terms.contains { $0.looksAtStart }
            ? [LanguageTeacher.start(make(trains: false).model, on: device)] : []
        let trainer = try LanguageTrainer(
            model, arena, terms: arm.terms, teachers: teachers,
            data: data.training(data.train(arm), batch: arm.train.batch, seed: 3), spec: arm.train, seed: 3, on: device)
        return (trainer, arena)
    }
}

@Suite("Language models learn from preferences")
struct PreferenceRunTests {
    private func facts(_ results: RunResults) -> [String] {
        let times = [Metric.latency, .peakBytes, .stepTime, .tokenRate].map(\.rawValue)
        return results.arms.map { arm in
            let seed = arm.seeds[0]
            return "\(arm.role) \(seed.metrics.filter { !times.contains($0.key) }.sorted { $0.key < $1.key }) "
                + "\(seed.curve.map { "\($0.step) \($0.loss) \($0.accuracy ?? -1)" })"
        }
    }

    @Test("rewards learn to tell the better answer, losses fall; twice the same", arguments: TestBackend.fast)
    func learns(_ backend: TestBackend) throws {
        let place = try PairPlace()
        let device = try backend.device()
        let results = try place.start(PairPlace.recipe(), "one", on: device).run()
        #expect(facts(try place.start(PairPlace.recipe(), "two", on: device).run()) == facts(results))
        #expect(results.arms.map(\.role) == ["student-alone", "dpo", "simpo"] && results.quality == .accuracy)
        #expect(results.arms[0].seeds[0].metrics["preference_accuracy"] == nil)
        for arm in results.arms.dropFirst() {
            let seed = arm.seeds[0]
            let (first, last) = (try #require(seed.curve.first), try #require(seed.curve.last))
            #expect(last.step == 24 && last.loss < 0.6 * first.loss, "\(arm.role) \(first.loss) \(last.loss)")
            #expect(seed.metrics["preference_accuracy"] == 1, "\(arm.role)")
            #expect((seed.metrics["preference_margin"] ?? 0) > 0.5, "\(arm.role)")
        }
        // Before its first step the student is its reference; the first point is a mean over steps.
        let first = results.arms[1].seeds[0].curve.first?.loss ?? 0
        #expect(first > 0.3 && first < log(2), "\(first)")
        let log = try place.text("one/log.txt")
        for line in [
            "training text: 12 pairs of answers", "test text: 4 pairs of answers",
            "student-alone: learns the chosen answers of the 12 pairs", "dpo: compares the answers of 12 pairs",
            "dpo: minimise −ln σ(0.5·h), h = ln q/r(chosen) − ln q/r(rejected), ln of an answer summed over its tokens, mean over pairs, r the student as it was at first",
        ] { #expect(log.contains(line), "\(line)\n\(log)") }
        let lines = try place.text("one/metrics.jsonl").split(separator: "\n").map(String.init)
        let margins = try lines.filter { $0.contains("\"dpo\"") }.map { line -> Double in
            let file = "metrics.jsonl"
            return try JSONCursor(JSON.parse(line, file: file), file: file).member("eval/preference_margin").double()
        }
        #expect(margins.count >= 8 && margins[0] < margins[margins.count - 1])
        #expect(lines.allSatisfy { $0.contains("preference_accuracy") != $0.contains("student-alone") })

        // Judged by it where all arms have it.
        let alone = try place.start(
            PairPlace.recipe("arms: {dpo: {objective: [{loss: dpo, beta: 0.5}]}}"), "alone", on: device
        ).run()
        #expect(alone.quality == .preferenceAccuracy && alone.arms[0].seeds[0].curve.last?.accuracy == 1)
        #expect(facts(alone)[0].contains("preference_accuracy"))
    }

    @Test("cross entropy learns the chosen answers as it learns them alone")
    func chosen() throws {
        let place = try PairPlace()
        let device = try TestBackend.cpu.device()
        let arms = "arms: {student-alone: {objective: [{loss: cross-entropy}]}}"
        let results = try place.start(PairPlace.recipe(arms), "pairs", on: device).run()
        let recipe = PairPlace.recipe(arms).replacing("pairs.jsonl", with: "single.jsonl")
        #expect(try facts(place.start(recipe, "single", on: device).run()) == facts(results))
    }

    @Test("`retort eval` measures the chosen answers: on a run's test data a model has the run's numbers, exactly")
    func evaluated() throws {
        let place = try PairPlace()
        let device = try TestBackend.cpu.device()
        let run = try place.start(PairPlace.recipe("arms: {dpo: {objective: [{loss: dpo}]}}"), "run", on: device).run()
        var settings = TextSettings(tokenizer: place.folder.path("stories260K"))
        settings.template = "llama2"
        let report = try evaluate(
            languageModel: place.folder.path("run/dpo/seed-0/final"), teacher: nil,
            on: LanguageEvaluationData(place.folder.path("pairs.jsonl"), text: settings, every: 4), device: device)
        let (measured, trained) = (report.results.arms[0].seeds[0].metrics, run.arms[0].seeds[0].metrics)
        for key in ["accuracy", "cross_entropy", "perplexity"] {
            #expect(measured[key] != nil && measured[key] == trained[key], "\(key)")
        }
        #expect(
            report.notes.contains {
                $0.hasPrefix("text: 4 pairs of answers") && $0.hasSuffix("; the chosen ones are measured")
            }, "\(report.notes)")
    }

    @Test(
        "in parts, with a cross entropy, drawn anew, from answers that models write",
        arguments: [
            "{loss: dpo, form: ipo, beta: 0.5}", "{loss: dpo, form: apo-zero, beta: 0.5}",
            "{loss: dpo, label-smoothing: 0.1}, {loss: cross-entropy, weight: 0.1}", "{loss: orpo}", "{loss: cpo}",
            "{loss: kto, beta: 0.5}",
        ])
    func parts(_ objective: String) throws {
        let place = try PairPlace()
        let device = try TestBackend.cpu.device()
        let arms = "arms: {a: {objective: [\(objective)]}}"
        func losses(_ train: String) throws -> [Float] {
            try place.trainer(PairPlace.recipe(arms, train: train), on: device).0.train(steps: 8)
        }
        let (whole, parts) = (try losses(""), try losses(", micro-batch: 3"))
        for (a, b) in zip(whole, parts) { #expect(abs(a - b) < 2e-3 * max(1, abs(a)), "\(whole) \(parts)") }
        #expect(whole != parts && whole.count == 8 && whole[7] < whole[0])
        #expect(try losses(", replacement: true") != whole)
    }

    @Test(
        "a training that goes on from a file is the training bit for bit", arguments: TestBackend.fast,
        ["{loss: dpo}", "{loss: simpo}, {loss: cross-entropy}"])
    func resumes(_ backend: TestBackend, _ objective: String) throws {
        let place = try PairPlace()
        let device = try backend.device()
        let recipe = PairPlace.recipe("arms: {a: {objective: [\(objective)]}}", train: ", micro-batch: 2")
        let (whole, arena) = try place.trainer(recipe, on: device)
        // Twelve pairs in batches of four: the fifth step is in the second epoch.
        let losses = try whole.train(steps: 9)
        // At the beginning the student is its reference.
        if objective.contains("dpo") { #expect(abs(losses[0] - log(2)) < 1e-5, "\(losses)") }
        let (first, _) = try place.trainer(recipe, on: device)
        let before = try first.train(steps: 9) { first.step == 4 }
        try first.state.write(to: place.folder.path("state.safetensors"), from: device.compute)
        let (second, other) = try place.trainer(recipe, on: device)
        try second.resume(StoredState(place.folder.path("state.safetensors")))
        #expect(try before + second.train(steps: 5) == losses && before.count == 4)
        let (a, b) = (try arena.device.read(arena.values), try other.device.read(other.values))
        #expect(a == b)
    }

    @Test("the teacher as reference, the teacher's answers against the student's", arguments: TestBackend.fast)
    func written(_ backend: TestBackend) throws {
        let prompts = try PromptPlace()
        let device = try backend.device()
        let arms = """
            arms:
              dpo: {objective: [{loss: dpo, reference: start}], rollouts: {kind: pairs, collect: 6, max-new-tokens: 5}}
              simpo: {objective: [{loss: simpo}], rollouts: {kind: pairs, collect: 6, max-new-tokens: 5}, train: {micro-batch: 1}}
              spin: {objective: [{loss: dpo, reference: start}], rollouts: {kind: pairs, chosen: data, collect: 6, max-new-tokens: 5}}

            """
        let recipe = PromptPlace.recipe("answered.jsonl, test: {every: 4}", arms: arms)
        let results = try prompts.start(recipe, "written", on: device).run()
        #expect(results.arms.map(\.role) == ["teacher", "dpo", "simpo", "spin"])
        for arm in results.arms.dropFirst() {
            #expect(arm.seeds[0].curve.last?.step == 6 && arm.seeds[0].curve.allSatisfy { $0.loss.isFinite })
            #expect(arm.seeds[0].metrics["preference_accuracy"] == nil)
        }
        #expect(try prompts.log("written").contains("the teacher's and the student's answers to 6 prompts"))

        let place = try PairPlace()
        let beside = PairPlace.recipe(
            "arms: {dpo: {objective: [{loss: dpo}]}}",
            more: "teacher: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 64}}")
        let taught = try place.start(beside, "taught", on: device).run()
        #expect(taught.arms[1].contract[0].hasSuffix("mean over pairs, r the teacher"), "\(taught.arms[1].contract)")
        #expect(taught.arms[1].seeds[0].metrics["preference_accuracy"] == 1)
        #expect(taught.arms[0].seeds[0].metrics["perplexity"] != nil, "a teacher that is trained learns the chosen")
    }

    @Test("what does not go together is refused, with the place and a way out")
    func refused() throws {
        let place = try PairPlace()
        let device = try TestBackend.cpu.device()
        let teacher = "teacher: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 64}}"
        func refused(_ arm: String, _ words: String, data: String = "", path: String = "pairs.jsonl") {
            let error = thrown(RetortError.self) {
                let recipe = PairPlace.recipe("arms: {a: \(arm)}", data: data, more: teacher)
                _ = try place.start(recipe.replacing("pairs.jsonl", with: path), "run", on: device)
            }
            #expect(error?.exit == .recipe && "\(error!)".contains(words), "\(arm): \(String(describing: error))")
            #expect(error?.location?.line == 3 || error?.location?.line == 1, "\(arm): \(String(describing: error))")
            #expect(error?.help.isEmpty == false)
            #expect(!FileManager.default.fileExists(atPath: place.folder.path("run")))
        }
        refused("{objective: [{loss: forward-kl}]}", "learns from one answer to a prompt, and the data have two")
        refused(
            "{objective: [{loss: dpo}]}", "compares two answers to a prompt, and the data have one",
            path: "single.jsonl")
        refused("{objective: [{loss: dpo}, {loss: forward-kl}]}", "beside a loss that compares two")
        refused(
            "{objective: [{loss: dpo, form: ipo, label-smoothing: 0.1}]}", "label-smoothing is of dpo's form sigmoid")
        refused("{objective: [{loss: dpo, reference: start, from: teacher}]}", "looks at the student's start")
        refused("{objective: [{loss: simpo, from: teacher}]}", "cannot be given a teacher")
        refused("{objective: [{loss: orpo}]}", "packs them", data: ", packing: examples, max-length: 200")
        refused("{objective: [{loss: dpo, on: plain}]}", "plain text")
        refused("{objective: [{loss: jsd}], rollouts: {kind: student}}", "lets a model answer prompts")
        refused("{objective: [{loss: cpo}], rollouts: {kind: pairs}}", "compares answers that a model writes")
        refused(
            "{objective: [{loss: cpo}], rollouts: {kind: student}}", "two answers to each prompt", path: "single.jsonl")
        refused("{objective: [{loss: distillm2}]}", "add `rollouts: {kind: pairs}`")
    }
}
