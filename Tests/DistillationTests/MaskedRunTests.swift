import Foundation
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Runs of encoders that guess masked tokens: words of five letters that follow each other in the alphabet.
@Suite("Runs with masked texts")
struct MaskedRunTests {
    static let recipe = """
        data: {kind: masked-texts, path: words.txt, format: lines, test: {every: 4}, tokenizer: teacher, max-length: 14, mask: {rate: 0.3}}
        teacher: {model: {kind: bert, hidden: 24, intermediate: 48, layers: 2, heads: 2, positions: 16, dropout: 0, initializer-range: 0.2}, train: {steps: 300}}
        student: {model: {kind: distilbert, hidden: 24, intermediate: 32, layers: 1, heads: 2, positions: 16, initializer-range: 0.2}}
        arms:
          student-alone: {objective: [{loss: cross-entropy}]}
          student: {preset: distilbert}
          inner: {preset: tinybert, train: {steps: 10}}
        train: {steps: 60, batch: 16, optimizer: {kind: adamw, lr: 0.005}, schedule: {kind: cosine, warmup: 5}}
        seeds: [0, 1]
        """

    static func small(_ backend: TestBackend, _ recipe: String = Self.recipe) throws -> SmallEncoders {
        let small = try SmallEncoders(backend, recipe)
        let letters = "abcdefgh".map(String.init)
        func word(_ row: Int, _ number: Int) -> String {
            let first = row * 5 + number * row + row / 8 * (3 + 4 * number)
            return (0..<(4 + (row / 3 + number) % 3)).map { letters[(first + $0) % 8] }.joined()
        }
        // No line stands there twice; some are longer than a row.
        let lines = (0..<160).map { "\(word($0, 0)) \(word($0, 1)) \(word($0 / 8, 3))" }
        try small.folder.write(lines.joined(separator: "\n") + "\n", to: "words.txt")
        return small
    }

    private func facts(_ results: RunResults) -> [String] { SmallEncoders.facts(results) }

    @Test("layout, metrics; two runs are equal bit for bit; a stopped one goes on", arguments: TestBackend.fast)
    func run(_ backend: TestBackend) throws {
        let small = try Self.small(backend)
        let results = try small.start("one").run()
        #expect(try facts(small.start("two").run()) == facts(results))
        let weights = try small.weights("one")
        #expect(try weights == small.weights("two") && weights.count == 8)
        #expect(results.arms.map(\.role) == ["teacher", "student-alone", "student", "inner"])
        #expect(
            results.arms[0].contract == ["CE(labels, q), mean over masked tokens, mask: tokens chosen to be guessed"])
        let entropy = results.arms.map { $0.spread(.crossEntropy)?.mean ?? .nan }
        // Eight letters at the beginning of a word or behind it: 2.8 nats for who knows that and no more.
        #expect(entropy[0] < 2.2 && entropy[1] < 3 && entropy[2] < 3, "\(entropy)")
        let accuracy = try #require(results.arms[0].spread(.accuracy)?.mean)
        #expect(accuracy > 0.25 && accuracy <= 1, "\(accuracy)")
        #expect(results.arms[0].spread(.klToTeacher) == nil)
        for arm in results.arms.dropFirst() {
            #expect((arm.spread(.klToTeacher)?.mean ?? 0) > 0 && (arm.spread(.agreement)?.mean ?? 2) <= 1)
        }
        #expect(
            (results.arms[2].spread(.klToTeacher)?.mean ?? 9) < (results.arms[3].spread(.klToTeacher)?.mean ?? 0))
        let log = try String(contentsOfFile: small.folder.path("one/log.txt"), encoding: .utf8)
        #expect(
            log.contains("that may be masked")
                && log.contains("5·T²·KL(p‖q), T=2, teacher entropy out, mean over all tokens, mask: no padding"))
        try small.unfinish("two", without: ["student/seed-0", "inner/seed-1"])
        #expect(try facts(small.start("two").run()) == facts(results))
        #expect(try small.weights("two") == weights)
    }

    @Test("what is saved is a directory of Hugging Face's, a teacher for others, and a start for a classifier")
    func saved() throws {
        let small = try Self.small(.cpu)
        let results = try small.start("run", "seeds=[0]").run()
        let device = try TestBackend.cpu.device()
        for (role, name, bias) in [
            ("teacher", "BertForMaskedLM", "cls.predictions.bias"),
            ("student", "DistilBertForMaskedLM", "vocab_projector.bias"),
        ] {
            let folder = small.folder.path("run/\(role)/seed-0/final")
            #expect(try Set(contents(of: folder).keys) == ["config.json", "model.safetensors", "vocab.txt"])
            let config = JSONCursor(try JSON.read(folder + "/config.json"), file: "config.json")
            #expect(try config.member("architectures").elements().map { try $0.string() } == [name])
            let model = try EncoderDirectory.load(folder, on: device).model
            #expect(model.head == .maskedLanguage && model.parameters.contains { $0.name == bias })
            // A tied matrix is written once.
            #expect(
                !model.parameters.contains {
                    ["cls.predictions.decoder.weight", "vocab_projector.weight"].contains($0.name)
                })
        }
        // Measured by themselves they have the run's numbers.
        var data = MaskedEvaluationData(
            small.folder.path("words.txt"), format: .lines, masks: MaskSettings(length: 14, rate: 0.3), every: 4)
        let (apprentice, master) = (
            small.folder.path("run/student/seed-0/final"), small.folder.path("run/teacher/seed-0/final")
        )
        let report = try evaluate(masked: apprentice, teacher: master, on: data, device: device)
        for (arm, role) in [(0, "teacher"), (2, "student")] {
            let measured = try #require(report.results.arms.first { $0.role == role }?.seeds[0])
            for key in ["accuracy", "cross_entropy", "perplexity"] + (arm == 2 ? ["agreement", "kl_to_teacher"] : []) {
                #expect(measured.metrics[key] == results.arms[arm].seeds[0].metrics[key], "\(role) \(key)")
            }
        }
        data.masks.rate = 0.5
        let others = try evaluate(masked: apprentice, teacher: nil, on: data, device: device)
        #expect(others.counts[1].count > report.counts[1].count)
        let none = thrown(RetortError.self) {
            _ = try evaluate(masked: small.folder.path("teacher"), teacher: nil, on: data, device: device)
        }
        #expect(none?.exit == .badData && none?.help.contains("BertForMaskedLM") == true)
        let classifier = try EncoderDirectory.load(master, head: .classification(classes: 3), on: device).model
        #expect(classifier.head == .classification(classes: 3), "a start for a classifier")
        // It teaches another run as it is, and has the numbers that it had.
        let teacher = try #require(Self.recipe.split(separator: "\n").first { $0.hasPrefix("teacher") })
        let student = try #require(Self.recipe.split(separator: "\n").first { $0.hasPrefix("student:") })
        let again = Self.recipe.replacing(teacher, with: "teacher: {path: run/teacher/seed-0/final}")
            .replacing(student, with: "student: {path: run/student/seed-0/final}")
        try small.folder.write(again, to: "small.yaml")
        let second = try small.start("again", "seeds=[0]", "train.optimizer.lr=0").run()
        for key in ["accuracy", "cross_entropy", "perplexity"] {
            #expect(second.arms[0].seeds[0].metrics[key] == results.arms[0].seeds[0].metrics[key], "\(key)")
            // At a rate of 0 the student stays what the first run made of it.
            #expect(second.arms[2].seeds[0].metrics[key] == results.arms[2].seeds[0].metrics[key], "\(key)")
        }
    }

    @Test("a batch in parts leaves the weights as the whole does; checkpoints go on with the same bits")
    func parts() throws {
        let small = try Self.small(.cpu)
        let common = ["seeds=[0]", "student.model.dropout=0", "train.steps=10", "teacher.train.steps=10"]
        func losses(_ output: String, _ overrides: [String]) throws -> [[Double]] {
            try small.losses(output, common + overrides)
        }
        let (whole, parts) = (try losses("whole", []), try losses("parts", ["train.micro-batch=3"]))
        for (a, b) in zip(whole.joined(), parts.joined()) { #expect(abs(a - b) < 2e-3 * abs(a) + 1e-6, "\(a) \(b)") }
        #expect(whole != parts)
        let saving = try losses("saving", ["checkpoint={steps: 3}"])
        #expect(saving == whole)
        #expect(try small.weights("saving") == small.weights("whole"))
        let again = try losses("again", ["train.activation-checkpointing=true"])
        #expect(again == whole)
        #expect(try losses("drawn", ["train.replacement=true"]) != whole)
    }

    @Test("recipes that cannot be run are refused, with the way out")
    func refusals() throws {
        let small = try Self.small(.cpu)
        func expect(_ piece: String, _ replacement: String, _ exit: ExitCode, _ words: String) throws {
            let error = try #require(try small.refused(piece, replacement), "\(replacement)")
            let text = "\(error.what) \(error.why) \(error.help)"
            #expect(error.exit == exit && text.contains(words), "\(text)")
        }
        let teacher = String(try #require(Self.recipe.split(separator: "\n").first { $0.hasPrefix("teacher") }))
        try expect(teacher, "teacher: {path: teacher}", .recipe, "BertForMaskedLM")
        try expect(teacher + "\n", "", .recipe, "needs a teacher")
        try expect("tokenizer: teacher", "tokenizer: nowhere", .missingInput, "nowhere")
        try expect(", tokenizer: teacher", "", .recipe, "data.tokenizer")
        try expect("layers: 1, heads: 2, positions: 16", "layers: 1, heads: 2, positions: 8", .recipe, "8 positions")
        try expect("rate: 0.3", "rate: 0.3, share: 0.8, random: 0.3", .recipe, "share and random")
        try expect("preset: distilbert", "preset: minillm", .recipe, "minillm")
        try expect("{loss: cross-entropy}", "{loss: info-nce}", .recipe, "info-nce")
        try expect("{loss: cross-entropy}", "{loss: hidden-states, on: masked}", .recipe, "on")
        try expect(
            "{loss: cross-entropy}", "{loss: hidden-states, student-layers: [3], teacher-layers: [1]}", .recipe,
            "no block 3")
        try small.folder.write(
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"].joined(separator: "\n"), to: "plain/vocab.txt")
        try expect("tokenizer: teacher", "tokenizer: plain", .badData, "mask token")
        // What is measured is not learned, and nothing is learned twice in an epoch.
        try small.folder.write(
            ["ab cd", "ef", "gh", "ab cd", "ef", "bc"].joined(separator: "\n"), to: "words.txt")
        let recipe = try readRecipe(small.folder.path("small.yaml"))
        let language = try #require(recipe as? LanguageRecipe)
        var said: [String] = []
        let examples = try language.data.load(tokenizers: language.tokenizers) { said.append($0) }
        #expect(
            examples.test.asked.count == 2 && examples.train.asked.count == 2 && said[0].hasPrefix("2 texts"), "\(said)"
        )
        #expect(
            thrown(RetortError.self) { try examples.checkWholeTexts() }?.exit == .recipe, "nothing to keep of masks")
    }
}
