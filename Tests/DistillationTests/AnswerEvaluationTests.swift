import Foundation
import RetortModels
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

@Suite("Answers of language models")
struct AnswerEvaluationTests {
    private static let realModels = ProcessInfo.processInfo.environment["RETORT_DATA"].map { $0 + "/models" }

    /// Writes prompts with what the model itself writes to them (greedily), but for the last, whose answer is another.
    private func questions(_ folder: ScratchFolder, _ model: String, _ prompts: [String], count: Int) throws {
        let writer = try TextGenerator(model, on: TestBackend.cpu.device())
        let lines = try prompts.enumerated().map { index, prompt in
            let text = try writer.write(prompt, count: count, sampling: .init()).text
            let answer = index + 1 < prompts.count ? text : "zyx zyx"
            return (["prompt": .string(prompt), "completion": .string(answer)] as JSON).text() + "\n"
        }
        try folder.write(lines.joined(), to: "questions.jsonl")
    }

    private func ask(
        _ folder: ScratchFolder, _ model: String, _ change: (inout AnswerOptions) -> Void = { _ in }, limit: Int? = nil
    ) throws -> EvaluationReport {
        var options = AnswerOptions()
        change(&options)
        return try evaluateAnswers(
            languageModel: model, teacher: nil,
            on: LanguageEvaluationData(folder.path("questions.jsonl"), limit: limit), options,
            device: TestBackend.cpu.device(), progress: Progress(quiet: true))
    }

    private func metrics(_ report: EvaluationReport) -> [String: Double] { report.results.arms[0].seeds[0].metrics }

    @Test("a model answers as it writes; what is written is scored and kept")
    func own() throws {
        let place = try TextPlace()
        _ = try place.train()
        let prompts = ["How many after 3?", "How many", "It is"]
        try questions(place.folder, place.student, prompts, count: 10)
        let file = place.folder.path("out.jsonl")
        let report = try ask(place.folder, place.student, { ($0.count, $0.predictions) = (10, file) })
        let found = metrics(report)
        let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").map {
            try JSON.parse(Array($0.utf8), file: file)
        }
        try #require(lines.count == 3)
        #expect(lines.map { $0["prompt"] } == prompts.map { .string($0) })
        #expect(lines.map { $0["exact_match"] } == [true, true, false])
        #expect(lines[0]["place"] == .string(place.folder.path("questions.jsonl") + ":1:1"))
        #expect(lines[0]["answer"] == nil && lines[0]["role"] == "student")
        #expect(found["exact_match"] == 2.0 / 3 && found["unanswered"] == nil && report.counts[0].count == 3)
        // Every score of the table is the mean of the lines'.
        for key in ["rouge_l", "token_f1"] {
            let all = try lines.map { try JSONCursor($0, file: file).member(key).double() }
            #expect(abs((found[key] ?? -1) - all.reduce(0, +) / 3) < 1e-12)
        }
        // Another evaluation's predictions are not added to.
        let again = thrown(RetortError.self) { _ = try ask(place.folder, place.student, { $0.predictions = file }) }
        #expect(again?.exit == .cannotCreate)
        // Drawn answers: the same with the same seed.
        func drawn(_ seed: UInt64) throws -> [String: Double] {
            metrics(
                try ask(
                    place.folder, place.student, { ($0.count, $0.sampling) = (10, .init(temperature: 1, seed: seed)) })
            )
        }
        #expect(try drawn(3) == drawn(3))
        #expect(try ask(place.folder, place.student, { $0.count = 2 }, limit: 1).counts.map(\.count) == [1, 2])
    }

    @Test("answers that are looked for in the text; records without one are errors with their place")
    func rules() throws {
        let place = try TextPlace()
        _ = try place.train()
        func write(_ lines: String...) throws {
            try place.folder.write(lines.map { $0 + "\n" }.joined(), to: "questions.jsonl")
        }
        try write(#"{"prompt": "1+1?", "completion": "It makes 2\n#### 2"}"#)
        let found = metrics(try ask(place.folder, place.student, { ($0.count, $0.rule) = (3, .lastNumber) }))
        #expect(found["exact_match"] != nil && found["unanswered"] != nil)
        func refused(_ words: String, _ rule: AnswerRule? = nil) {
            let error = thrown(RetortError.self) { _ = try ask(place.folder, place.student, { $0.rule = rule }) }
            #expect(error?.exit == .badData && "\(error!)".contains(words), "\(String(describing: error))")
            #expect(error?.location?.line == 2, "\(String(describing: error))")
        }
        let good = #"{"prompt": "a", "completion": "1"}"#
        try write(good, #"{"prompt": "b", "completion": "none"}"#)
        refused("what --answer looks for", .lastNumber)
        try write(good, #"{"prompt": "\#(String(repeating: "a b ", count: 99))", "completion": "1"}"#)
        refused("64 positions")
        try write(#"{"prompt": "a"}"#)
        let error = thrown(RetortError.self) { _ = try ask(place.folder, place.student) }
        #expect(error?.exit == .badData && error?.what.contains("no answer") == true)
    }

    @Test("a conversation's last turn is what is wanted")
    func conversations() throws {
        let place = try TextPlace()
        _ = try place.train()
        let turns = #"[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "well 5"}]"#
        try place.folder.write("{\"messages\": \(turns)}\n", to: "questions.jsonl")
        var data = LanguageEvaluationData(place.folder.path("questions.jsonl"))
        data.text.template = "zephyr"
        var options = AnswerOptions()
        (options.count, options.predictions) = (2, place.folder.path("out.jsonl"))
        _ = try evaluateAnswers(
            languageModel: place.student, teacher: place.teacher, on: data, options,
            device: TestBackend.cpu.device(), progress: Progress(quiet: true))
        let lines = try String(contentsOfFile: place.folder.path("out.jsonl"), encoding: .utf8).split(separator: "\n")
        let rows = try lines.map { try JSON.parse(Array($0.utf8), file: "out.jsonl") }
        #expect(rows.map { $0["role"] } == ["teacher", "student"])
        #expect(rows.allSatisfy { $0["reference"] == "well 5" })
        let prompt = try JSONCursor(rows[0], file: "out.jsonl").member("prompt").string()
        #expect(prompt.contains("hi") && !prompt.contains("well"))
    }

    @Test("stories260K writes its own story word for word", .enabled(if: realModels != nil, "RETORT_DATA is not set"))
    func stories() throws {
        let model = (Self.realModels ?? "") + "/stories260K"
        let folder = try ScratchFolder()
        try questions(folder, model, ["Once upon a time", "Lily", "Tom"], count: 40)
        let found = metrics(try ask(folder, model, { $0.count = 40 }))
        #expect(found["exact_match"] == 2.0 / 3 && found["rouge_l"].map { $0 >= 2.0 / 3 && $0 < 1 } == true)
        let report = try evaluate(
            languageModel: model, teacher: model, on: LanguageEvaluationData(folder.path("questions.jsonl"), limit: 2),
            device: TestBackend.cpu.device())
        let student = report.results.arms[1].seeds[0].metrics
        // What it writes itself is what it finds likeliest; it does not differ from itself.
        #expect((student["accuracy"] ?? 0) > 0.9 && student["agreement"] == 1)
        #expect(abs(student["kl_to_teacher"] ?? 1) < 1e-6)
    }
}
