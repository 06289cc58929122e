import Foundation
import RetortSupport
import TestSupport
import Testing

/// `retort embed` on a small encoder of random weights and a vocabulary of letters.
@Suite("retort embed")
struct EmbedTests {
    private func folder() throws -> ScratchFolder {
        let folder = try ScratchFolder()
        for file in ["config.json", "model.safetensors"] {
            try FileManager.default.copyItem(
                atPath: Project.golden("models/bert_cls/" + file), toPath: folder.path(file))
        }
        let letters = "abcdefghijklmnopqrstuvwxyz".map(String.init)
        let vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + letters.map { "##" + $0 }
        try folder.write(vocabulary.joined(separator: "\n") + "\n", to: "vocab.txt")
        return folder
    }

    private func vectors(_ run: Child) throws -> [(text: String, vector: [Double])] {
        try run.stdout.split(separator: "\n").map { line in
            let row = JSONCursor(try JSON.parse(Array(line.utf8), file: "stdout"), file: "stdout")
            return (
                try row.member("text").string(), try row.member("embedding").elements().map { try $0.double() }
            )
        }
    }

    @Test("texts from the command line and from a file")
    func texts() throws {
        let folder = try folder()
        let run = try Child.retort(["embed", folder.path, "--text", "ab cd", "--text", "ef", "--device", "cpu"])
        #expect(run.exit == 0, "\(run.stderr)")
        let rows = try vectors(run)
        #expect(rows.map(\.text) == ["ab cd", "ef"])
        for row in rows {
            #expect(row.vector.count == 32)
            #expect(abs(row.vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
        }
        try folder.write("ef\r\n\nab cd", to: "texts.txt")
        let file = try Child.retort(["embed", folder.path, "--input", folder.path("texts.txt"), "--device", "cpu"])
        let again = try vectors(file)
        #expect(again.map(\.text) == ["ef", "", "ab cd"])
        for (new, old) in [(again[0], rows[1]), (again[2], rows[0])] {
            #expect(zip(new.vector, old.vector).allSatisfy { abs($0 - $1) < 1e-6 })
        }
        let rounded = try Child.retort([
            "embed", folder.path, "--text", "ab cd", "--dtype", "bf16", "--device", "cpu",
        ])
        let near = try #require(try vectors(rounded).first, "\(rounded.stderr)").vector
        #expect(near != rows[0].vector && zip(near, rows[0].vector).allSatisfy { abs($0 - $1) < 0.02 })
        let other = try Child.retort([
            "embed", folder.path, "--text", "ef", "--pooling", "max", "--no-normalize", "--json", "--device", "cpu",
        ])
        let object = JSONCursor(try JSON.parse(Array(other.stdout.utf8), file: "stdout"), file: "stdout")
        #expect(try object.member("pooling").string() == "max")
        #expect(try object.member("normalized").bool() == false)
        let vector = try #require(try object.member("rows").elements().first).member("embedding").elements()
        #expect(try vector.reduce(0) { try $0 + $1.double() * $1.double() } > 1.1)
    }

    @Test("what is wrong is said")
    func errors() throws {
        let folder = try folder()
        func exit(_ arguments: [String]) throws -> Int32 {
            try Child.retort(["embed"] + arguments + ["--device", "cpu"]).exit
        }
        #expect(try exit([folder.path]) == 64)
        #expect(try exit([folder.path, "--text", "a", "--input", "x"]) == 64)
        #expect(try exit([folder.path, "--text", "a", "--batch", "0"]) == 64)
        #expect(try exit([folder.path, "--text", "a", "--pooling", "sum"]) == 64)
        #expect(try exit([folder.path, "--text", "a", "--dtype", "f16"]) == 64)
        #expect(try exit(["/nowhere", "--text", "a"]) == 66)
        #expect(try exit([folder.path, "--input", "/nowhere"]) == 66)
        #expect(try exit([Project.golden("models/qwen3"), "--text", "a"]) == 65)
        try folder.write([0x61, 0xFF, 0x0A], to: "bad.txt")
        let bad = try Child.retort(["embed", folder.path, "--input", folder.path("bad.txt"), "--device", "cpu"])
        #expect(bad.exit == 65 && bad.stderr.contains("bad.txt:1:2"), "\(bad.stderr)")
        try folder.write("", to: "empty.txt")
        let empty = try Child.retort(["embed", folder.path, "--input", folder.path("empty.txt"), "--device", "cpu"])
        #expect(empty.exit == 65 && empty.stderr.contains("has no text") && empty.stdout == "", "\(empty.stderr)")
        // More words than the model: another tokenizer.
        let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + (0..<200).map { "w\($0)" }
        try folder.write(words.joined(separator: "\n"), to: "vocab.txt")
        #expect(try exit([folder.path, "--text", "a"]) == 65)
    }
}
