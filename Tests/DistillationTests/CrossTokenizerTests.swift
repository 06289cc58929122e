import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses between models that cut texts in different ways, against their formulas in double.
@Suite("Losses across tokenizers")
struct CrossTokenizerTests {
    private static let (places, width, classes, others) = (6, 3, 7, 5)
    /// Two tokens for one, one for one, one for three.
    private static let groups = [
        TranslatedTeacher.Group(student: 0..<2, teacher: 3..<4), .init(student: 2..<3, teacher: 4..<5),
        .init(student: 4..<5, teacher: 6..<9),
    ]
    private static let labels: [Int32] = [3, 1, 6, -100, 2, -100]
    private static let teacherLogs: [Float] = (0..<10).map { -0.3 - 0.17 * Float($0) }
    private static let shared: (student: [Int32], teacher: [Int32]) = ([1, 3, 6], [4, 0, 2])

    private static let means: [Float] = labels.map { $0 >= 0 ? 0.25 : 0 }

    private func run(_ recipe: String, _ backend: TestBackend, shares: [Float] = Self.means) throws -> (
        value: Double, gradient: [Float], head: [Float]
    ) {
        let device = try backend.device()
        let node = try RecipeReader.readValue(recipe, .variant(key: "loss", LanguageObjectiveRegistry.sections))
        let model = try LanguageTeacherTests.Rig.model(1, on: device).model
        let term = try LanguageObjectiveRegistry.make(node).term(
            LanguageTermContext(student: model, teacher: nil, name: "a"))
        let (hidden, leaf) = try Tensor.variable(Self.hidden, [1, Self.places, Self.width], on: device)
        let (weight, headLeaf) = try Tensor.variable(Self.weight, [Self.classes, Self.width], on: device)
        let logits = Self.logits
        let teacher = TranslatedTeacher(
            groups: Self.groups, logProbability: { $0.reduce(0) { $0 + Self.teacherLogs[$1] } },
            logits: { places in
                try DenseLogits(
                    Tensor(
                        places.flatMap { logits[$0 * Self.others..<($0 + 1) * Self.others] },
                        [places.count, Self.others], on: device))
            }, shared: Self.shared)
        let view = try device.compute.view(Self.labels, [Self.places], .i32)
        let weights = try device.compute.view(shares, [Self.places])
        let loss = try term.loss(
            LanguageInput(
                hidden: hidden, head: OutputHead(weight: weight), teachers: [.translated(teacher)], labels: view,
                targets: Self.labels, weights: weights, shares: shares, gradient: .held, rollout: nil, student: [:],
                taught: [:], tokens: TokenBatch([Int32](repeating: 0, count: Self.places), rows: 1),
                tokenWeights: weights, progress: TrainingProgress()))
        try loss.backward()
        return (Double(try loss.item()), try leaf.gradientValues(), try headLeaf.gradientValues())
    }

    private static let hidden = Philox(seed: 5, stream: 1).normals(places * width, deviation: 1)
    private static let weight = Philox(seed: 5, stream: 2).normals(classes * width, deviation: 1)
    private static let logits = Philox(seed: 5, stream: 3).normals(10 * others, deviation: 1.5)

    /// Σ over groups of what the student's tokens weigh · distance, of hidden states and head together.
    private func reference(
        _ x: [Double], isLast: Bool, _ temperatures: (Double, Double) = (1, 1), shares: [Float] = Self.means,
        _ distance: ([Double], [Double]) -> Double
    ) -> Double {
        let (hidden, weight) = (Array(x.prefix(Self.hidden.count)), Array(x.dropFirst(Self.hidden.count)))
        func z(_ place: Int) -> [Double] {
            (0..<Self.classes).map { k in
                (0..<Self.width).reduce(0) { $0 + hidden[place * Self.width + $1] * weight[k * Self.width + $1] }
            }
        }
        return Self.groups.reduce(0) { sum, group in
            let (s, t) = (group.student, group.teacher)
            let base = isLast ? (s.last!, t.last!) : (s.first!, t.first!)
            let own = s.filter { $0 != base.0 }.reduce(0.0) {
                $0 + Float64Reference.logSoftmax(z($1))[Int(Self.labels[$1])]
            }
            let theirs = t.filter { $0 != base.1 }.reduce(0.0) { $0 + Double(Self.teacherLogs[$1]) }
            let q = Float64Reference.softmax(z(base.0), temperature: temperatures.0).map { $0 * exp(own) }
            let p = Float64Reference.softmax(
                Self.logits[base.1 * Self.others..<(base.1 + 1) * Self.others].map(Double.init),
                temperature: temperatures.1
            ).map { $0 * exp(theirs) }
            return sum + s.reduce(0) { $0 + Double(shares[$1]) } * distance(q, p)
        }
    }

    private static func sorted(_ q: [Double], _ p: [Double]) -> Double {
        let (a, b) = (q.sorted(by: >), p.sorted(by: >))
        var sum = 0.0
        for k in 0..<max(a.count, b.count) {
            let (one, other): (Double, Double) = (k < a.count ? a[k] : 0, k < b.count ? b[k] : 0)
            sum += abs(one - other)
        }
        return sum
    }

    private func check(_ found: (value: Double, gradient: [Float], head: [Float]), _ reference: ([Double]) -> Double) {
        let x = (Self.hidden + Self.weight).map(Double.init)
        #expect(abs(found.value - reference(x)) < 1e-5 * max(1, reference(x)) && found.value > 0.05)
        expectClose(found.gradient + found.head, Float64Reference.gradient(x, reference), absolute: 3e-6)
    }

    @Test("ULD is the distance of sorted distributions of groups", arguments: TestBackend.fast, ["last", "first"])
    func uld(_ backend: TestBackend, _ merge: String) throws {
        let found = try run(
            "{loss: uld, merge: \(merge), temperature: 1.5, teacher-temperature: 2, weight: 0.8}", backend)
        check(found) { x in 0.8 * self.reference(x, isLast: merge == "last", (1.5, 2), Self.sorted) }
        // As a mean over two sequences of each one's mean would weigh them.
        let shares: [Float] = [0.125, 0.125, 0.25, 0, 0.5, 0]
        let other = try run("{loss: uld, merge: \(merge), reduction: sequence-mean}", backend, shares: shares)
        check(other) { x in self.reference(x, isLast: merge == "last", shares: shares, Self.sorted) }
    }

    @Test(
        "GOLD is JSD over shared tokens and the sorted distance over the others", arguments: TestBackend.fast,
        ["0", "0.3", "1"])
    func gold(_ backend: TestBackend, _ beta: String) throws {
        for fixed in [nil, 0.2] as [Double?] {
            let found = try run(
                "{loss: gold, beta: \(beta)\(fixed.map { ", matched-weight: \($0)" } ?? "")}", backend)
            let (b, weight) = (Double(beta)!, fixed ?? 3 / 5)
            check(found) { x in
                self.reference(x, isLast: true) { q, p in
                    var matched = 0.0
                    for (own, other) in zip(Self.shared.student, Self.shared.teacher) {
                        let (q, p) = (q[Int(own)], p[Int(other)])
                        let m: Double = b == 0 ? q : b == 1 ? p : b * p + (1 - b) * q
                        let (there, back): (Double, Double) = (p * log(p / m), q * log(q / m))
                        matched += b == 0 ? there : b == 1 ? back : b * there + (1 - b) * back
                    }
                    let own = q.indices.filter { !Self.shared.student.contains(Int32($0)) }.map { q[$0] }
                    let theirs = p.indices.filter { !Self.shared.teacher.contains(Int32($0)) }.map { p[$0] }
                    return weight * matched + (1 - weight) * Self.sorted(own, theirs)
                }
            }
        }
    }

    @Test("a teacher reads the text in its own tokens; groups stand where both predict them")
    func reading() throws {
        let device = try TestBackend.cpu.device()
        let root = Project.root + "/Tests/Fixtures/tokenizers/"
        let (one, two) = (try Tokenizer.load(root + "stories260K"), try Tokenizer.load(root + "llama3"))
        let bridge = try TokenBridge(from: one, to: two)
        let config: JSON = [
            "model_type": "llama", "vocab_size": .int(two.idLimit), "hidden_size": 8, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.4,
        ]
        let model = try LanguageModelRegistry.make(JSONCursor(config, file: "config.json"))
        _ = try model.materialize(on: device, seed: 3)
        let teacher = LanguageTeacher(model, tokens: TeacherTokens(bridge: bridge), on: device)
        #expect(teacher.isForeign)
        let texts = ["Once upon a time there was a small dog.", "The sun was warm."]
        let rows = try texts.map { text in
            let ids = try one.encode(text).ids
            return TokenizedExample(tokens: ids, isTarget: ids.indices.map { $0 > 3 })
        }
        let batch = try LanguageBatches(TokenizedCorpus(rows), batch: 2, seed: nil).batch(of: [0, 1])
        let reading = try teacher.reading(batch, .bytes, on: device)
        #expect(reading.groups.count > 8 && reading.groups.contains { $0.student.count > 1 || $0.teacher.count > 1 })
        // How likely its tokens are does not depend on how many are looked at together.
        let few = try teacher.reading(batch, .bytes, chunk: .rows(1), on: device)
        for group in reading.groups where group.teacher.count > 1 {
            let (one, other) = (few.logProbability(group.teacher), reading.logProbability(group.teacher))
            #expect(abs(one - other) < 1e-4 && one < 0)
        }
        // What the teacher says of a place is what it says of that text alone.
        let ids = try two.encode(texts[1]).ids
        let alone = try Autograd.withoutGradients { try model.forward(TokenBatch(ids, rows: 1)).logits.softmax() }
        let length = reading.groups.map(\.teacher.upperBound).max() ?? 0
        let second = reading.groups.filter { $0.student.lowerBound >= batch.length }
        #expect(second.count > 2)
        for group in second {
            let place = group.teacher.upperBound - 1
            let source = try reading.logits([place])
            let space = try device.compute.empty([1, two.idLimit])
            let p = try Tensor(view: source.logits(0..<1, in: space), on: device).softmax().values()
            let offset = try (0..<ids.count).first { local in
                let own = try alone.reshaped([ids.count, two.idLimit]).slice(local..<(local + 1)).values()
                return zip(p, own).allSatisfy { abs($0 - $1) < 1e-5 }
            }
            #expect(offset != nil && place < length)
        }
        // Only learned tokens are compared, by order as by bytes.
        let learned = batch.texts.flatMap { text in text.learned.map { $0 + text.range.lowerBound } }
        #expect(reading.groups.flatMap(\.student).allSatisfy(learned.contains))
        // A batch in parts, and packed into one row, is the same loss.
        let studentConfig: JSON = [
            "model_type": "llama", "vocab_size": .int(one.idLimit), "hidden_size": 8, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.4,
        ]
        let student = try LanguageModelRegistry.make(JSONCursor(studentConfig, file: "config.json"))
        _ = try student.materialize(on: device, seed: 4)
        student.setTraining(false)
        let tokens = rows.flatMap(\.tokens)
        let packed = LanguageBatch(
            rows: 1, length: tokens.count, tokens: tokens,
            targets: rows.flatMap { row in
                row.tokens.indices.map { $0 + 1 < row.count && row.isTarget[$0 + 1] ? row.tokens[$0 + 1] : -100 }
            }, valid: nil, documents: rows.indices.flatMap { number in rows[number].tokens.map { _ in Int32(number) } })
        for recipe in ["{loss: uld}", "{loss: uld, align: order}", "{loss: gold, beta: 0.5}"] {
            let term = try LanguageArmTerm(
                RecipeReader.readValue(recipe, .variant(key: "loss", LanguageObjectiveRegistry.sections)))
            let loss = try LanguageLoss(student, [term], teachers: [teacher], name: "a", on: device)
            func run(_ parts: [LanguageBatch]) throws -> (value: Double, gradient: [Float]) {
                for parameter in student.parameters { parameter.clearGradient() }
                let targets = parts.reduce(0) { $0 + $1.targetCount }
                var value = 0.0
                for part in parts {
                    let total = try loss(RolloutBatch(part), loss.terms, targets: targets, of: 1, TrainingProgress())
                    value += Double(try total.item())
                    try total.backward()
                }
                return (value, try student.parameters.flatMap { try $0.gradientValues() })
            }
            let whole = try run([batch])
            #expect(whole.value > 0.01 && whole.gradient.contains { abs($0) > 1e-4 })
            for other in [try run([batch.rows(0..<1), batch.rows(1..<2)]), try run([packed])] {
                #expect(abs(other.value - whole.value) < 1e-5 * whole.value, "\(recipe)")
                expectClose(other.gradient, whole.gradient.map(Double.init), absolute: 3e-6, "\(recipe)")
            }
        }
        let ordered = try teacher.reading(batch, .order, on: device)
        #expect(ordered.groups.allSatisfy { $0.student.count == 1 && $0.teacher.count == 1 })
    }

    @Test("a student learns from a teacher with another tokenizer", arguments: TestBackend.fast)
    func run(_ backend: TestBackend) throws {
        let folder = try ScratchFolder()
        let fixtures = Project.root + "/Tests/Fixtures/tokenizers/"
        let words = ["dog", "cat", "sun", "tree", "house", "river", "bird", "stone"]
        let lines = (0..<48).map {
            "{\"text\": \"The \(words[$0 % 8]) saw the \(words[($0 * 3 + 1) % 8]) and the \(words[($0 * 5 + 2) % 8]).\"}"
        }
        try folder.write(lines.joined(separator: "\n"), to: "text.jsonl")
        try folder.write(
            String(contentsOfFile: fixtures + "llama3/tokenizer.json", encoding: .utf8), to: "llama3/tokenizer.json")
        try folder.write(#"{"eos_token": "<|end_of_text|>"}"#, to: "llama3/tokenizer_config.json")
        // A teacher that was trained in tokens of its own.
        let sizes = "{kind: llama, hidden: 16, intermediate: 32, layers: 1, heads: 2, positions: 64}"
        let data = { (tokenizer: String) in
            "data: {kind: text, path: text.jsonl, test: {every: 4}, tokenizer: \(tokenizer)}\n"
        }
        let train = "train: {steps: 12, batch: 8, micro-batch: 4, optimizer: {kind: adamw, lr: 0.01}}\n"
        try folder.write(
            data("llama3") + "student: {model: \(sizes)}\narms: {teacher-to-be: {objective: [{loss: cross-entropy}]}}\n"
                + train,
            to: "teacher.yaml")
        func start(_ recipe: String, _ output: String) throws -> RunResults {
            try readRecipe(folder.path(recipe)).start(
                on: try backend.device(), output: folder.path(output), progress: Progress(quiet: true)
            ).run()
        }
        _ = try start("teacher.yaml", "first")
        let teacher = "teacher: {path: first/teacher-to-be/seed-0/final}\n"
        func recipe(_ arms: String) -> String {
            data(fixtures + "stories260K") + teacher + "student: {model: \(sizes)}\narms:\n" + arms + train
        }
        try folder.write(
            recipe(
                """
                  alone: {objective: [{loss: cross-entropy}]}
                  uld: {preset: uld}
                  gold: {objective: [{loss: gold}, {loss: cross-entropy, weight: 0.1}]}
                  on-policy: {objective: [{loss: gold, beta: 1}], rollouts: {kind: student, share: 1, max-new-tokens: 6, prompt-tokens: 3}}

                """), to: "uld.yaml")
        let results = try start("uld.yaml", "run")
        #expect(
            results.arms.map(\.role) == ["alone", "uld", "gold", "on-policy"], "a teacher with other tokens has no row")
        let losses = results.arms.map { $0.seeds[0].metrics["cross_entropy"] ?? .nan }
        #expect(Set(losses).count == 4 && losses.allSatisfy(\.isFinite))
        #expect(results.arms.allSatisfy { $0.seeds[0].metrics["kl_to_teacher"] == nil })
        let log = try String(contentsOfFile: folder.path("run/log.txt"), encoding: .utf8)
        let compared = try #require(
            log.firstMatch(of: /its own \(.*\); ([0-9.]+) % of the learned tokens are compared/))
        #expect(try #require(Double(compared.1)) > 85, "all but the end of each text")

        // Prompts alone are enough where the student writes.
        try folder.write(
            (0..<12).map { "{\"prompt\": \"The \(words[$0 % 8]) saw\"}\n" }.joined(), to: "prompts.jsonl")
        try folder.write(
            recipe(
                "  on-policy: {objective: [{loss: gold, beta: 1}], rollouts: {kind: student, share: 1, max-new-tokens: 6}}\n"
            )
            .replacing("text.jsonl", with: "prompts.jsonl"), to: "prompts.yaml")
        let asked = try start("prompts.yaml", "asked").arms[0].seeds[0]
        #expect(asked.curve.last.map { $0.step == 12 && $0.loss.isFinite } == true)
        #expect(try String(contentsOfFile: folder.path("asked/log.txt"), encoding: .utf8).contains("of its own ("))

        for (arms, words) in [
            ("  a: {objective: [{loss: forward-kl}]}\n", "different tokenizers"),
            ("  a: {objective: [{loss: hidden-states}]}\n", "different tokenizers"),
            ("  a: {objective: [{loss: cross-entropy}], rollouts: {kind: teacher}}\n", "other tokens"),
        ] {
            try folder.write(recipe(arms), to: "wrong.yaml")
            let error = try #require(thrown(RetortError.self) { _ = try start("wrong.yaml", "no") })
            #expect(error.exit == .recipe && error.what.contains(words), "\(error.what)")
        }
        // The same tokenizer, a longer head: over the tokens that there are.
        try folder.write(
            data("llama3") + teacher
                + "student: {model: {kind: llama, hidden: 16, intermediate: 32, layers: 1, heads: 2, positions: 64, vocabulary: 448}}\n"
                + "arms: {a: {objective: [{loss: forward-kl}]}}\n" + train, to: "longer.yaml")
        let longer = try start("longer.yaml", "longer")
        #expect(longer.arms.map(\.role) == ["teacher", "a"])
        #expect(longer.arms[1].seeds[0].metrics["kl_to_teacher"] ?? 0 > 0.01)

        let tokens = try SmallLanguage(backend).refused("{loss: hinton, temperature: 2, alpha: 0.5}", "{loss: uld}")
        #expect(tokens?.exit == .recipe && tokens?.what.contains("needs texts") == true)
    }
}
