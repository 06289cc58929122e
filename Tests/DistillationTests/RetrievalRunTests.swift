import Foundation
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortData
@testable import RetortDistillation

@Suite("Runs with queries and passages")
struct RetrievalRunTests {
    static let recipe = """
        data: {kind: retrieval, path: ranked.jsonl, scores: scores, candidates: 3, test: {every: 4}}
        student: {model: {kind: bert, hidden: 16, intermediate: 32, layers: 1, heads: 2, positions: 32}, tokenizer: own}
        arms:
          student-alone: {objective: [{loss: info-nce}]}
          student: {objective: [{loss: info-nce}, {loss: margin-mse, alpha: 0.1}]}
          listwise: {objective: [{loss: listwise-kl}]}
          pairs: {objective: [{loss: ranknet}]}
        train: {steps: 30, batch: 6, optimizer: {kind: adamw, lr: 0.01}, schedule: {kind: cosine, warmup: 3}}
        seeds: [0, 1]
        """

    /// Passages that have a word of their query; scores that say so.
    static func small(_ backend: TestBackend, _ recipe: String = Self.recipe) throws -> SmallEncoders {
        let small = try SmallEncoders(backend, recipe)
        let rows = (0..<32).map { row -> String in
            func word(_ number: Int) -> String {
                let letters = Array("abcdefghijklmnopqrstuvwxyz").map(String.init)
                return letters[number % 26] + letters[number * 7 % 26] + letters[(number + 3) % 26]
            }
            let passages = [word(row) + " " + word(row + 40), word(row + 11) + " x", word(row + 17) + " y"]
            let scores = "[\(3 + row % 3), \(row % 2), \(-(row % 4))]"
            let quoted = passages.map { "\"\($0)\"" }.joined(separator: ", ")
            return "{\"query\": \"\(word(row)) z\", \"passages\": [\(quoted)], \"scores\": \(scores)}\n"
        }
        try small.folder.write(rows.joined(), to: "ranked.jsonl")
        return small
    }

    @Test("layout, metrics; two runs are equal bit for bit; a stopped one goes on", arguments: TestBackend.fast)
    func run(_ backend: TestBackend) throws {
        let small = try Self.small(backend)
        let results = try small.start("one").run()
        #expect(try SmallEncoders.facts(small.start("two").run()) == SmallEncoders.facts(results))
        let weights = try small.weights("one")
        #expect(try weights == small.weights("two") && weights.count == 8)
        #expect(results.arms.map(\.role) == ["untrained", "student-alone", "student", "listwise", "pairs"])
        #expect(results.quality == .ndcg10)
        for arm in results.arms {
            for metric in [Metric.recall10, .ndcg10, .mrr10] {
                let value = try #require(arm.spread(metric)?.mean)
                #expect(value > 0 && value <= 1, "\(arm.role) \(metric)")
            }
            #expect(arm.seeds[0].curve.last?.step == (arm.role == "untrained" ? nil : 30))
        }
        let alone = results.arms[1].seeds[0].curve.map(\.loss)
        #expect(alone[alone.count - 1] < 0.5 * alone[0], "\(alone)")
        try small.unfinish("two", without: ["pairs/seed-0", "listwise/seed-1"])
        #expect(try SmallEncoders.facts(small.start("two").run()) == SmallEncoders.facts(results))
        #expect(try small.weights("two") == weights)
    }

    @Test("the metrics are those of the saved model's vectors")
    func metrics() throws {
        let small = try Self.small(.cpu)
        let results = try small.start("run", "seeds=[0]").run()
        let encoder = try SentenceEncoder(
            small.folder.path("run/student/seed-0/final"), on: try TestBackend.cpu.device())
        let rows = try RankedTexts.read(small.folder.path("ranked.jsonl")).rows
        let test = stride(from: 0, to: rows.count, by: 4).map { rows[$0] }
        var pool: [String] = []
        for passage in test.flatMap(\.passages) where !pool.contains(passage) { pool.append(passage) }
        let (queries, passages) = (try encoder.embed(test.map(\.query)), try encoder.embed(pool))
        var (recall, reciprocal, ndcg) = (0.0, 0.0, 0.0)
        for (row, query) in zip(test, queries) {
            let scores = passages.map { zip(query, $0).reduce(0.0) { $0 + Double($1.0) * Double($1.1) } }
            let relevant = try #require(pool.firstIndex(of: row.passages[0]))
            let rank = 1 + scores.count { $0 > scores[relevant] }
            if rank <= 10 {
                recall += 1
                reciprocal += 1 / Double(rank)
                ndcg += 1 / log2(Double(rank + 1))
            }
        }
        let said = results.arms[2].seeds[0].metrics
        for (key, value) in [("recall@10", recall), ("mrr@10", reciprocal), ("ndcg@10", ndcg)] {
            #expect(abs((said[key] ?? -1) - value / Double(test.count)) < 1e-9, "\(key)")
        }
    }

    @Test("a teacher is trained on the labels, then teaches by its vectors", arguments: TestBackend.fast)
    func teacher(_ backend: TestBackend) throws {
        let recipe = Self.recipe.replacing("scores: scores, ", with: "").replacing(
            "student: {model",
            with:
                "teacher: {model: {kind: distilbert, hidden: 24, intermediate: 48, layers: 2, heads: 2, positions: 32}, tokenizer: teacher, train: {steps: 60}}\nstudent: {model",
        ).replacing("[{loss: listwise-kl}]", with: "[{loss: listwise-kl, candidates: batch}, {loss: embedding-mse}]")
        let small = try Self.small(backend, recipe)
        let results = try small.start("run", "seeds=[0]").run()
        #expect(results.arms.map(\.role) == ["teacher", "untrained", "student-alone", "student", "listwise", "pairs"])
        #expect(results.arms[0].contract[0].contains("softmax"))
        #expect(results.arms[0].spread(.teacherSpearman) == nil)
        for arm in results.arms.dropFirst(2) {
            #expect(try #require(arm.spread(.teacherSpearman)?.mean) > 0, "\(arm.role)")
        }
        let files = try contents(of: small.folder.path("run")).keys
        #expect(files.contains("listwise/seed-0/projectors.safetensors"))
        #expect(files.contains("teacher/seed-0/final/modules.json"))
        // A run that finds its teacher finished goes on with it.
        let facts = SmallEncoders.facts(results)
        try small.unfinish("run", without: ["pairs/seed-0"])
        #expect(try SmallEncoders.facts(small.start("run", "seeds=[0]").run()) == facts)
    }

    @Test("eval of what was saved has the run's numbers", arguments: TestBackend.fast)
    func evaluated(_ backend: TestBackend) throws {
        let recipe = Self.recipe.replacing("scores: scores, ", with: "").replacing(
            "student: {model",
            with:
                "teacher: {model: {kind: distilbert, hidden: 24, intermediate: 48, layers: 2, heads: 2, positions: 32}, tokenizer: teacher, train: {steps: 20}}\nstudent: {model",
        ).replacing("[{loss: listwise-kl}]", with: "[{loss: listwise-kl, candidates: batch}]")
        let small = try Self.small(backend, recipe)
        let results = try small.start("run", "seeds=[0]").run()
        let data = RetrievalEvaluationData(small.folder.path("ranked.jsonl"), every: 4)
        func final(_ role: String) -> String { small.folder.path("run/\(role)/seed-0/final") }
        for role in ["student", "listwise"] {
            let report = try evaluate(
                retriever: final(role), teacher: final("teacher"), on: data, device: backend.device())
            #expect(report.results.arms.map(\.role) == ["teacher", "student"])
            #expect(report.counts.map(\.count) == [8, 24])
            for (found, name) in zip(report.results.arms, ["teacher", role]) {
                let said = try #require(results.arms.first { $0.role == name }).seeds[0].metrics
                for key in ["recall@10", "ndcg@10", "mrr@10", "spearman_to_teacher", "parameters", "bytes"] {
                    #expect(found.seeds[0].metrics[key] == said[key], "\(name) \(key)")
                }
                #expect(said["ndcg@10"] != nil && (said["spearman_to_teacher"] != nil) == (name == role))
            }
        }
        // Other rows, other names, no teacher.
        let text = try String(contentsOfFile: small.folder.path("ranked.jsonl"), encoding: .utf8)
        try small.folder.write(
            text.replacing("\"query\"", with: "\"question\"").replacing("\"passages\"", with: "\"texts\""),
            to: "other.jsonl")
        let other = try evaluate(
            retriever: final("student"), teacher: nil,
            on: RetrievalEvaluationData(
                small.folder.path("other.jsonl"), fields: ["query": "question", "passages": "texts"], limit: 5),
            device: backend.device())
        #expect(other.counts.map(\.count) == [5, 15] && other.results.arms.count == 1)
        #expect(other.table.contains("MRR@10 %") && other.json["queries"] == 5)
    }

    @Test("what cannot be searched with, and what is no query")
    func evalRefusals() throws {
        let place = try LetterEncoder()
        let small = try Self.small(.cpu)
        let device = try TestBackend.cpu.device()
        func refused(_ folder: String, _ data: RetrievalEvaluationData, _ exit: ExitCode, _ words: String) {
            let error = thrown(RetortError.self) {
                _ = try evaluate(retriever: folder, teacher: nil, on: data, device: device)
            }
            #expect(error?.exit == exit && "\(error!)".contains(words), "\(String(describing: error))")
        }
        let file = small.folder.path("ranked.jsonl")
        refused(place.folder.path, RetrievalEvaluationData(file), .usage, "is a classifier")
        let teacher = small.folder.path("teacher")
        refused(teacher, RetrievalEvaluationData(file, fields: ["querry": "q"]), .usage, "'query'")
        refused(teacher, RetrievalEvaluationData(file, every: 1), .usage, "--test-every is 1")
        refused(teacher, RetrievalEvaluationData(file, fields: ["query": "q"]), .badData, "ranked.jsonl:1")
        refused(teacher, RetrievalEvaluationData(small.folder.path("none")), .missingInput, "none")
    }

    @Test("texts read in parts leave the weights as the whole batch does")
    func microBatches() throws {
        let small = try Self.small(.cpu)
        func losses(_ output: String, _ override: String) throws -> [[Double]] {
            let results = try small.start(output, "seeds=[0]", "student.model.dropout=0", override).run()
            return results.arms.map { $0.seeds[0].curve.map(\.loss) }
        }
        let (whole, parts) = (try losses("whole", "train.batch=6"), try losses("parts", "train.micro-batch=5"))
        for (a, b) in zip(whole.joined(), parts.joined()) { #expect(abs(a - b) < 2e-3 * abs(a) + 1e-6, "\(a) \(b)") }
        #expect(whole != parts)
    }

    @Test("candidates: one that is relevant first, then its own, then drawn ones; none twice")
    func candidates() throws {
        func row(_ number: Int, labels: [Double]) -> RankedTexts.Row {
            RankedTexts.Row(
                query: "q\(number)", passages: labels.indices.map { "p\(number) \($0)" }, labels: labels, scores: nil,
                place: .init(file: "f"))
        }
        let rows = [row(0, labels: [0, 1, 0, 2, 0]), row(1, labels: [1]), row(2, labels: [0, 1])]
        let data = try RetrievalData(RowStream(rows), RowStream(rows), candidates: 4, hasScores: false, nil)
        let device = try TestBackend.cpu.device()
        let lesson = try #require(try data.lesson(for: .student, teacher: nil, seed: 3, on: device) as? RetrievalLesson)
        var firsts: Set<Int32> = []
        for epoch in 0..<20 {
            for example in 0..<Int32(3) {
                let chosen = lesson.chosen(example, epoch: epoch)
                let query = lesson.train[Int(example)]
                #expect(chosen.count == 4 && Set(chosen.map(\.text)).count == 4)
                for (index, one) in chosen.enumerated() {
                    let isOwn = query.passages.contains(one.text)
                    #expect(isOwn == (one.place != nil))
                    if let place = one.place {
                        #expect(query.passages[place] == one.text && query.isRelevant[place] == (index == 0))
                    }
                }
                #expect(chosen.count { $0.place != nil } == [4, 1, 2][Int(example)])
                if example == 0 { firsts.insert(chosen[0].text) }
            }
        }
        #expect(firsts.count == 2, "both relevant passages are used")
        #expect(lesson.chosen(0, epoch: 1).map(\.text) == lesson.chosen(0, epoch: 1).map(\.text))
    }

    /// Two rows of one query, two queries with one passage, and a passage that one row of a query calls relevant and another does not.
    private static let doubled: [RankedTexts.Row] = [
        ("q", ["a", "x"]), ("q", ["b", "y"]), ("r", ["a", "z"]), ("s", ["c", "c"]), ("q", ["x", "w"]),
    ].enumerated().map { number, row in
        RankedTexts.Row(
            query: row.0, passages: row.1, labels: [1, 0], scores: nil, place: .init(file: "f", line: number + 1))
    }

    @Test("what is relevant for a query is no negative of it, whichever row says so", arguments: TestBackend.fast)
    func falseNegatives(_ backend: TestBackend) throws {
        let device = try backend.device()
        let more = (0..<4).map {
            RankedTexts.Row(
                query: "t\($0)", passages: ["d\($0)"], labels: [1], scores: nil, place: .init(file: "f"))
        }
        let data = try RetrievalData(
            RowStream(Self.doubled + more), RowStream(more), candidates: 2, hasScores: false, nil)
        let lesson = try #require(try data.lesson(for: .student, teacher: nil, seed: 3, on: device) as? RetrievalLesson)
        func text(_ number: Int32) -> String { data.texts[Int(number)][0] }
        let relevant: [String: Set<String>] = ["q": ["a", "b", "x"], "r": ["a"], "s": ["c"]]
        let examples: [Int32] = [0, 1, 2, 3, 4]
        for epoch in 0..<8 {
            let texts = lesson.texts(of: examples, epoch: epoch)
            for (row, example) in examples.enumerated() {
                let own = texts[1][(2 * row)..<(2 * row + 2)].map(text)
                let answers = try #require(relevant[text(texts[0][row])])
                #expect(answers.contains(own[0]) && !answers.contains(own[1]), "drawn: \(own), row \(example)")
            }
            let labels = examples.map { 2 * $0 }
            let counted = try #require(lesson.counted(texts[1], examples, .batch, labels))
            for (row, query) in texts[0].enumerated() {
                for (column, passage) in texts[1].enumerated() {
                    let isFalse = column != 2 * row && relevant[text(query)]!.contains(text(passage))
                    #expect(counted[row * 10 + column] == (isFalse ? 0 : 1), "\(text(query)) \(text(passage))")
                }
            }
            #expect(counted.count { $0 == 0 } >= 8)
            #expect(lesson.counted(texts[1], examples, .own, examples.map { _ in 0 }) == nil)

            // The loss and its gradient, of vectors, against the rule in double.
            let values = Philox(seed: UInt64(epoch), stream: 9).normals(15 * 3, deviation: 1)
            let (vectors, leaf) = try Tensor.variable(values, [15, 3], on: device)
            let input = try lesson.input(
                ModelOutput(logits: vectors), texts, examples, .batch, TrainingProgress(epoch: epoch, epochs: 8))
            let node = try RecipeReader.readValue(
                "{loss: info-nce, temperature: 0.7}", .variant(key: "loss", RetrievalTask.losses))
            let objective = try #require(try EncoderArmTerm(node, RetrievalTask.self).objective as? any LogitObjective)
            let loss = try objective.loss(input)
            func reference(_ x: [Double]) -> Double {
                Float64Reference.mean(
                    (0..<5).map { row in
                        let columns = (0..<10).filter {
                            $0 == 2 * row || !relevant[text(texts[0][row])]!.contains(text(texts[1][$0]))
                        }
                        let scores = columns.map { column in
                            (0..<3).reduce(0.0) { $0 + x[row * 3 + $1] * x[(5 + column) * 3 + $1] }
                        }
                        let place = columns.firstIndex(of: 2 * row)!
                        return -Float64Reference.logSoftmax(scores, temperature: 0.7)[place]
                    })
            }
            let x = values.map(Double.init)
            expectClose([try loss.item()], [reference(x)], absolute: 1e-6, relative: 1e-5)
            try loss.backward()
            expectClose(try leaf.gradientValues(), Float64Reference.gradient(x, reference), absolute: 5e-6)
        }
        // With scores of the file what the file says stays, and does not count.
        let scored = Self.doubled.map {
            RankedTexts.Row(
                query: $0.query, passages: $0.passages, labels: $0.labels, scores: [1, 0], place: $0.place)
        }
        let own = try #require(
            try RetrievalData(RowStream(scored), RowStream(more), candidates: 2, hasScores: true, nil).lesson(
                for: .student, teacher: nil, seed: 3, on: device) as? RetrievalLesson)
        let texts = own.texts(of: examples, epoch: 0)
        #expect(own.counted(texts[1], examples, .own, examples.map { _ in 0 }) == [1, 0, 1, 1, 1, 1, 1, 0, 1, 1])
    }

    @Test("rows of one query are measured as one, with what is relevant in any of them")
    func merged() throws {
        let small = try Self.small(.cpu)
        func metrics(_ lines: [String]) throws -> [String: Double] {
            try small.folder.write(lines.joined(separator: "\n"), to: "test.jsonl")
            let path = small.folder.path("small.yaml")
            let results = try readRecipe(
                path, overrides: ["data.test={path: \(small.folder.path("test.jsonl"))}", "seeds=[0]", "train.steps=2"]
            ).start(
                on: TestBackend.cpu.device(), output: small.folder.path("run-\(UUID().uuidString)"),
                progress: Progress(quiet: true)
            ).run()
            let found = results.arms[1].seeds[0].metrics
            return found.filter { ["recall@10", "ndcg@10", "mrr@10"].contains($0.key) }
        }
        let others = (0..<14).map { "{\"query\": \"k\($0)\", \"passages\": [\"n\($0) o\"]}" }
        let apart = try metrics(
            [
                "{\"query\": \"ab c\", \"passages\": [\"de f\"]}",
                "{\"query\": \"ab c\", \"passages\": [\"gh i\", \"de f\"]}",
            ]
                + others)
        let together = try metrics(
            ["{\"query\": \"ab c\", \"passages\": [\"de f\", \"gh i\"], \"labels\": [1, 1]}"] + others)
        #expect(apart == together && apart.count == 3)
    }

    @Test("pairs whose scores are compared with a teacher's: all, or some, however many there are")
    func pairs() {
        let few = RetrievalTest.pairs(3, 4)
        #expect(few.count == 12 && Set(few.map { "\($0)" }).count == 12)
        for (queries, passages) in [(200, 300), (100_000, 200_000)] {
            let some = RetrievalTest.pairs(queries, passages, most: 400)
            #expect(some.count == 400 && Set(some.map { "\($0)" }).count > 350)
            #expect(some.allSatisfy { $0.query < queries && $0.passage < passages })
            #expect(some.contains { $0.query > queries / 2 } && some.contains { $0.passage > passages / 2 })
        }
    }

    @Test("recipes and data that do not fit are refused before anything is trained")
    func refusals() throws {
        let small = try Self.small(.cpu)
        func refused(_ piece: String, _ replacement: String, _ words: String, exit: ExitCode = .recipe) throws {
            let error = try #require(try small.refused(piece, replacement))
            #expect("\(error)".contains(words) && error.exit == exit, "\(error)")
        }
        try refused("scores: scores, ", "", "needs a teacher")
        try refused("student: {model", "teacher: {path: teacher}\nstudent: {model", "two teachers")
        try refused("candidates: 3", "candidates: 4", "lower data.candidates to 3", exit: .badData)
        try refused("{loss: listwise-kl}", "{loss: listwise-kl, candidates: batch}", "candidates: own")
        try refused("{loss: listwise-kl}", "{loss: embedding-mse}", "compares vectors")
        try refused("path: ranked.jsonl", "path: ranked.jsonl, query: question", "'question'", exit: .badData)
        try refused("{loss: ranknet}", "{loss: ranknet, candidates: some}", "own, batch")
        try refused("{loss: ranknet}", "{loss: bpr}", "interactions")
    }
}
