import Foundation
import RetortSupport
import TestSupport
import Testing

/// `retort cache` on one of the reference's small models.
@Suite("retort cache")
struct CacheTests {
    private func recipe(_ folder: ScratchFolder) throws {
        let text = """
            data: {kind: tokens, path: \(Project.golden("models/kd_lm_hinton.expected.safetensors")), train: rows, test: rows}
            teacher: {path: \(Project.golden("models/kd_lm_hinton/teacher")), cache: \(folder.path("cache"))}
            student: {path: \(Project.golden("models/kd_lm_hinton/student"))}
            arms:
              student: {objective: [{loss: forward-kl}]}
            train: {steps: 2, batch: 2, optimizer: {kind: adamw, lr: 0.01}}
            seeds: [0]
            """
        try folder.write(text, to: "recipe.yaml")
    }

    /// Rows of tokens that the models know.
    private func rows(_ folder: ScratchFolder, _ count: Int) throws -> String {
        let ids = (0..<count).flatMap { row in (0..<8).map { place in UInt8((row * 41 + place * 5) % 50) } }
        let header = #"{"rows":{"dtype":"U8","shape":[\#(count),8],"data_offsets":[0,\#(ids.count)]}}"#
        let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
        let bytes: [UInt8] = length + Array(header.utf8) + ids
        return try folder.write(bytes, to: "rows.safetensors")
    }

    @Test("the size is told, the cache is made, a student learns from it, and nothing is read twice")
    func command() throws {
        let folder = try ScratchFolder()
        try recipe(folder)
        let data = "data.path=" + (try rows(folder, 6))
        let made = try Child.retort([
            "cache", folder.path("recipe.yaml"), data, "--top-k", "9", "--device", "cpu", "--json",
        ])
        #expect(made.exit == 0, "\(made.stderr)")
        #expect(made.stderr.contains("bytes a token (of 6 texts)"), "\(made.stderr)")
        let json = try JSON.parse(made.stdout, file: "stdout")
        #expect(json["read_tokens"] == .int(42) && json["bytes_per_token"] != .null, "\(made.stdout)")
        let again = try Child.retort(["cache", folder.path("recipe.yaml"), data, "--top-k", "9", "--device", "cpu"])
        #expect(again.exit == 0 && again.stdout.contains("0 tokens read now"), "\(again.stdout)\(again.stderr)")
        let train = try Child.retort(
            ["train", folder.path("recipe.yaml"), data, "--device", "cpu", "--output", folder.path("run")])
        let lines = train.stdout.split(separator: "\n")
        #expect(train.exit == 0 && !lines.contains { $0.hasPrefix("teacher ") }, "\(train.stdout)\(train.stderr)")
        // Students are measured by what was kept, and the table says so.
        #expect(train.stdout.contains("agreement %") && train.stdout.contains("over the 9 likeliest classes"))
    }

    @Test("what is wrong is said, with its exit code")
    func errors() throws {
        let folder = try ScratchFolder()
        try recipe(folder)
        let path = folder.path("recipe.yaml")
        let data = "data.path=" + (try rows(folder, 3))
        func exit(_ arguments: [String], _ words: String = "") throws -> Int32 {
            let run = try Child.retort(arguments + ["--device", "cpu"])
            #expect(words.isEmpty || run.stderr.contains(words), "\(run.stderr)")
            return run.exit
        }
        let help = try Child.retort(["cache", "--help"])
        #expect(help.exit == 0 && help.stdout.contains("--top-p"))
        #expect(try exit(["cache"]) == 64)
        #expect(try exit(["cache", path, data, "--top-k", "0"]) == 64)
        #expect(try exit(["cache", path, data, "--top-p", "1.5"]) == 64)
        #expect(try exit(["cache", path, data, "--bits", "40"]) == 64)
        #expect(try exit(["cache", folder.path("nowhere.yaml")]) == 66)
        #expect(try exit(["cache", "recipes/digits.yaml"], "language models") == 78)
        #expect(try exit(["cache", path, data, "teacher.path=" + folder.path("gone")], "no model directory") == 66)
        #expect(try exit(["train", path, data], "retort cache RECIPE") == 66)
        #expect(try exit(["cache", path, data, "--top-k", "9"]) == 0)
        #expect(try exit(["cache", path, data, "--top-k", "8"], "something else") == 73)
        #expect(try exit(["train", path, "data.path=" + (try rows(folder, 4))], "not in the teacher's cache") == 65)
        let shard = folder.path("cache/shard-00000.kd")
        try Data(try Data(contentsOf: URL(fileURLWithPath: shard)).dropLast()).write(to: URL(fileURLWithPath: shard))
        #expect(try exit(["train", path, data], "middle of a record") == 65)
        #expect(try exit(["cache", path, data, "--top-k", "9"]) == 0)
        #expect(try exit(["train", path, data, "--output", folder.path("run")]) == 0)
    }
}
