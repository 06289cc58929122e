import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Teachers that cut texts as the student does and count their tokens otherwise.
@Suite("Teachers with tokens in another order")
struct RenumberedTeacherTests {
    private static let losses = [
        "forward-kl", "reverse-kl", "jsd", "skew-kl", "skew-reverse-kl", "tvd", "akl", "dkd, beta: 1",
        "hinton, temperature: 2, alpha: 0.5", "logit-mse", "logit-standardization", "hidden-states, layers: last",
    ]

    /// A trained teacher and its copy with other ids.
    private struct Place {
        let text: TextPlace
        let backend: TestBackend

        init(_ backend: TestBackend) throws {
            self.backend = backend
            text = try TextPlace()
            _ = try readRecipe(text.folder.path("text.yaml")).start(
                on: try backend.device(), output: text.folder.path("run"), progress: Progress(quiet: true)
            ).run()
        }

        func copy(
            _ name: String, order: ([String]) -> [String], added: [String] = [], front: String? = nil
        ) throws -> String {
            let folder = text.folder.path(name)
            try RenumberedDirectory.write(text.teacher, to: folder, order: order, added: added, front: front)
            return folder
        }

        func write(_ teacher: String, _ arms: String, tokenizer: String = "stories260K") throws {
            let lines = TextPlace.recipe.split(separator: "\n").map(String.init).map { line -> String in
                if line.hasPrefix("teacher:") { return "teacher: {path: \(teacher)}" }
                return line.hasPrefix("arms:")
                    ? "arms:\n" + arms : line.replacing("tokenizer: stories260K", with: "tokenizer: \(tokenizer)")
            }
            try text.folder.write(lines.joined(separator: "\n"), to: "other.yaml")
        }

        func run(_ output: String) throws -> RunResults {
            try readRecipe(text.folder.path("other.yaml")).start(
                on: try backend.device(), output: text.folder.path(output), progress: Progress(quiet: true)
            ).run()
        }

        func refused(_ arms: String, teacher: String) throws -> RetortError? {
            try write(teacher, arms)
            let error = thrown(RetortError.self) { _ = try run("refused") }
            #expect(!FileManager.default.fileExists(atPath: text.folder.path("refused")))
            return error
        }
    }

    /// Every third token from the end, then the others: no id stays where it was, but for chance.
    static func mixed(_ tokens: [String]) -> [String] {
        tokens.indices.map { tokens[($0 * 205 + 77) % tokens.count] }
    }

    @Test("a teacher with its tokens in another order teaches the same, bit for bit", arguments: TestBackend.fast)
    func order(_ backend: TestBackend) throws {
        let place = try Place(backend)
        let other = try place.copy("other", order: Self.mixed)
        var arms = Self.losses.enumerated().map { "  arm-\($0): {objective: [{loss: \($1)}]}\n" }.joined()
        arms += "  gkd: {objective: [{loss: jsd}], rollouts: {kind: student, share: 1, max-new-tokens: 5}}\n"
        try place.write(place.text.teacher, arms)
        let same = try place.run("same")
        try place.write(other, arms)
        let renumbered = try place.run("renumbered")
        #expect(renumbered.arms.map(\.role) == same.arms.map(\.role) && same.arms.count == Self.losses.count + 2)
        for (mine, theirs) in zip(renumbered.arms, same.arms) {
            let (a, b) = (mine.seeds[0].metrics, theirs.seeds[0].metrics)
            for key in ["cross_entropy", "accuracy", "agreement", "kl_to_teacher", "reverse_kl_to_teacher"] {
                guard mine.role != "teacher" else {
                    // A softmax over the same numbers in another order.
                    #expect(abs((a[key] ?? 0) - (b[key] ?? 0)) < 1e-5, "\(key)")
                    continue
                }
                #expect(a[key] == b[key] && a[key] != nil, "\(mine.role) \(key): \(a[key] ?? 0), \(b[key] ?? 0)")
            }
            #expect(mine.seeds[0].curve.map(\.loss) == theirs.seeds[0].curve.map(\.loss), "\(mine.role)")
        }
        for (number, loss) in Self.losses.enumerated() {
            let final = "arm-\(number)/seed-0/final/model.safetensors"
            #expect(
                try Data(contentsOf: URL(fileURLWithPath: place.text.folder.path("renumbered/\(final)")))
                    == Data(contentsOf: URL(fileURLWithPath: place.text.folder.path("same/\(final)"))), "\(loss)")
        }
        let log = try String(contentsOfFile: place.text.folder.path("renumbered/log.txt"), encoding: .utf8)
        #expect(
            log.contains("teacher: counts its tokens otherwise") && log.contains("512 of the student's 512"), "\(log)")
        #expect(log.contains("p and q softmaxes over the 512 tokens that both vocabularies have"))
        #expect(renumbered.arms[1].contract[0].contains("the 512 tokens that both"))
        // Measured by itself, with the same numbers.
        var data = LanguageEvaluationData(place.text.folder.path("text.jsonl"))
        data.text.source.fields = ["prompt": "question", "completion": "answer"]
        (data.text.examples.separator, data.every) = (" ", 4)
        let report = try evaluate(
            languageModel: place.text.folder.path("renumbered/arm-0/seed-0/final"), teacher: other, on: data,
            device: backend.device())
        for (measured, trained) in zip(report.results.arms, [renumbered.arms[0], renumbered.arms[1]]) {
            for key in ["cross_entropy", "agreement", "kl_to_teacher", "reverse_kl_to_teacher"] {
                #expect(measured.seeds[0].metrics[key] == trained.seeds[0].metrics[key], "\(measured.role) \(key)")
            }
        }
        #expect(report.notes.contains { $0.contains("counts its tokens otherwise") })
    }

    @Test(
        "a teacher with more tokens, and a longer head; one that puts another token in front",
        arguments: TestBackend.fast)
    func more(_ backend: TestBackend) throws {
        let place = try Place(backend)
        let arms = "  a: {objective: [{loss: forward-kl}]}\n  b: {objective: [{loss: hinton, alpha: 0.5}]}\n"
        let longer = try place.copy(
            "longer", order: { ["<one>"] + Self.mixed($0) + ["<two>", "unused"] }, added: ["<one>", "<two>"])
        try place.write(longer, arms)
        let results = try place.run("longer-run")
        // The teacher's own tokens are no rows of the student's.
        let log = try String(contentsOfFile: place.text.folder.path("longer-run/log.txt"), encoding: .utf8)
        #expect(log.contains("512 of the student's 512 and the teacher's 515"), "\(log)")
        #expect(!log.contains("hard labels among"))
        #expect(results.arms[1].seeds[0].metrics["kl_to_teacher"] ?? 0 > 0.001)
        // Its probabilities among the shared tokens are those of the teacher without the others.
        try place.write(place.text.teacher, arms)
        let plain = try place.run("plain-run")
        for (mine, theirs) in zip(results.arms, plain.arms).dropFirst() {
            #expect(mine.seeds[0].metrics["kl_to_teacher"] == theirs.seeds[0].metrics["kl_to_teacher"])
        }
        let fronted = try place.copy(
            "fronted", order: { Self.mixed($0) + ["<begin>"] }, added: ["<begin>"], front: "<begin>")
        try place.write(fronted, arms)
        let begins = try place.run("fronted-run")
        #expect(begins.arms[1].seeds[0].metrics["kl_to_teacher"] ?? 0 > 0.001)
        #expect(begins.arms[1].seeds[0].metrics["kl_to_teacher"] != plain.arms[1].seeds[0].metrics["kl_to_teacher"])
    }

    @Test("what cannot be compared is refused, with both vocabularies and a way out")
    func refusals() throws {
        let place = try Place(.cpu)
        let forward = "  a: {objective: [{loss: forward-kl}]}\n"
        let fewer = try place.copy("fewer", order: { Array($0.reversed()) })
        // The student has tokens of its own.
        let own = place.text.folder.path("own")
        try RenumberedDirectory.write(
            Project.root + "/Tests/Fixtures/tokenizers/stories260K", to: own, order: { $0 + ["<|own|>"] },
            added: ["<|own|>"])
        try place.write(fewer, "  a: {objective: [{loss: hidden-states, layers: last}]}\n", tokenizer: own)
        let hidden = thrown(RetortError.self) { _ = try place.run("refused") }
        #expect(
            hidden?.exit == .recipe && hidden?.what.contains("does not know all") == true,
            "\(String(describing: hidden))")
        try place.write(fewer, "  a: {objective: [{loss: hinton, alpha: 0.5}]}\n", tokenizer: own)
        _ = try place.run("own-run")
        let log = try String(contentsOfFile: place.text.folder.path("own-run/log.txt"), encoding: .utf8)
        #expect(log.contains("512 of the student's 513") && log.contains("hard labels among all of the student's"))

        for (arms, words) in [
            ("  a: {objective: [{loss: cross-entropy}], rollouts: {kind: teacher}}\n", "writes in other tokens"),
            (
                "  a: {objective: [{loss: sampled-reverse-kl}], rollouts: {kind: student, share: 1}}\n",
                "counts its tokens otherwise"
            ),
        ] {
            let error = try place.refused(arms, teacher: fewer)
            #expect(error?.exit == .recipe && error?.what.contains(words) == true, "\(String(describing: error))")
        }
        // Other merges, or hardly a token in common: another way of cutting.
        let foreign = place.text.folder.path("foreign")
        try FileManager.default.copyItem(atPath: place.text.teacher, toPath: foreign)
        try FileManager.default.removeItem(atPath: foreign + "/tokenizer.json")
        try FileManager.default.copyItem(
            atPath: Project.root + "/Tests/Fixtures/tokenizers/llama3/tokenizer.json",
            toPath: foreign + "/tokenizer.json")
        let few = try #require(try place.refused(forward, teacher: foreign))
        #expect(few.exit == .recipe && few.why.contains("stories260K") && few.why.contains("foreign"), "\(few.why)")
        #expect(few.help.contains("gold") && few.why.contains("too few"), "\(few.why)")
        // Cut alike as far as both can; but a token that the student alone has is in every text.
        let merged = place.text.folder.path("merged")
        try RenumberedDirectory.write(
            Project.root + "/Tests/Fixtures/tokenizers/stories260K", to: merged, order: { $0 + ["any"] })
        guard case .object(var longer) = try JSON.read(merged + "/tokenizer.json"),
            case .object(var pairs)? = longer["model"], case .array(let known)? = pairs["merges"]
        else { return }
        pairs.set("merges", .array(known + [["an", "y"]]))
        longer.set("model", .object(pairs))
        try JSON.object(longer).text().write(toFile: merged + "/tokenizer.json", atomically: true, encoding: .utf8)
        try place.write(fewer, forward, tokenizer: merged)
        let rare = try #require(thrown(RetortError.self) { _ = try place.run("refused") })
        #expect(rare.exit == .recipe && rare.why.contains("tokens that") && rare.why.contains(" has "), "\(rare.why)")
        let shuffled = place.text.folder.path("shuffled")
        try FileManager.default.copyItem(atPath: place.text.teacher, toPath: shuffled)
        guard case .object(var file) = try JSON.read(shuffled + "/tokenizer.json"),
            case .object(var model)? = file["model"], case .array(let merges)? = model["merges"]
        else { return }
        model.set("merges", .array(merges.reversed()))
        file.set("model", .object(model))
        // Not the same ids either, or they would be taken for one tokenizer.
        try JSON.object(file).text().write(toFile: shuffled + "/tokenizer.json", atomically: true, encoding: .utf8)
        let mixed = place.text.folder.path("mixed")
        try RenumberedDirectory.write(shuffled, to: mixed, order: Self.mixed)
        // Texts in which the order of merges counts for nothing are cut alike: there is nothing to refuse.
        try place.write(mixed, forward)
        _ = try place.run("mixed-run")
        let lines = (1...12).map { "{\"question\": \"\($0)?\", \"answer\": \"There is another.\"}\n" }
        try place.text.folder.write(lines.joined(), to: "text.jsonl")
        let cut = try #require(try place.refused(forward, teacher: mixed))
        #expect(cut.exit == .recipe && cut.why.contains("cuts a text of the data into '▁The|re'"), "\(cut.why)")

        // A cache is of one vocabulary.
        try place.write(fewer, forward)
        let cache = thrown(RetortError.self) {
            _ = try CacheRun(
                readRecipe(place.text.folder.path("other.yaml")), output: place.text.folder.path("cache"),
                kept: .top(8),
                bits: 8, states: .f16, batch: 4, on: TestBackend.cpu.device(), progress: Progress(quiet: true))
        }
        #expect(
            cache?.exit == .recipe && cache?.what.contains("another tokenizer") == true, "\(String(describing: cache))")
        #expect(!FileManager.default.fileExists(atPath: place.text.folder.path("cache")))
    }

    // MARK: Against a computation in double

    /// Models of which each has tokens that the other lacks, and texts with the student's own.
    private struct Rig {
        let device: Device
        let student: any LanguageModel
        let teacher: any LanguageModel
        let renumbering: TokenRenumbering
        let batch: LanguageBatch

        init(_ backend: TestBackend) throws {
            device = try backend.device()
            let folder = try ScratchFolder()
            let stories = Project.root + "/Tests/Fixtures/tokenizers/stories260K"
            // The student's own tokens stand among the others.
            try RenumberedDirectory.write(
                stories, to: folder.path("student"),
                order: { Array($0[..<40]) + ["<|turn|>"] + Array($0[40..<300]) + ["<|own|>"] + Array($0[300...]) },
                added: ["<|turn|>", "<|own|>"])
            try RenumberedDirectory.write(
                stories, to: folder.path("teacher"),
                order: { ["<x>"] + RenumberedTeacherTests.mixed($0) + ["<y>", "zzzz"] },
                added: ["<x>", "<y>"])
            let (one, two) = (try Tokenizer.load(folder.path("student")), try Tokenizer.load(folder.path("teacher")))
            renumbering = try TokenRenumbering(TokenBridge(from: one, to: two))
            student = try Self.model(1, one.idLimit, on: device)
            teacher = try Self.model(2, two.idLimit, on: device)
            let texts = [
                "<|turn|>Once upon a time there was a small dog<|own|> and a cat. They were friends<|turn|>",
                "The sun was warm, and <|own|>the tree was very tall.", "One two three.",
            ]
            let rows = try texts.map { text in
                let ids = try one.encode(text).ids
                return TokenizedExample(tokens: ids, isTarget: ids.indices.map { $0 > 2 })
            }
            batch = try LanguageBatches(TokenizedCorpus(rows), batch: 3, seed: nil).batch(of: [0, 1, 2])
        }

        private static func model(_ seed: UInt64, _ vocabulary: Int, on device: Device) throws -> any LanguageModel {
            let config: JSON = [
                "model_type": "llama", "vocab_size": .int(vocabulary), "hidden_size": 8, "intermediate_size": 16,
                "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 128,
                "initializer_range": 0.4, "tie_word_embeddings": false,
            ]
            let model = try LanguageModelRegistry.make(JSONCursor(config, file: "config.json"))
            _ = try model.materialize(on: device, seed: seed)
            model.setTraining(false)
            return model
        }

        /// Logits of each place of one text.
        func logits(_ model: any LanguageModel, _ ids: [Int32]) throws -> [[Double]] {
            let values = try Autograd.withoutGradients { try model.forward(TokenBatch(ids, rows: 1)).logits.values() }
            return Float64Reference.rows(values.map(Double.init), values.count / ids.count)
        }
    }

    /// The loss of a place: logits of student and teacher over the shared tokens.
    private static let divergences: [(recipe: String, value: @Sendable ([Double], [Double]) -> Double)] = [
        (
            "{loss: forward-kl, temperature: 2, alpha: 0.7}",
            { q, p in
                0.7 * 4
                    * Float64Reference.divergence(
                        Float64Reference.softmax(p, temperature: 2), Float64Reference.logSoftmax(q, temperature: 2))
            }
        ),
        (
            "{loss: reverse-kl, alpha: 0.7}",
            { q, p in
                0.7 * Float64Reference.divergence(Float64Reference.softmax(q), Float64Reference.logSoftmax(p))
            }
        ),
        (
            "{loss: tvd, alpha: 1}",
            { q, p in
                zip(Float64Reference.softmax(q), Float64Reference.softmax(p)).reduce(0) { $0 + abs($1.0 - $1.1) / 2 }
            }
        ),
        (
            "{loss: logit-mse, alpha: 0.3}",
            { q, p in 0.3 * zip(q, p).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / Double(q.count) }
        ),
    ]

    @Test(
        "with tokens that one side lacks the loss is the one over the shared tokens, hard labels over all",
        arguments: TestBackend.fast)
    func dense(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let shared = rig.renumbering.shared
        #expect(shared.count == 512 && !rig.renumbering.knowsAll)
        let tokens = TeacherTokens(renumbering: rig.renumbering)
        let teacher = LanguageTeacher(rig.teacher, tokens: tokens, on: rig.device)
        let all = Double(rig.batch.targetCount)
        let hidden = try Autograd.withoutGradients {
            try rig.student.hidden(TokenBatch(rig.batch)).last.values().map(Double.init)
        }
        let lacking = rig.batch.targets.filter { $0 >= 0 && shared.teacherID(of: $0) == nil }
        #expect(lacking.count == 3)
        for (recipe, divergence) in Self.divergences {
            // In double, text by text and place by place: value, and the gradient of the student's logits.
            let hard = recipe.contains("kl, ") || recipe.contains("temperature") ? 0.3 : 0
            let vocabulary = rig.student.vocabulary
            var (value, head) = (0.0, [Double](repeating: 0, count: vocabulary * 8))
            for text in rig.batch.texts {
                let q = try rig.logits(rig.student, Array(text.tokens))
                let read = rig.renumbering.read(text.tokens)
                let p = try rig.logits(rig.teacher, read.tokens)
                for place in text.learned {
                    let label = rig.batch.targets[text.range.lowerBound + place]
                    let own = q[place]
                    var gradient = [Double](repeating: 0, count: vocabulary)
                    let logs = Float64Reference.logSoftmax(own)
                    value += hard * -logs[Int(label)] / all
                    for id in own.indices {
                        gradient[id] += hard * (exp(logs[id]) - (Int(label) == id ? 1 : 0)) / all
                    }
                    if shared.teacherID(of: label) != nil {
                        let z = shared.studentIDs.map { own[Int($0)] }
                        let t = shared.teacherIDs.map { p[Int(read.places[place])][Int($0)] }
                        value += divergence(z, t) / all
                        let slope = Float64Reference.gradient(z) { divergence($0, t) }
                        for (id, part) in zip(shared.studentIDs, slope) { gradient[Int(id)] += part / all }
                    }
                    let at = (text.range.lowerBound + place) * 8
                    for id in 0..<vocabulary where gradient[id] != 0 {
                        for column in 0..<8 { head[id * 8 + column] += gradient[id] * hidden[at + column] }
                    }
                }
            }
            let node = try RecipeReader.readValue(recipe, .variant(key: "loss", LanguageObjectiveRegistry.sections))
            let term = try LanguageArmTerm(node)
            let loss = try LanguageLoss(rig.student, [term], teachers: [teacher], name: "a", on: rig.device)
            // The whole batch, and one row at a time.
            for size in [3, 1] {
                for parameter in rig.student.parameters { parameter.clearGradient() }
                var found = 0.0
                for row in stride(from: 0, to: 3, by: size) {
                    let part = rig.batch.rows(row..<(row + size))
                    let total = try loss(
                        RolloutBatch(part), loss.terms, targets: rig.batch.targetCount, of: rig.batch.tokenCount,
                        TrainingProgress())
                    found += Double(try total.item())
                    try total.backward()
                }
                #expect(abs(found - value) < 1e-5 * max(1, value) && value > 0.05, "\(recipe): \(found), \(value)")
                let parameter = try #require(
                    rig.student.parameters.first { $0.shape == [vocabulary, 8] && $0 !== rig.student.parameters.first })
                expectClose(try parameter.gradientValues(), head, absolute: 1e-5, relative: 1e-3, recipe)
            }
        }
    }

    @Test("agreement and divergence over the shared tokens, in double", arguments: TestBackend.fast)
    func measured(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let shared = rig.renumbering.shared
        let rows = rig.batch.texts.map { text in
            TokenizedExample(tokens: Array(text.tokens), isTarget: [false] + text.isLearned.dropLast())
        }
        let teacher = LanguageTeacher(
            rig.teacher, tokens: TeacherTokens(renumbering: rig.renumbering), on: rig.device)
        let found = try #require(
            try LanguageEvaluation(
                rig.student, LanguageBatches(TokenizedCorpus(rows), batch: 2, seed: nil), teachers: [teacher],
                on: rig.device
            ).comparison)
        var (count, same, forward, reverse) = (0, 0, 0.0, 0.0)
        for text in rig.batch.texts {
            let q = try rig.logits(rig.student, Array(text.tokens))
            let read = rig.renumbering.read(text.tokens)
            let p = try rig.logits(rig.teacher, read.tokens)
            for place in text.learned
            where shared.teacherID(of: rig.batch.targets[text.range.lowerBound + place]) != nil {
                let z = shared.studentIDs.map { q[place][Int($0)] }
                let t = shared.teacherIDs.map { p[Int(read.places[place])][Int($0)] }
                count += 1
                forward += Float64Reference.divergence(Float64Reference.softmax(t), Float64Reference.logSoftmax(z))
                reverse += Float64Reference.divergence(Float64Reference.softmax(z), Float64Reference.logSoftmax(t))
                let (best, theirs) = (
                    q[place].indices.max { q[place][$0] < q[place][$1] }!, t.indices.max { t[$0] < t[$1] }!
                )
                if best == Int(shared.studentIDs[theirs]) { same += 1 }
            }
        }
        #expect(count > 30)
        #expect(
            abs(found.forward - forward / Double(count)) < 1e-5 && abs(found.reverse - reverse / Double(count)) < 1e-5)
        #expect(found.agreement == Double(same) / Double(count))
        #expect(found.bins.reduce(0) { $0 + $1.tokens } == count)
    }
}
