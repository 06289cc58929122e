import Foundation
import RetortDistillation
import RetortSupport
import TestSupport
import Testing

@Suite("inspecting a tokenizer")
struct TokenizerInspectionTests {
    private let fixtures = Project.root + "/Tests/Fixtures/tokenizers/"

    @Test(
        "kind, size, special tokens, of a directory and of a file",
        arguments: ["stories260K", "stories260K/tokenizer.json"])
    func shown(_ name: String) throws {
        let inspection = try Inspection(fixtures + name)
        #expect(inspection.text.hasPrefix("tokenizer: BPE, 512 tokens, ids below 512\nchat template: none\n"))
        #expect(inspection.json["tokens"] == 512 && inspection.json["roles"]?["eos"]?["id"] == 2)
        #expect(inspection.text.contains("<s>") && inspection.text.contains("bos"))
    }

    @Test("a SentencePiece model", arguments: ["", "/tokenizer.model"])
    func sentencePiece(_ file: String) throws {
        let inspection = try Inspection(Project.root + "/Tests/Fixtures/sentencepiece/bpe-gemma" + file)
        #expect(inspection.text.hasPrefix("tokenizer: BPE, 640 tokens, ids below 640\nchat template: none\n"))
        #expect(inspection.json["roles"]?["bos"]?["id"] == 2)
    }

    @Test("a damaged one says where")
    func damaged() throws {
        let folder = try ScratchFolder()
        let path = try folder.write("{\n \"model\": {\"type\": \"Unigramm\"}}", to: "tokenizer.json")
        let error = try #require(thrown(RetortError.self) { _ = try Inspection(folder.path) })
        #expect(error.exit == .badData && error.location == .init(file: path, line: 2, column: 20))
    }
}
