import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Texts that models write for training, and what losses make of them.
@Suite("Rollouts")
struct RolloutTests {
    private func example(_ marks: String) -> TokenizedExample {
        TokenizedExample(
            tokens: marks.indices.enumerated().map { Int32($0.offset + 1) }, isTarget: marks.map { $0 == "x" })
    }

    @Test("a prompt is what stands before the last answer; of plain text its beginning")
    func prompts() {
        func prompt(_ marks: String, _ least: Int = 1) -> Int {
            RolloutText.prompt(of: example(marks), least: least).count
        }
        #expect(prompt("...xxx") == 3)
        #expect(prompt("..xx..xx.") == 6, "what follows the last answer is not asked")
        #expect(prompt(".xxxxx") == 1 && prompt(".xxxxx", 4) == 4)
        #expect(prompt(".xxxxx", 100) == 5, "one token is left to write")
        #expect(prompt("...xxx", 2) == 3)
        #expect(prompt("....") == 4 && prompt(".", 3) == 1, "without an answer all of it is asked")
    }

    @Test("a token that a prompt shares with its answer is not given away")
    func seams() {
        var shared = example("...xxx")
        shared.seam = .init(shared: 1, prompt: [1, 2, 9])
        #expect(RolloutText.prompt(of: shared, least: 1) == [1, 2, 9])
        let reference = RolloutText.reference(of: shared, least: 1)
        #expect(reference?.tokens == [3, 4, 5, 6] && reference?.isAnswer == true)
        // As an example it stays what it was.
        #expect(RolloutText(of: shared, least: 1, longest: 9).prompt == [1, 2, 3])
        let exact = RolloutText.reference(of: example("...xxx"), least: 1)
        #expect(exact?.tokens == [4, 5, 6] && exact?.isAnswer == true)
        let text = RolloutText.reference(of: example(".xxxxx"), least: 4)
        #expect(text?.tokens == [5, 6] && text?.isAnswer == false, "how a plain text goes on is no answer")
        #expect(RolloutText.reference(of: example("...."), least: 1) == nil)
    }

    @Test("texts side by side: each token of an answer is predicted from the place before it")
    func batch() {
        var long = RolloutText(prompt: [1, 2], answer: [3, 4, 5])
        var short = RolloutText(prompt: [6], answer: [7])
        #expect(RolloutBatch([long, short], pad: 9).signals == nil)
        long.signals = .init(student: [-1, -2, -3], teacher: [-4, -5, -6], importance: [1, 2, 3])
        short.signals = .init(student: [-7], teacher: [-8], importance: [4])
        let all = RolloutBatch([long, short], pad: 9)
        #expect(all.batch.tokens == [1, 2, 3, 4, 5, 6, 7, 9, 9, 9])
        #expect(all.batch.targets == [-100, 3, 4, 5, -100, 7, -100, -100, -100, -100])
        #expect(all.batch.valid == [true, true, true, true, true, true, true, false, false, false])
        #expect(all.signals?.student == [0, -1, -2, -3, 0, -7, 0, 0, 0, 0])
        let second = all.rows(1..<2)
        #expect(second.batch.targets == [7, -100, -100, -100, -100])
        #expect(second.signals?.teacher == [-8, 0, 0, 0, 0] && second.signals?.importance[0] == 4)
    }

    @Test("DistiLLM's threshold rises with the held-out loss; below it texts are new or a buffer's")
    func threshold() {
        var threshold = ReplayThreshold(value: 0)
        var seen: [Double] = []
        // The first loss is what the others are compared with; a fall changes nothing, nor what they are compared with.
        for loss in [3, 2.875, 3.0625, 3.125, 3.1875, 3.25, 3.375] {
            threshold.see(loss, tolerance: 0.125, step: 0.4)
            seen.append(threshold.value)
        }
        #expect(seen == [0, 0, 0, 0.4, 0.4, 0.8, 1])
        let half = ReplayThreshold(value: 0.5)
        func texts(_ coin: Double, _ fresh: Double, _ isFull: Bool = true) -> ReplayThreshold.Texts {
            half.texts(coin, fresh: fresh, isFull: isFull)
        }
        #expect(texts(0.5, 1) == .data && texts(0.49, 1) == .new)
        #expect(texts(0.24, 0.5) == .new && texts(0.25, 0.5) == .buffer && texts(0.25, 0.5, false) == .new)
        #expect(texts(0, 0) == .buffer && texts(0.9, 0, false) == .data)
        #expect(ReplaySpec.Fresh.decreasing.share(0.25) == 0.75 && ReplaySpec.Fresh.increasing.share(0.25) == 0.25)
    }

    @Test("what an example has for an answer ends with the last token that is learned")
    func dataAnswer() {
        let text = RolloutText(of: example("...xxx.."), least: 1, longest: 100)
        #expect(text.prompt == [1, 2, 3] && text.answer == [4, 5, 6] && text.isTeachers)
        let cut = RolloutText(of: example("...xxx.."), least: 1, longest: 4)
        #expect(cut.prompt == [1, 2, 3] && cut.answer == [4])
        let tight = RolloutText(of: example("...xxx.."), least: 1, longest: 3)
        #expect(tight.prompt == [2, 3] && tight.answer == [4])
        let plain = RolloutText(of: example(".xxxx"), least: 2, longest: 100)
        #expect(plain.prompt == [1, 2] && plain.answer == [3, 4, 5])
    }

    @Test("MiniLLM's advantages are the discounted rewards to come over the tokens left, whitened")
    func advantages() throws {
        func objective(_ keys: String) throws -> any PlainLanguageObjective {
            let recipe = SmallLanguage.recipe.replacing(
                "{loss: cross-entropy}", with: "{loss: minillm, gamma: 0.9, reward-scale: 0.5, \(keys)}"
            ).replacing("student-alone: {", with: "student-alone: {rollouts: {kind: mixed}, ")
            let small = try SmallLanguage(.cpu, recipe)
            guard let read = try readRecipe(small.folder.path("small.yaml")) as? LanguageRecipe else {
                throw RetortError.internalBug("another recipe")
            }
            return try #require(read.arms[0].terms[0].objective as? any PlainLanguageObjective)
        }
        var (one, two) = (RolloutText(prompt: [1], answer: [2, 3, 4]), RolloutText(prompt: [1, 2], answer: [3]))
        one.signals = .init(student: [-1, -2, -0.5], teacher: [-1.5, -1, -4], importance: [1, 1, 1])
        two.signals = .init(student: [-3], teacher: [-2], importance: [1])
        let batch = RolloutBatch([one, two], pad: 0)
        // Rewards, twice what they were: −1, 2, −7 and 2.
        let plain = try #require(try objective("length-norm: false, whiten: false").advantages(of: batch))
        let sums: [Double] = [-1 + 0.9 * 2 - 0.81 * 7, 2 - 0.9 * 7, -7]
        expectClose(plain, sums + [0, 0, 2, 0, 0], absolute: 1e-5)
        let clipped = try #require(
            try objective("length-norm: false, whiten: false, reward-clip: 1.5").advantages(of: batch))
        expectClose(clipped, [-1 + 0.9 * 1.5 - 0.81 * 1.5, 1.5 - 0.9 * 1.5, -1.5, 0, 0, 1.5, 0, 0], absolute: 1e-5)
        let normed = try #require(try objective("whiten: false").advantages(of: batch))
        let means = [sums[0] / 3, sums[1] / 2, sums[2], 2]
        expectClose(normed, [means[0], means[1], means[2], 0, 0, 2, 0, 0], absolute: 1e-5)
        let white = try #require(try objective("whiten: true").advantages(of: batch))
        let mean = means.reduce(0, +) / 4
        let deviation = (means.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 3).squareRoot()
        let expected = means.map { ($0 - mean) / deviation }
        expectClose(white, [expected[0], expected[1], expected[2], 0, 0, expected[3], 0, 0], absolute: 1e-5)
    }

    @Test("weighed by their probabilities, all tokens give the gradient of the reverse KL", arguments: TestBackend.fast)
    func exactGradient(_ backend: TestBackend) throws {
        let device = try backend.device()
        let count = 24
        let z = Philox(seed: 1, stream: 1).normals(count, deviation: 1.5)
        let y = Philox(seed: 1, stream: 2).normals(count, deviation: 1)
        let teacher = try Tensor(y, [1, count], on: device)
        let (exact, exactLeaf) = try Tensor.variable(z, [1, count], on: device)
        try exact.divergence(Divergence(.reverseKL), teacher: teacher.view).total.backward()
        let (logits, leaf) = try Tensor.variable(z, [1, count], on: device)
        let now = try logits.logSoftmax()
        let loss = try PolicyGradient.surrogate(
            now, old: now.detached, advantage: teacher.logSoftmax() - now.detached, importance: now.detached.exp(),
            weights: Tensor.full(1, [1, count], on: device.compute), clip: nil)
        try loss.backward()
        expectClose(
            try leaf.gradientValues(), try exactLeaf.gradientValues().map(Double.init), absolute: 2e-6, relative: 2e-5)
    }

    @Test("a buffer keeps the newest texts, and gives each at most once")
    func buffer() {
        var buffer = ReplayBuffer(capacity: 4)
        func text(_ number: Int) -> RolloutText { RolloutText(prompt: [0], answer: [Int32(number)]) }
        buffer.add([text(1), text(2), text(3)])
        #expect(!buffer.isFull && buffer.count == 3)
        buffer.add([text(4), text(5), text(6)])
        #expect(buffer.isFull)
        let all = buffer.sample(9, Philox(seed: 1, stream: 2)).map { $0.answer[0] }
        #expect(all.sorted() == [3, 4, 5, 6])
        let some = buffer.sample(2, Philox(seed: 1, stream: 2)).map { $0.answer[0] }
        #expect(some == Array(all.prefix(2)))
    }
}

/// Arms whose students learn from texts that models write.
@Suite("Runs with rollouts")
struct RolloutRunTests {
    private static let arms = """
        arms:
          texts: {objective: [{loss: cross-entropy}], rollouts: {kind: teacher, temperature: 1, samples: 2, max-new-tokens: 5, prompt-tokens: 3}}
          gkd: {objective: [{loss: jsd, beta: 0.5}], rollouts: {kind: student, max-new-tokens: 5, prompt-tokens: 3}}
          mixed-data: {objective: [{loss: reverse-kl}, {loss: cross-entropy, on: data}], rollouts: {kind: student, otherwise: teacher, max-new-tokens: 5, prompt-tokens: 3}}
          sampled: {objective: [{loss: sampled-reverse-kl}], rollouts: {kind: student, share: 1, max-new-tokens: 5, prompt-tokens: 3}}
          minillm: {objective: [{loss: minillm}, {loss: cross-entropy, on: plain}], rollouts: {kind: mixed, collect: 12, epochs: 2, max-new-tokens: 5, prompt-tokens: 3}}
          distillm: {objective: [{loss: skew-kl, lambda: 0.1}], rollouts: {kind: replay, capacity: 16, threshold: 0.5, check-every: 4, held-out: 5, max-new-tokens: 5, prompt-tokens: 3}}
          distillm2: {objective: [{loss: distillm2}], rollouts: {kind: pairs, collect: 12, max-new-tokens: 5, prompt-tokens: 3}}
          pairs-data: {objective: [{loss: distillm2, adaptive: false}], rollouts: {kind: pairs, chosen: data, collect: 12, epochs: 2, max-new-tokens: 5, prompt-tokens: 3}}
        """

    private static let recipe: String = {
        let old = SmallLanguage.recipe
        guard let start = old.range(of: "arms:"), let end = old.range(of: "train: {steps: 20") else { return old }
        return old[..<start.lowerBound].replacing(
            "rows.safetensors}", with: "rows.safetensors, plain: {tensor: train}}")
            + arms + "\nanswers: {max-new-tokens: 5, prompt-tokens: 3}\n" + old[end.lowerBound...]
    }()

    private func metrics(_ results: RunResults) -> [String] {
        let times = [Metric.latency, .peakBytes, .stepTime, .tokenRate].map(\.rawValue)
        return results.arms.flatMap { arm in
            arm.seeds.map { seed in
                "\(arm.role) \(seed.metrics.filter { !times.contains($0.key) }.sorted { $0.key < $1.key }) "
                    + "\(seed.curve.map(\.loss))"
            }
        }
    }

    @Test("every kind trains, twice the same; a teacher's texts are read again", arguments: TestBackend.fast)
    func kinds(_ backend: TestBackend) throws {
        let small = try SmallLanguage(backend, Self.recipe)
        let results = try small.start("one", "seeds=[0]").run()
        #expect(
            results.arms.map(\.role) == [
                "teacher", "texts", "gkd", "mixed-data", "sampled", "minillm", "distillm", "distillm2", "pairs-data",
            ])
        for arm in results.arms.dropFirst() {
            let own = try #require(arm.spread(.rolloutReverseKL)?.mean, "\(arm.role)")
            #expect(own > 0 && own < 4, "\(arm.role)")
            let fit = try #require(arm.spread(.crossEntropy)?.mean)
            #expect(fit < log(24.0) + 0.5, "\(arm.role)")
        }
        #expect(Set(metrics(results)).count == 9)
        let texts = small.folder.path("one/texts/seed-0/texts.jsonl")
        let written = try String(contentsOfFile: texts, encoding: .utf8)
        #expect(written.split(separator: "\n").count == 80)

        // The same again, from texts of which a part is there and a line is cut off.
        _ = try small.start("two", "seeds=[0]")
        try FileManager.default.createDirectory(
            atPath: small.folder.path("two/texts/seed-0"), withIntermediateDirectories: true)
        try String(written.prefix(written.count / 2)).write(
            toFile: small.folder.path("two/texts/seed-0/texts.jsonl"), atomically: true, encoding: .utf8)
        #expect(metrics(try small.start("two", "seeds=[0]").run()) == metrics(results))
        #expect(
            try String(contentsOfFile: small.folder.path("two/texts/seed-0/texts.jsonl"), encoding: .utf8) == written)
    }

    @Test("a student comes near its teacher on its own texts, also by the policy gradient alone")
    func nearer() throws {
        let small = try SmallLanguage(.cpu, Self.recipe)
        let keys = "rollouts: {kind: student, share: 1, max-new-tokens: 9}"
        let arms = """
            arms:
              exact: {objective: [{loss: reverse-kl}], \(keys)}
              sampled: {objective: [{loss: sampled-reverse-kl}], \(keys)}
            """
        let text = Self.recipe.replacing(Self.arms, with: arms).replacing(
            "max-new-tokens: 5, prompt-tokens: 3}\n", with: "max-new-tokens: 9}\n")
        try small.folder.write(text, to: "small.yaml")
        func distances(_ output: String, steps: Int) throws -> [Double] {
            let results = try small.start(output, "seeds=[0]", "train.steps=\(steps)").run()
            return try results.arms.dropFirst().map { try #require($0.spread(.rolloutReverseKL)?.mean) }
        }
        let (before, after) = (try distances("before", steps: 1), try distances("after", steps: 80))
        #expect(after[0] < 0.1 * before[0] && after[1] < 0.3 * before[1], "\(before) \(after)")
    }

    @Test("of a teacher's texts those are kept that came to their end, or have the data's answer")
    func keeping() throws {
        let device = try TestBackend.cpu.device()
        let config: JSON = [
            "model_type": "llama", "vocab_size": 512, "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.4,
        ]
        let teacher = try LanguageModelRegistry.make(JSONCursor(config, file: "config.json"))
        _ = try teacher.materialize(on: device, seed: 5)
        let tokenizer = try Tokenizer.load(Project.root + "/Tests/Fixtures/tokenizers/stories260K")
        let prompts = (0..<12).map { [Int32(20 + $0), Int32(40 + $0)] }
        let said = try teacher.generate(prompts, WritingOptions(count: 6))
        // Every other answer of the data is what the teacher says.
        let corpus = try TokenizedCorpus(
            zip(prompts, said).enumerated().map { index, pair in
                let answer = index % 2 == 0 ? pair.1 : [100, 101, 102]
                return RolloutText(prompt: pair.0, answer: answer).example
            })
        func write(_ keys: String, ends: Set<Int32> = []) throws -> TeacherTexts.Result {
            let recipe = SmallLanguage.recipe.replacing(
                "{objective: [{loss: cross-entropy}]}",
                with: "{objective: [{loss: cross-entropy}], rollouts: {kind: teacher, max-new-tokens: 6, \(keys)}}")
            let small = try SmallLanguage(.cpu, recipe)
            guard let read = try readRecipe(small.folder.path("small.yaml")) as? LanguageRecipe,
                let rollouts = read.arms[0].rollouts, case .teacher(let spec) = rollouts.kind
            else { throw RetortError.internalBug("another recipe") }
            let writer = RolloutWriter(
                count: rollouts.count, sampling: rollouts.sampling, ends: ends, models: [teacher], speakers: [teacher],
                tokens: nil, rows: 5)
            return try TeacherTexts(writer, rollouts, spec, teacher: teacher, tokenizer: tokenizer).write(
                corpus, to: small.folder.path("texts.jsonl"))
        }
        let all = try write("keep: all")
        #expect(all.kept == 12 && all.ended == 0 && all.corpus.example(1).tokens == prompts[1] + said[1])
        let correct = try write("keep: correct")
        #expect(correct.written == 12 && correct.kept == 6)
        #expect((0..<6).allSatisfy { correct.corpus.example($0).tokens == prompts[2 * $0] + said[2 * $0] })
        // What some of them say third ends those.
        let end = said[0][2]
        let ended = try write("keep: ended", ends: [end])
        #expect(ended.kept == said.count { $0.contains(end) } && ended.kept < 12)
        #expect(ended.corpus.example(0).tokens.last == end)
        #expect(try write("keep: all, samples: 3, temperature: 1").written == 36)
        let nothing = thrown(RetortError.self) { _ = try write("keep: ended") }
        #expect(nothing?.exit == .badData && nothing?.what.contains("none of the teacher's 12 texts") == true)
    }

    @Test("what does not go together is refused, with the place and a way out")
    func refused() throws {
        let small = try SmallLanguage(.cpu)
        func error(_ arm: String, _ more: (String, String) = ("", "")) throws -> RetortError? {
            var text = SmallLanguage.recipe.replacing("{objective: [{loss: cross-entropy}]}", with: arm)
            if !more.0.isEmpty { text = text.replacing(more.0, with: more.1) }
            try small.folder.write(text, to: "small.yaml")
            let error = thrown(RetortError.self) { _ = try small.start("run") }
            #expect(!FileManager.default.fileExists(atPath: small.folder.path("run")))
            return error
        }
        let rollouts = "rollouts: {kind: student, share: 1}"
        let cases: [(String, String)] = [
            ("{objective: [{loss: minillm}]}", "drew"),
            ("{objective: [{loss: sampled-reverse-kl}], rollouts: {kind: student}}", "drew"),
            ("{objective: [{loss: minillm, on: data}], \(rollouts)}", "drew"),
            ("{objective: [{loss: minillm}], rollouts: {kind: mixed, temperature: 0}}", "temperature 0"),
            ("{objective: [{loss: minillm}, {loss: sampled-reverse-kl}], \(rollouts)}", "second loss of written texts"),
            ("{objective: [{loss: distillm2}], \(rollouts)}", "two texts to each prompt"),
            ("{objective: [{loss: minillm}], rollouts: {kind: pairs}}", "drew"),
            ("{objective: [{loss: cross-entropy}], rollouts: {kind: student, from: teacher}}", "no teacher writes"),
            ("{objective: [{loss: cross-entropy}], rollouts: {kind: teacher, from: other}}", "no teacher"),
            ("{objective: [{loss: cross-entropy, on: plain}]}", "plain text"),
            ("{objective: [{loss: cross-entropy}], rollouts: {kind: teacher, samples: 3}}", "all the same"),
            ("{objective: [{loss: cross-entropy}], rollouts: {kind: student, temperature: 1e-40}}", "from 0.001"),
            ("{objective: [{loss: cross-entropy}], rollouts: {kind: teacher, answer: choice}}", "keep does not ask"),
            ("{objective: [{loss: cross-entropy}], rollouts: {kind: teacher, top-k: 3}}", "nothing is drawn"),
            (
                "{objective: [{loss: cross-entropy}], rollouts: {kind: teacher, keep: correct, answer: regex}}",
                "pattern"
            ),
            (
                "{objective: [{loss: cross-entropy}], rollouts: {kind: teacher, keep: correct, answer: regex, pattern: '('}}",
                "pattern"
            ),
        ]
        for (arm, words) in cases {
            let refusal = try error(arm)
            #expect(refusal?.exit == .recipe, "\(arm)")
            #expect(refusal?.location?.line != nil, "\(arm)")
            let text = "\(refusal?.what ?? "") \(refusal?.why ?? "") \(refusal?.help ?? "")"
            #expect(text.contains(words), "\(arm): \(text)")
        }
        let lonely =
            "teacher: {model: {kind: llama, hidden: 16, intermediate: 32, layers: 2, heads: 2, vocabulary: 24, positions: 16}, train: {steps: 60}}\n"
        let alone = try error("{objective: [{loss: cross-entropy}], rollouts: {kind: teacher}}", (lonely, ""))
        #expect(alone?.exit == .recipe && alone?.what.contains("needs a teacher") == true)

        // What a cache of the teacher's predictions cannot give is refused before it is looked for.
        let model =
            "{model: {kind: llama, hidden: 16, intermediate: 32, layers: 2, heads: 2, vocabulary: 24, positions: 16}, train: {steps: 60}}"
        let cached = [
            ("{objective: [{loss: dkd}]}", "more of the teacher"),
            ("{objective: [{loss: attention-scores}]}", "more of the teacher"),
            ("{objective: [{loss: forward-kl}], \(rollouts)}", "knows the data's texts"),
            ("{objective: [{loss: cross-entropy}], rollouts: {kind: teacher}}", "knows the data's texts"),
        ]
        for (arm, words) in cached {
            let refusal = try error(arm, (model, "{cache: nowhere}"))
            #expect(refusal?.exit == .recipe && refusal?.what.contains(words) == true, "\(arm): \(refusal?.what ?? "")")
        }
    }
}
