import Foundation
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A teacher on disk that was trained on a few questions, and prompts without answers.
struct PromptPlace {
    let text: TextPlace
    var folder: ScratchFolder { text.folder }

    static let arms = """
        arms:
          gkd: {objective: [{loss: jsd, beta: 0.5}], rollouts: {kind: student, share: 1, max-new-tokens: 5}}
          teacher-then: {objective: [{loss: forward-kl}], rollouts: {kind: student, otherwise: teacher, max-new-tokens: 5}}
          seqkd: {objective: [{loss: cross-entropy}], rollouts: {kind: teacher, temperature: 1, samples: 2, max-new-tokens: 5}}
          minillm: {objective: [{loss: minillm}], rollouts: {kind: mixed, collect: 6, epochs: 2, max-new-tokens: 5}}
          distillm2: {objective: [{loss: distillm2}], rollouts: {kind: pairs, collect: 6, max-new-tokens: 5}}

        """

    static func recipe(_ data: String, arms: String = Self.arms, more: String = "") -> String {
        """
        data: {kind: text, path: \(data), tokenizer: stories260K, separator: " "}
        teacher: {path: run/teacher/seed-0/final}
        student: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 64}}
        answers: {max-new-tokens: 5}
        \(arms)
        train: {steps: 6, batch: 4, optimizer: {kind: adamw, lr: 0.01}}
        \(more)
        """
    }

    init() throws {
        text = try TextPlace()
        _ = try text.train()
        let prompts = (1...16).map { "How many after \($0)?" }
        try folder.write(prompts.map { "{\"prompt\": \"\($0)\"}\n" }.joined(), to: "prompts.jsonl")
        try folder.write(prompts.joined(separator: "\n"), to: "prompts.txt")
        func answered(_ numbers: some Sequence<Int>) -> String {
            numbers.map { "{\"prompt\": \"\(prompts[$0 - 1])\", \"completion\": \"It is \($0 + 1).\"}\n" }.joined()
        }
        try folder.write(answered(1...9), to: "answered.jsonl")
        try folder.write(answered(10...16), to: "held-out.jsonl")
        // The same nine, of which the even ones have lost their answer: as conversations, which may end with a question.
        let mixed = (1...9).map { number in
            let turn = "{\"role\": \"user\", \"content\": \"\(prompts[number - 1])\"}"
            let answer = number % 2 == 0 ? "" : ", {\"role\": \"assistant\", \"content\": \"It is \(number + 1).\"}"
            return "{\"messages\": [\(turn)\(answer)]}\n"
        }
        try folder.write(mixed.joined(), to: "mixed.jsonl")
        try folder.write(mixed.enumerated().filter { $0.offset % 2 == 0 }.map(\.element).joined(), to: "odd.jsonl")
    }

    func start(_ recipe: String, _ output: String, on device: Device) throws -> any RecipeRun {
        try readRecipe(folder.write(recipe, to: "prompts.yaml")).start(
            on: device, output: folder.path(output), progress: Progress(quiet: true))
    }

    func log(_ output: String) throws -> String {
        try String(contentsOfFile: folder.path(output) + "/log.txt", encoding: .utf8)
    }
}

/// Arms that learn from what models write need no answers of the data.
@Suite("Prompts without answers")
struct PromptRunTests {
    private func facts(_ results: RunResults) -> [String] {
        let times = [Metric.latency, .peakBytes, .stepTime, .tokenRate].map(\.rawValue)
        return results.arms.map { arm in
            let seed = arm.seeds[0]
            return "\(arm.role) \(seed.metrics.filter { !times.contains($0.key) }.sorted { $0.key < $1.key }) "
                + "\(seed.curve.map { "\($0.step) \($0.loss) \($0.accuracy ?? -1)" })"
        }
    }

    @Test("every arm that writes its own texts learns; the same from JSON and from lines", arguments: TestBackend.fast)
    func prompts(_ backend: TestBackend) throws {
        let place = try PromptPlace()
        let device = try backend.device()
        let json = PromptPlace.recipe("prompts.jsonl, test: {every: 4}")
        let results = try place.start(json, "json", on: device).run()
        #expect(results.arms.map(\.role) == ["teacher", "gkd", "teacher-then", "seqkd", "minillm", "distillm2"])
        for arm in results.arms.dropFirst() {
            let metrics = arm.seeds[0].metrics
            let own = try #require(metrics["rollout_reverse_kl"], "\(arm.role)")
            #expect(own > 0 && own < 6, "\(arm.role)")
            // There is nothing to measure these on.
            for key in ["accuracy", "cross_entropy", "perplexity", "kl_to_teacher", "rouge_l"] {
                #expect(metrics[key] == nil, "\(arm.role) \(key)")
            }
            let curve = arm.seeds[0].curve
            #expect(curve.last?.step == 6 && curve.allSatisfy { $0.accuracy == nil && $0.loss.isFinite })
        }
        #expect(Set(facts(results)).count == 6)
        let log = try place.log("json")
        #expect(log.contains("prompts of the training text: 12, 12 of them without an answer"), "\(log)")
        #expect(log.contains("gkd: answers to 12 prompts are written, of which 12 have none in the data"), "\(log)")
        #expect(
            log.contains("no test example has an answer: accuracy") && log.contains("ROUGE-L and exact match are not"))
        let lines = try String(contentsOfFile: place.folder.path("json/metrics.jsonl"), encoding: .utf8)
        #expect(lines.split(separator: "\n").count == 30 && !lines.contains("accuracy"), "\(lines)")
        // What the teacher wrote stands behind the prompts, each asked twice.
        let texts = try String(contentsOfFile: place.folder.path("json/seqkd/texts.jsonl"), encoding: .utf8)
        #expect(texts.split(separator: "\n").count == 24 && texts.contains(#""prompt":"How many after 2?"#))

        let plain = PromptPlace.recipe("prompts.txt, format: prompt-lines, test: {every: 4}")
        #expect(facts(try place.start(plain, "lines", on: device).run()) == facts(results))
    }

    @Test(
        "a head that is longer than the tokenizer writes the tokenizer's tokens, alone and beside a teacher",
        arguments: TestBackend.fast)
    func longHead(_ backend: TestBackend) throws {
        let place = try PromptPlace()
        let replay =
            "  replay: {objective: [{loss: skew-kl}], rollouts: {kind: replay, threshold: 1, capacity: 4, max-new-tokens: 5}}\n"
        let arms = PromptPlace.arms.replacing("  distillm2", with: replay + "  distillm2")
        let recipe = PromptPlace.recipe("answered.jsonl, test: {path: held-out.jsonl}", arms: arms)
        for (model, longer) in [("student", 600), ("teacher", 530)] {
            // A fresh student finds every row of its head as likely as the others; the teacher's were learned.
            var text = recipe
            if model == "student" {
                text = text.replacing("positions: 64}", with: "positions: 64, vocabulary: \(longer)}")
            } else {
                try place.folder.write(
                    TextPlace.recipe.replacing(
                        "heads: 2, positions: 64}, train",
                        with: "heads: 2, positions: 64, vocabulary: \(longer)}, train"
                    )
                    .replacing("hidden: 8,", with: "hidden: 8, vocabulary: 512,"), to: "text.yaml")
                let read = try readRecipe(place.folder.path("text.yaml"))
                _ = try read.start(
                    on: try backend.device(), output: place.folder.path("long"), progress: Progress(quiet: true)
                ).run()
                text = text.replacing("run/teacher", with: "long/teacher").replacing(
                    "hidden: 8,", with: "hidden: 8, vocabulary: 512,")
            }
            let results = try place.start(text, model + "-long", on: backend.device()).run()
            for arm in results.arms.dropFirst() {
                let metrics = arm.seeds[0].metrics
                #expect(metrics["rollout_reverse_kl"] ?? 0 > 0 && metrics["rouge_l"] != nil, "\(model) \(arm.role)")
                #expect(arm.seeds[0].curve.last.map { $0.step == 6 && $0.loss.isFinite } == true, "\(arm.role)")
            }
            #expect(results.arms.count == 7)
        }
    }

    @Test("plain text is a text file in the format that the recipe names, or JSON lines")
    func plain() throws {
        let place = try PromptPlace()
        func run(_ plain: String, _ output: String) throws -> RunResults {
            let arms = "arms: {a: {preset: minillm, rollouts: {kind: mixed, collect: 4, max-new-tokens: 5}}}"
            let data = "answered.jsonl, test: {every: 4}, plain: {\(plain), max-length: 16}"
            return try place.start(
                PromptPlace.recipe(data, arms: arms), output, on: TestBackend.cpu.device()
            ).run()
        }
        let lines = try run("path: prompts.txt, format: lines", "lines")
        try place.folder.write(
            (1...16).map { "{\"text\": \"How many after \($0)?\"}\n" }.joined(), to: "plain.jsonl")
        #expect(facts(lines) == facts(try run("path: plain.jsonl", "json")))
        let error = thrown(RetortError.self) { _ = try run("path: prompts.txt", "no") }
        #expect(error?.exit == .badData && error?.help.contains("paragraphs") == true, "\(String(describing: error))")
    }

    @Test("tokens that were not drawn as models predict them are refused where losses count by how they were drawn")
    func drawn() throws {
        let place = try PromptPlace()
        for (loss, kind) in [("minillm", "mixed"), ("sampled-reverse-kl", "student, share: 1")] {
            for filter in ["temperature: 0.5", "top-p: 0.5", "top-k: 3", "min-p: 0.1", "repetition-penalty: 1.2"] {
                let arms =
                    "arms: {a: {objective: [{loss: \(loss)}], rollouts: {kind: \(kind), max-new-tokens: 5, \(filter)}}}"
                let error = thrown(RetortError.self) {
                    _ = try place.start(
                        PromptPlace.recipe("prompts.jsonl, test: {every: 4}", arms: arms), "no",
                        on: TestBackend.cpu.device())
                }
                #expect(
                    error?.exit == .recipe && error?.what.contains("as models predict") == true, "\(loss) \(filter)")
            }
        }
        let sampling = TokenSampling(temperature: 0.8, topK: 9, topP: 0.95, minP: 0.1, repetitionPenalty: 1.5)
        #expect(sampling.words == "at temperature 0.8, top-k 9, top-p 0.95, min-p 0.1, repetition penalty 1.5")
        #expect(TokenSampling().words == "greedily" && !TokenSampling().isPlain)
        #expect(TokenSampling(temperature: 1, topP: 1).isPlain)
    }

    @Test("of a mixed file each arm has what it can use; held-out metrics are of examples with answers")
    func mixed() throws {
        let place = try PromptPlace()
        let device = try TestBackend.cpu.device()
        let arms = """
            arms:
              student-alone: {objective: [{loss: cross-entropy}]}
              gkd: {objective: [{loss: jsd, beta: 0.5}], rollouts: {kind: student, share: 1, max-new-tokens: 5}}
            """
        let data = "PATH, template: llama2, test: {path: TEST, format: FORMAT}"
        func run(_ path: String, _ test: String, _ format: String, _ output: String) throws -> [[String: Double]] {
            let words = data.replacing("PATH", with: path).replacing("TEST", with: test).replacing(
                "FORMAT", with: format)
            let results = try place.start(PromptPlace.recipe(words, arms: arms), output, on: device).run()
            return results.arms.map { $0.seeds[0].metrics }
        }
        let mixed = try run("mixed.jsonl", "held-out.jsonl", "prompt-completion", "mixed")
        let odd = try run("odd.jsonl", "held-out.jsonl", "prompt-completion", "odd")
        // The arm that learns answers learns the same from both; the one that writes has more to write to.
        let keys = ["cross_entropy", "accuracy", "rouge_l", "rollout_reverse_kl"]
        for key in keys {
            #expect(mixed[1][key] == odd[1][key] && mixed[1][key] != nil, "\(key)")
        }
        #expect(mixed[2]["cross_entropy"] != odd[2]["cross_entropy"])
        let log = try place.log("mixed")
        #expect(log.contains("student-alone: the 5 examples with an answer alone; it learns from the data's answers"))
        #expect(log.contains("gkd: answers to 9 prompts are written, of which 4 have none in the data"), "\(log)")
        #expect(try !place.log("odd").contains("prompts"))

        // A test of which some have no answer: what needs one is measured on the others.
        let parts = try run("odd.jsonl", "mixed.jsonl", "messages", "parts")
        let whole = try run("odd.jsonl", "odd.jsonl", "messages", "whole")
        for key in ["cross_entropy", "accuracy", "perplexity", "kl_to_teacher", "rouge_l"] {
            #expect(parts[1][key] == whole[1][key] && parts[1][key] != nil, "\(key)")
        }
        #expect(parts[1]["rollout_reverse_kl"] != whole[1]["rollout_reverse_kl"], "drawn to all prompts")
        #expect(try place.log("parts").contains("measured on the 5 of 9 test prompts that have an answer"))
    }

    @Test("a student comes near its teacher on prompts alone")
    func nearer() throws {
        let place = try PromptPlace()
        let arms =
            "arms: {gkd: {objective: [{loss: reverse-kl}], rollouts: {kind: student, share: 1, max-new-tokens: 5}}}"
        func distance(_ steps: Int) throws -> Double {
            let recipe = PromptPlace.recipe("prompts.jsonl, test: {every: 4}", arms: arms).replacing(
                "steps: 6", with: "steps: \(steps)")
            let results = try place.start(recipe, "run-\(steps)", on: TestBackend.cpu.device()).run()
            return try #require(results.arms[1].seeds[0].metrics["rollout_reverse_kl"])
        }
        let (before, after) = (try distance(1), try distance(60))
        #expect(after < 0.5 * before, "\(before) \(after)")
    }

    @Test("what needs answers that are not there is refused, with the place and what to do")
    func refused() throws {
        let place = try PromptPlace()
        let device = try TestBackend.cpu.device()
        func refusal(_ arm: String, _ more: (String, String) = ("", "")) throws -> RetortError? {
            var recipe = PromptPlace.recipe("prompts.jsonl, test: {every: 4}", arms: "arms:\n  a: \(arm)\n")
            if !more.0.isEmpty { recipe = recipe.replacing(more.0, with: more.1) }
            let error = thrown(RetortError.self) { _ = try place.start(recipe, "no", on: device) }
            #expect(!FileManager.default.fileExists(atPath: place.folder.path("no")))
            return error
        }
        let own = "rollouts: {kind: student, share: 1}"
        let cases: [(String, String, String)] = [
            ("{objective: [{loss: cross-entropy}]}", "learns from the data's answers", "share: 1"),
            (
                "{objective: [{loss: jsd}], rollouts: {kind: student, share: 0.75}}",
                "learns from the data's answers in 25.0 % of its steps", "otherwise: teacher"
            ),
            (
                "{objective: [{loss: skew-kl}], rollouts: {kind: replay}}", "learns from the data's answers until",
                "kind: student"
            ),
            (
                "{objective: [{loss: reverse-kl}, {loss: cross-entropy, on: data}], \(own)}",
                "has a loss on the data's answers", "on: data"
            ),
            (
                "{objective: [{loss: cross-entropy}], rollouts: {kind: teacher, keep: correct}}", "compares",
                "keep: ended"
            ),
            ("{objective: [{loss: distillm2}], rollouts: {kind: pairs, chosen: data}}", "compares", "chosen: teacher"),
        ]
        for (arm, words, help) in cases {
            let error = try #require(try refusal(arm))
            #expect(error.exit == .recipe && error.location?.line == 6, "\(arm): \(error)")
            #expect(error.what.contains("the arm a \(words)") && error.help.contains(help), "\(arm): \(error)")
            #expect(error.why.contains("prompts.jsonl:2:1"), "the first that is learned: \(error.why)")
        }
        let trained = try refusal(
            "{objective: [{loss: reverse-kl}], \(own)}",
            (
                "teacher: {path: run/teacher/seed-0/final}",
                "teacher: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 64}}"
            ))
        #expect(trained?.exit == .recipe && trained?.what.contains("the teacher is trained") == true)
        let rule = try refusal(
            "{objective: [{loss: reverse-kl}], \(own)}", ("answers: {", "answers: {answer: last-number, "))
        #expect(rule?.exit == .recipe && rule?.what.contains("no test example has one") == true)
        #expect(rule?.location?.line == 4)
        let format = try refusal(
            "{objective: [{loss: reverse-kl}], \(own)}", ("test: {every: 4}", "test: {every: 4, format: text}"))
        #expect(format?.exit == .recipe && format?.what.contains("data.test.format") == true)
        let packed = try refusal(
            "{objective: [{loss: reverse-kl}], \(own)}", ("test: {", "packing: split, max-length: 16, test: {"))
        #expect(packed?.exit == .recipe && packed?.what.contains("packs them") == true)

        // A cache is of answers that are there.
        let recipe = PromptPlace.recipe("prompts.jsonl, test: {every: 4}")
        let path = try place.folder.write(recipe, to: "cached.yaml")
        let cache = thrown(RetortError.self) {
            _ = try CacheRun(
                readRecipe(path), output: place.folder.path("cache"), kept: .top(5), bits: 8, states: .f16, batch: 4,
                on: device, progress: Progress(quiet: true))
        }
        #expect(cache?.exit == .recipe && cache?.what.contains("a cache is of") == true && cache?.location?.line == 1)
        #expect(!FileManager.default.fileExists(atPath: place.folder.path("cache")))
    }
}
