import Foundation
import RetortData
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// What Retort saves, read by the library it is meant for: no key missing, none too many, the same numbers.
@Suite(
    "Round trip through transformers",
    .enabled(if: getenv("RETORT_PYTHON") != nil, "RETORT_PYTHON names no Python with torch and transformers"))
struct RoundTripTests {
    /// Every architecture as its reference directory has it, tied and untied, in one file and in shards; heads exchanged.
    @Test("each architecture")
    func roundTrip() throws {
        let folder = try ScratchFolder()
        for name in DecoderGoldenTests.names {
            let isTied = try JSON.read(Project.golden("models/\(name)/config.json"))["tie_word_embeddings"] != false
            try decoder(name, isTied: isTied, "\(name)-\(isTied ? "tied" : "untied")", in: folder)
            // The other way, of new weights; GPT-2 has only one.
            guard name != "gpt2" else { continue }
            try decoder(name, isTied: !isTied, "\(name)-\(isTied ? "untied" : "tied")", in: folder)
        }
        for name in ["qwen2", "gpt2", "llama_gqa_untied"] {
            try decoder(name, isTied: nil, "\(name)-shards", in: folder, shardBytes: 20_000)
        }
        for name in EncoderGoldenTests.names {
            try encoder(name, head: nil, "\(name)", in: folder)
            try encoder(name, head: .classification(classes: 4), "\(name)-four", in: folder)
            try encoder(name, head: EncoderHead.none, "\(name)-bare", in: folder)
            try encoder(name, head: .maskedLanguage, "\(name)-words", in: folder, shardBytes: 20_000)
        }
        try encoder("distilbert_mlm", head: nil, "distilbert_mlm-untied", in: folder, isUntied: true)

        let cases = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        let run = try Child.shell(
            "\"$RETORT_PYTHON\" scripts/transformers/roundtrip.py \"$FOLDER\"", environment: ["FOLDER": folder.path])
        #expect(run.exit == 0, "\(run.stderr.suffix(2000))")
        let lines = run.stdout.split(separator: "\n")
        #expect(lines.count == cases.count && cases.count == 37, "\(lines.count) of \(cases.count)")
        for (line, name) in zip(lines, cases) {
            let result = JSONCursor(try JSON.parse(Array(line.utf8), file: name), file: name)
            #expect(try result.member("case").string() == name)
            for kind in ["missing_keys", "unexpected_keys", "mismatched_keys"] {
                #expect(try result.member(kind).value == .array([]), "\(name)")
            }
            let largest = try result.member("max_abs").double()
            #expect(try result.member("max_abs_err").double() < 2e-5 * max(1, largest), "\(name): \(line)")
        }
    }

    private let ids: [Int32] = [5, 17, 33, 2, 44, 40, 11, 8, 23, 3, 41, 0, 0, 0]
    private var valid: [Bool] { [Bool](repeating: true, count: 11) + [Bool](repeating: false, count: 3) }

    private func decoder(
        _ name: String, isTied: Bool?, _ case: String, in folder: ScratchFolder, shardBytes: Int = 1 << 30
    ) throws {
        let device = try TestBackend.cpu.device()
        let path = Project.golden("models/\(name)")
        var model: any LanguageModel = try LanguageModelDirectory.load(path, on: device).model
        let config = try JSON.read(path + "/config.json")
        if let isTied, (config["tie_word_embeddings"] != false) != isTied {
            let copy = try ModelCopy(of: name, set: [("tie_word_embeddings", .bool(isTied))], rename: { _ in nil })
            model = try Decoder(ModelDirectory.configuration(copy.path + "/config.json"))
            _ = try model.materialize(on: device, seed: 4)
            model.setTraining(false)
        }
        let output = try model.forward(TokenBatch(ids, rows: 2, valid: valid)).logits
        let target = folder.path + "/" + `case`
        try LanguageModelDirectory.save(model, to: target + "/model", shardBytes: shardBytes)
        try expect(output, types: nil, of: config, shardBytes, in: target)
    }

    private func encoder(
        _ name: String, head: EncoderHead?, _ case: String, in folder: ScratchFolder, shardBytes: Int = 1 << 30,
        isUntied: Bool = false
    ) throws {
        let device = try TestBackend.cpu.device()
        let path = Project.golden("models/\(name)")
        var model: any EncoderModel = try EncoderDirectory.load(path, head: head, seed: 3, on: device).model
        if isUntied {
            let copy = try ModelCopy(of: name, set: [("tie_word_embeddings", false)], rename: { _ in nil })
            model = try Encoder(ModelDirectory.configuration(copy.path + "/config.json"), head: nil)
            _ = try model.materialize(on: device, seed: 4)
            model.setTraining(false)
        }
        let types: [Int32]? = name.hasPrefix("bert") ? [0, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0] : nil
        let output = try model.forward(EncoderBatch(TokenBatch(ids, rows: 2, valid: valid), typeIDs: types))
        let target = folder.path + "/" + `case`
        try EncoderDirectory.save(model, to: target + "/model", shardBytes: shardBytes)
        try expect(
            output.logits ?? output.hidden, types: types, of: JSON.read(path + "/config.json"), shardBytes, in: target)
    }

    /// Writes what the other side has to find, and sees that nothing of ours is there.
    private func expect(_ output: Tensor, types: [Int32]?, of config: JSON, _ shardBytes: Int, in target: String)
        throws
    {
        var tensors: [(declaration: SafeTensorsWriter.Declaration, bytes: [UInt8])] = []
        func add(_ name: String, _ values: [Int64]) {
            tensors.append(
                (.init(name: name, type: .int64, shape: [2, 7]), values.withUnsafeBytes { Array($0) }))
        }
        add("input_ids", ids.map(Int64.init))
        add("attention_mask", valid.map { $0 ? 1 : 0 })
        if let types { add("token_type_ids", types.map(Int64.init)) }
        tensors.append(
            (
                .init(name: "output", type: .float32, shape: Array(output.shape)),
                try output.values().withUnsafeBytes { Array($0) }
            ))
        try SafeTensorsWriter.write(path: target + "/expected.safetensors", tensors: tensors)

        let files = try FileManager.default.contentsOfDirectory(atPath: target + "/model")
        let isSharded = shardBytes < 1 << 30
        for file in files {
            let isKnown =
                isSharded
                ? file.hasPrefix("model-0") && file.hasSuffix(".safetensors") || file == "model.safetensors.index.json"
                : file == "model.safetensors"
            #expect(isKnown || file == "config.json", "\(file) in \(target)")
        }
        #expect(files.count == 2 || isSharded && files.count > 3)
        guard case .object(let saved) = try JSON.read(target + "/model/config.json"),
            case .object(let before) = config
        else { return }
        // Labels are named where a classifier is new.
        let known = Set(before.keys + ["id2label", "label2id"])
        #expect(saved.keys.allSatisfy(known.contains), "\(saved.keys)")
    }
}
