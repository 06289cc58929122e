import Foundation
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortData
@testable import RetortDistillation

@Suite("Runs with labelled texts")
struct TextClassificationRunTests {
    static let recipe = """
        data: {kind: labelled-texts, path: labelled.tsv, label: class, test: {every: 4}}
        teacher: {path: teacher, train: {steps: 60}}
        student: {model: {kind: distilbert, hidden: 16, intermediate: 32, layers: 1, heads: 2, positions: 32}, tokenizer: own}
        arms:
          student-alone: {objective: [{loss: cross-entropy}]}
          student: {objective: [{loss: hinton, temperature: 2, alpha: 0.5}]}
          others: {objective: [{loss: dkd, ramp: {kind: warm-up, epochs: 2}}, {loss: embedding-cosine}], train: {steps: 90}}
        train: {steps: 30, batch: 8, optimizer: {kind: adamw, lr: 0.01}, schedule: {kind: cosine, warmup: 3}}
        seeds: [0, 1]
        """

    /// Three classes that a letter tells.
    func small(_ backend: TestBackend, _ recipe: String = Self.recipe) throws -> SmallEncoders {
        let small = try SmallEncoders(backend, recipe)
        let rows = (0..<60).map { row -> String in
            let kind = row * 7 % 3
            let letters = Array("bcdefghijklmnop").map(String.init)
            let word = letters[row % 15] + letters[row * 4 % 15]
            return "\(word) \(["q", "x", "v"][kind])\(letters[row * 11 % 15])\t\(["yes", "no", "maybe"][kind])\t\(word)"
        }
        try small.folder.write((["text\tclass\tmore"] + rows).joined(separator: "\n") + "\n", to: "labelled.tsv")
        return small
    }

    @Test("layout, metrics; two runs are equal bit for bit; a stopped one goes on", arguments: TestBackend.fast)
    func run(_ backend: TestBackend) throws {
        let small = try small(backend)
        let results = try small.start("one").run()
        #expect(try SmallEncoders.facts(small.start("two").run()) == SmallEncoders.facts(results))
        let weights = try small.weights("one")
        // Four models of two seeds, and the projection of the last arm.
        #expect(try weights == small.weights("two") && weights.count == 10)
        #expect(results.arms.map(\.role) == ["teacher", "student-alone", "student", "others"])
        #expect(results.classes == ["maybe", "no", "yes"] && results.quality == .accuracy)
        #expect(
            results.arms[0].contract == [
                "trained before: \(small.folder.path("teacher")); then CE(labels, q), mean over rows"
            ])
        for arm in results.arms {
            let accuracy = try #require(arm.spread(.accuracy)?.mean)
            #expect(accuracy > 0.5 && accuracy <= 1, "\(arm.role) \(accuracy)")
            let confusion = arm.seeds[0].confusion
            #expect(confusion.count == 3 && confusion.joined().reduce(0, +) == 15)
            let hits = Double((0..<3).reduce(0) { $0 + confusion[$1][$1] }) / 15
            #expect(abs(hits - (arm.seeds[0].metrics["accuracy"] ?? -1)) < 1e-12)
            #expect((arm.spread(.agreement) == nil) == (arm.role == "teacher"))
        }
        try small.unfinish("two", without: ["student/seed-0", "others/seed-1"])
        #expect(try SmallEncoders.facts(small.start("two").run()) == SmallEncoders.facts(results))
        #expect(try small.weights("two") == weights)
    }

    @Test("what is saved is a classifier with the run's numbers and classes")
    func saved() throws {
        let small = try small(.cpu)
        let results = try small.start("run", "seeds=[0]").run()
        let folder = small.folder.path("run/student/seed-0/final")
        #expect(try Set(contents(of: folder).keys) == ["config.json", "model.safetensors", "vocab.txt"])
        let device = try TestBackend.cpu.device()
        #expect(try TextClassifier(folder, on: device).classes == ["maybe", "no", "yes"])
        // The rows of the test, measured by themselves.
        let lines = try String(contentsOfFile: small.folder.path("labelled.tsv"), encoding: .utf8).split(
            separator: "\n")
        let test = [lines[0]] + lines.dropFirst().enumerated().filter { $0.offset % 4 == 0 }.map(\.element)
        try small.folder.write(test.joined(separator: "\n"), to: "test.tsv")
        let report = try evaluate(
            encoder: folder, teacher: small.folder.path("run/teacher/seed-0/final"),
            on: EncoderEvaluationData(small.folder.path("test.tsv"), fields: ["label": "class"]), device: device)
        let (said, measured) = (results.arms[2].seeds[0], report.results.arms[1].seeds[0])
        #expect(said.confusion == measured.confusion)
        for key in ["accuracy", "macro_f1", "agreement", "kl_to_teacher"] {
            #expect(abs((said.metrics[key] ?? -1) - (measured.metrics[key] ?? -2)) < 1e-5, "\(key)")
        }
        // The same rows, found by the rule of the recipe.
        let parted = try evaluate(
            encoder: folder, teacher: small.folder.path("run/teacher/seed-0/final"),
            on: EncoderEvaluationData(small.folder.path("labelled.tsv"), fields: ["label": "class"], every: 4),
            device: device)
        #expect(parted.results.arms[1].seeds[0].metrics == measured.metrics)
        #expect(parted.results.arms[1].seeds[0].confusion == said.confusion && parted.counts.map(\.count) == [15])
        // It teaches another run as it is.
        let again = Self.recipe.replacing(
            "{path: teacher, train: {steps: 60}}", with: "{path: run/teacher/seed-0/final}")
        try small.folder.write(again, to: "small.yaml")
        let second = try small.start("again", "seeds=[0]").run()
        #expect(second.arms[0].seeds[0].metrics["accuracy"] == results.arms[0].seeds[0].metrics["accuracy"])
        #expect(second.arms[2].seeds[0].metrics["accuracy"] == said.metrics["accuracy"])
        let error = try small.refused("label: class", "label: class, classes: [yes, no, maybe]")
        #expect(error?.exit == .recipe && error?.what.contains("another order") == true)
        // A class of the file that the teacher never saw: where it stands, in a table and in JSON lines.
        let table = try String(contentsOfFile: small.folder.path("labelled.tsv"), encoding: .utf8)
        try small.folder.write(table + "a b\tperhaps\tc\n", to: "labelled.tsv")
        try small.folder.write(again, to: "small.yaml")
        let unknown = thrown(RetortError.self) { _ = try small.start("unknown", "seeds=[0]") }
        #expect(unknown?.exit == .badData, "\(String(describing: unknown))")
        #expect(unknown?.location?.file.hasSuffix("labelled.tsv") == true)
        #expect(unknown?.location?.line == 62 && unknown?.location?.column == 5, "\(String(describing: unknown))")
        #expect(unknown?.why.contains("'perhaps' is not one of the 3 classes of the teacher: maybe, no, yes") == true)
        let kinds = ["yes", "no", "maybe", "no", "perhaps", "yes", "no", "maybe"]
        try small.folder.write(
            kinds.map { "{\"text\": \"b c\", \"class\": \"\($0)\"}\n" }.joined(), to: "labelled.jsonl")
        try small.folder.write(again.replacing("labelled.tsv", with: "labelled.jsonl"), to: "small.yaml")
        let line = thrown(RetortError.self) { _ = try small.start("unknown", "seeds=[0]") }
        #expect(line?.exit == .badData && line?.location?.line == 5, "\(String(describing: line))")
        #expect(line?.help.contains("give it a `train`") == true)
    }

    @Test("sum and element-mean are the mean times texts, and over classes")
    func reductions() throws {
        let recipe = Self.recipe.split(separator: "\n").map(String.init).map { line in
            if line.contains("student-alone:") { return "  mean: {objective: [{loss: forward-kl}]}" }
            if line.contains("  student:") {
                return "  sum: {objective: [{loss: forward-kl, reduction: sum}], train: {micro-batch: 3}}"
            }
            if line.contains("others:") {
                return "  elements: {objective: [{loss: forward-kl, reduction: element-mean}]}"
            }
            return line.replacing("steps: 60", with: "steps: 2")
        }.joined(separator: "\n")
        let losses = try small(.cpu, recipe).losses(
            "run", ["seeds=[0]", "student.model.dropout=0", "train.steps=1", "train.schedule={kind: constant}"])
        let values = losses.dropFirst().compactMap(\.first)
        try #require(values.count == 3 && values[0] > 0)
        #expect(abs(values[1] - 8 * values[0]) < 1e-4 * values[1], "\(values)")
        #expect(abs(values[2] - values[0] / 3) < 1e-4 * values[0], "\(values)")
    }

    @Test("pairs of texts; texts read in parts leave the weights as the whole batch does")
    func pairs() throws {
        let small = try small(.cpu)
        let common = ["seeds=[0]", "data.pair=more", "student.model.dropout=0", "train.steps=10"]
        func losses(_ output: String, _ overrides: [String]) throws -> [[Double]] {
            try small.losses(output, common + overrides)
        }
        let (whole, parts) = (try losses("whole", []), try losses("parts", ["train.micro-batch=3"]))
        for (a, b) in zip(whole.joined(), parts.joined()) { #expect(abs(a - b) < 2e-3 * abs(a) + 1e-6, "\(a) \(b)") }
        #expect(whole != parts)
    }

    @Test(
        "a teacher reads a column of its own; its student learns from texts without a class",
        arguments: TestBackend.fast)
    func quill(_ backend: TestBackend) throws {
        // The class is told by what stands behind a text as well, and by nothing else for the teacher alone.
        let small = try small(backend)
        let kinds = ["q", "x", "v"]
        func row(_ number: Int, _ label: Bool) -> String {
            let letters = Array("bcdefghijklmnop").map(String.init)
            let kind = number * 7 % 3
            let text = "\(letters[number % 15])\(kinds[kind])\(letters[number * 4 % 15])"
            return "\(text)\t\(kinds[kind])" + (label ? "\t\(["yes", "no", "maybe"][kind])" : "")
        }
        try small.folder.write(
            "text\tfound\tclass\n" + (0..<40).map { row($0, true) + "\n" }.joined(), to: "labelled.tsv")
        try small.folder.write("text\tfound\n" + (40..<90).map { row($0, false) + "\n" }.joined(), to: "more.tsv")
        let data = "label: class, teacher-pair: found, unlabelled: more.tsv"
        let recipe = Self.recipe.replacing("label: class", with: data).replacing(
            "[{loss: dkd, ramp: {kind: warm-up, epochs: 2}}, {loss: embedding-cosine}], train: {steps: 90}",
            with: "[{loss: forward-kl}], train: {steps: 60}")
        try small.folder.write(recipe, to: "small.yaml")
        let results = try small.start("run", "seeds=[0]").run()
        #expect(results.arms.map { $0.seeds[0].confusion.joined().reduce(0, +) } == [10, 10, 10, 10])
        #expect((results.arms[0].seeds[0].metrics["accuracy"] ?? 0) >= 0.8)
        #expect((results.arms[3].seeds[0].metrics["agreement"] ?? 0) >= 0.5)
        let log = try String(contentsOfFile: small.folder.path("run/log.txt"), encoding: .utf8)
        #expect(log.contains("30 texts to learn from and 50 without a class, 10 to measure on"))
        // The student reads the text alone, its teacher the pair: measured so, both have the run's numbers.
        let test = (0..<40).filter { $0 % 4 == 0 }.map { row($0, true) + "\n" }
        try small.folder.write("text\tfound\tclass\n" + test.joined(), to: "test.tsv")
        func accuracy(_ role: String, _ fields: [String: String]) throws -> Double? {
            try evaluate(
                encoder: small.folder.path("run/\(role)/seed-0/final"), teacher: nil,
                on: EncoderEvaluationData(small.folder.path("test.tsv"), fields: fields), device: backend.device()
            ).results.arms[0].seeds[0].metrics["accuracy"]
        }
        let plain = ["label": "class"]
        #expect(try accuracy("others", plain) == results.arms[3].seeds[0].metrics["accuracy"])
        #expect(
            try accuracy("teacher", ["label": "class", "pair": "found"]) == results.arms[0].seeds[0].metrics["accuracy"]
        )
        // Without the texts that have no class it learns something else.
        try small.folder.write(recipe.replacing(", unlabelled: more.tsv", with: ""), to: "small.yaml")
        let fewer = try small.start("fewer", "seeds=[0]").run()
        #expect(fewer.arms[3].seeds[0].curve.map(\.loss) != results.arms[3].seeds[0].curve.map(\.loss))
        #expect(fewer.arms[1].seeds[0].curve.map(\.loss) == results.arms[1].seeds[0].curve.map(\.loss))
        try small.folder.write(recipe.replacing("{loss: forward-kl}", with: "{loss: dkd}"), to: "small.yaml")
        let error = thrown(RetortError.self) { _ = try small.start("refused") }
        #expect(error?.exit == .recipe && error?.what.contains("the class of every text") == true)
    }

    @Test("what a step sees: the student's text, the teacher's, and no class where there is none")
    func lesson() throws {
        let device = try TestBackend.cpu.device()
        let rows = [("a", "x", 1.0), ("b", "y", 0)].map { LabelledTexts.Row(texts: [$0.0, $0.1], value: $0.2) }
        let data = try LabelledTextData(
            RowStream(rows), RowStream(rows), unlabelled: RowStream([LabelledTexts.Row(texts: ["c", "z"], value: 0)]),
            classes: ["n", "p"], reads: (teacher: [0, 1], student: [0]))
        // A teacher whose answer to a text is the text's number.
        let numbers = (0..<data.texts.count).flatMap { number -> [Float] in [Float(number), 0] }
        let teacher = try TeacherAnswers(numbers, width: 2, embeddings: nil, on: device)
        func texts(_ role: EncoderRole, _ teacher: TeacherAnswers?) throws -> [[String]] {
            let lesson = try data.lesson(for: role, teacher: teacher, seed: 0, on: device)
            let all = (0..<Int32(lesson.count)).map { $0 }
            return lesson.texts(of: all, epoch: 0).joined().map { data.texts[Int($0)] }
        }
        #expect(try texts(.student, teacher) == [["a"], ["b"], ["c"]])
        #expect(try texts(.student, nil) == [["a"], ["b"]], "who learns of nobody learns from what has a class")
        #expect(try texts(.teacher, nil) == [["a", "x"], ["b", "y"]])
        let lesson = try data.lesson(for: .student, teacher: teacher, seed: 0, on: device)
        let own = try Tensor([Float](repeating: 0, count: 6), [3, 2], on: device)
        let input = try lesson.input(
            ModelOutput(logits: own), lesson.texts(of: [2, 0, 1], epoch: 0), [2, 0, 1], .own, TrainingProgress())
        #expect(try device.compute.read(input.labels, as: Int32.self) == [-100, 1, 0])
        let seen = try input.teacher().logits.values()
        #expect([0, 2, 4].map { data.texts[Int(seen[$0])] } == [["c", "z"], ["a", "x"], ["b", "y"]])
    }

    @Test("recipes and data that do not fit are refused before anything is trained")
    func refusals() throws {
        let small = try small(.cpu)
        func refused(_ piece: String, _ replacement: String, _ words: String, exit: ExitCode = .recipe) throws {
            let error = try #require(try small.refused(piece, replacement))
            #expect("\(error)".contains(words) && error.exit == exit, "\(error)")
        }
        try refused("{path: teacher, train: {steps: 60}}", "{path: teacher}", "no classification head")
        try refused("teacher: {path: teacher, train: {steps: 60}}\n", "", "needs a teacher")
        try refused("label: class", "label: class, classes: [yes, no]", "one of the classes yes, no", exit: .badData)
        try refused("label: class", "label: class, classes: [yes, yes]", "stands twice")
        try refused("label: class", "label: kind", "'kind'", exit: .badData)
        // A teacher of two classes without names: of three words nothing says which two it would know, of three numbers their order does.
        let teacher = small.folder.path("teacher")
        let unnamed = try EncoderDirectory.load(
            teacher, head: .classification(classes: 2), on: TestBackend.cpu.device()
        ).model
        try EncoderDirectory.save(unnamed, to: small.folder.path("unnamed"))
        try LanguageModelDirectory.copyTokenizer(from: teacher, to: small.folder.path("unnamed"))
        try refused("{path: teacher, train: {steps: 60}}", "{path: unnamed}", "knows other classes than the data")
        let rows = (0..<12).map { "b c\t\($0 % 3)" }
        try small.folder.write((["text\tclass"] + rows).joined(separator: "\n") + "\n", to: "numbers.tsv")
        let numbers = Self.recipe.replacing("labelled.tsv", with: "numbers.tsv")
        try refused(
            Self.recipe, numbers.replacing("{path: teacher, train: {steps: 60}}", with: "{path: unnamed}"),
            "'2' is not one of the 2 classes of the teacher: 0, 1", exit: .badData)
        try refused("tokenizer: own}", "tokenizer: own, pooling: mean}", "pooling")
        try refused("{loss: dkd, ramp: {kind: warm-up, epochs: 2}}", "{loss: fitnet}", "fitnet")
    }
}
