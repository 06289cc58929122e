import Foundation
import RetortSupport
import TestSupport
import Testing

/// `retort init` on the reference's small models.
@Suite("retort init")
struct InitTests {
    @Test("cut and fresh, in words and as JSON; the student can be used")
    func students() throws {
        let folder = try ScratchFolder()
        let teacher = try folder.folder("teacher")
        for file in ["config.json", "model.safetensors"] {
            try FileManager.default.copyItem(
                atPath: Project.golden("models/qwen3/" + file), toPath: teacher + "/" + file)
        }
        let tokenizer = Project.root + "/Tests/Fixtures/tokenizers/bert-uncased"
        for file in try FileManager.default.contentsOfDirectory(atPath: tokenizer) where file.hasSuffix(".json") {
            try FileManager.default.copyItem(atPath: tokenizer + "/" + file, toPath: teacher + "/" + file)
        }
        let cut = try Child.retort(["init", folder.path("cut"), "--from", teacher, "--layers", "0,2", "--hidden", "24"])
        #expect(cut.exit == 0 && cut.stdout.contains("2 of 3 layers (0, 2)"), "\(cut.stdout)\(cut.stderr)")
        #expect(
            try contents(of: folder.path("cut"))["tokenizer.json"] == contents(of: teacher)["tokenizer.json"])
        let inspected = try Child.retort(["inspect", folder.path("cut")])
        #expect(inspected.exit == 0, "\(inspected.stderr)")
        let small = try Child.retort([
            "convert", folder.path("cut"), "--output", folder.path("small"), "--dtype", "bf16", "--shard-bytes", "4000",
        ])
        #expect(
            small.exit == 0 && small.stdout.contains("floating-point ones in bf16"), "\(small.stdout)\(small.stderr)")
        let shards = try Child.retort(["inspect", folder.path("small")])
        #expect(shards.exit == 0 && shards.stdout.contains(" shards, "), "\(shards.stdout)\(shards.stderr)")
        #expect(shards.stdout.contains("model.layers.1.self_attn.q_proj.weight") && shards.stdout.contains("BF16"))

        let every = try Child.retort(["init", folder.path("every"), "--from", teacher, "--every", "2", "--json"])
        let json = try JSON.parse(Array(every.stdout.utf8), file: "stdout")
        #expect(json["layers"] == [0, 2] && json["parameters"] != nil, "\(every.stdout)")

        let config = teacher + "/config.json"
        let fresh = try Child.retort(["init", folder.path("fresh"), "--config", config, "--seed", "3"])
        #expect(fresh.exit == 0 && fresh.stdout.contains("fresh"), "\(fresh.stderr)")
        #expect(try contents(of: folder.path("fresh")).keys.contains("tokenizer.json"))
    }

    @Test("what is wrong is said, with its exit code")
    func errors() throws {
        let folder = try ScratchFolder()
        let teacher = Project.golden("models/qwen3")
        func exit(_ arguments: [String], _ words: String = "") throws -> Int32 {
            let run = try Child.retort(["init"] + arguments)
            #expect(words.isEmpty || run.stderr.contains(words), "\(run.stderr)")
            return run.exit
        }
        let new = folder.path("new")
        #expect(try exit([new]) == 64)
        #expect(try exit([new, "--from", teacher, "--config", teacher + "/config.json"]) == 64)
        #expect(try exit([new, "--config", teacher + "/config.json", "--every", "2"]) == 64)
        #expect(try exit([new, "--from", teacher, "--every", "2", "--layers", "0"]) == 64)
        #expect(try exit([new, "--from", teacher, "--seed", "1"]) == 64)
        #expect(try exit([new, "--from", teacher, "--layers", "0,x"]) == 64)
        #expect(try exit([new, "--from", teacher, "--layers", "7"], "layer 7 is not there") == 64)
        #expect(try exit([new, "--from", teacher, "--hidden", "4000"], "hidden 4000") == 64)
        #expect(try exit([new, "--from", folder.path("nowhere")]) == 66)
        #expect(try exit([new, "--config", folder.path("nowhere.json")]) == 66)
        #expect(try exit([new, "--from", teacher, "--tokenizer", folder.path], "no tokenizer") == 66)
        try folder.write("{\"model_type\": \"llama\"}", to: "config.json")
        #expect(try exit([new, "--config", folder.path("config.json")], "vocab_size") == 65)
        #expect(try exit([folder.path, "--from", teacher], "exists") == 73)
        #expect(!FileManager.default.fileExists(atPath: new))
    }
}
