import Foundation
import RetortData
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Directories written anew: the same numbers as far as their type goes, adapters merged as training merges them.
@Suite("Converted directories")
struct ConvertedDirectoryTests {
    private let device: Device
    init() throws { device = try TestBackend.cpu.device() }

    private func weights(_ folder: String) throws -> [String: [Float]] {
        let files = try CheckpointFiles(folder: folder)
        return Dictionary(uniqueKeysWithValues: try files.names.map { ($0, try files.floats($0)) })
    }

    @Test("shards of fp32 to one file of bf16, of f16, and back", arguments: [SavedType.bf16, .f16])
    func types(_ type: SavedType) throws {
        let folder = try ScratchFolder()
        let source = try ModelCopy(of: "llama_sharded_legacycfg", set: [("of_its_own", "kept")])
        try source.folder.write("{}", to: "tokenizer_config.json")
        try source.folder.write("{}", to: "1_Pooling/config.json")
        try source.folder.write("no weights", to: "notes.bin")
        let small = folder.path("parent/small")
        let made = try ConvertedDirectory.convert(source.path, to: type, folder: small, on: device)
        let (old, new) = (try weights(source.path), try weights(small))
        #expect(made.tensors == old.count && Set(new.keys) == Set(old.keys) && old.count > 10)
        #expect(made.bytes == 2 * old.values.reduce(0) { $0 + $1.count })
        for (name, values) in old {
            let expected = values.map {
                type == .bf16 ? FloatFormats.float(bfloat16: FloatFormats.bfloat16($0)) : Float(Float16($0))
            }
            #expect(new[name] == expected && expected != values || values.allSatisfy { $0 == 1 }, "\(name)")
        }
        let names = try FileManager.default.subpathsOfDirectory(atPath: small).sorted()
        #expect(
            names == [
                "1_Pooling", "1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer_config.json",
            ])
        let config = try JSON.read(small + "/config.json")
        #expect(config["torch_dtype"] == .string(type == .bf16 ? "bfloat16" : "float16") && config["dtype"] == nil)
        #expect(config["of_its_own"] == "kept")
        // Every number of the small types is one of fp32; in shards, for all readers see is an index.
        let back = folder.path("back")
        _ = try ConvertedDirectory.convert(small, to: .f32, folder: back, shardBytes: 4000, on: device)
        #expect(try weights(back) == new)
        #expect(try CheckpointFiles(folder: back).files.count > 2)
        _ = try LanguageModelDirectory.load(back, on: device)
    }

    @Test("to the nearest, ties to even")
    func rounding() {
        let cases: [(Float, UInt16)] = [
            (1, 0x3F80), (1.00390625, 0x3F80), (1.01171875, 0x3F82), (-1.0040, 0xBF81), (0, 0), (-0.0, 0x8000),
            (.infinity, 0x7F80), (Float(bitPattern: 0x7F7F_FFFF), 0x7F80), (Float(bitPattern: 0x0001_7FFF), 0x0001),
        ]
        for (value, bits) in cases { #expect(FloatFormats.bfloat16(value) == bits, "\(value)") }
        #expect(FloatFormats.float(bfloat16: FloatFormats.bfloat16(.nan)).isNaN)
    }

    @Test("adapters become what training makes of them", arguments: ["gpt2", "llama_gqa_untied"])
    func adapters(_ name: String) throws {
        let folder = try ScratchFolder()
        let adaptation = LowRankAdaptation(rank: 3, alpha: 5)
        let (model, _, _) = try LowRankAdaptationTests.trained(name, adaptation, device)
        let adapter = folder.path("adapter")
        try AdapterDirectory.save(
            adaptation, of: model, base: Project.golden("models/\(name)"), to: adapter)
        try model.mergeAdapters()
        let merged = try ConvertedDirectory.convert(adapter, to: .f32, folder: folder.path("merged"), on: device)
        #expect(merged.base == Project.golden("models/\(name)"))
        let new = try weights(folder.path("merged"))
        for parameter in model.parameters {
            #expect(try new[parameter.name] == parameter.values(), "\(parameter.name)")
        }
        #expect(try JSON.read(folder.path("merged/config.json"))["dtype"] == "float32")

        let refused = thrown(RetortError.self) { _ = try LanguageModelDirectory.load(adapter, on: device) }
        #expect(refused?.exit == .badData && refused?.help.contains("retort convert") == true)
        // Seen from the adapters' own directory, and named by hand.
        func change(_ key: String, _ value: JSON) throws {
            guard case .object(var config) = try JSON.read(adapter + "/adapter_config.json") else { return }
            config.set(key, value)
            try JSON.object(config).text().write(
                toFile: adapter + "/adapter_config.json", atomically: true, encoding: .utf8)
        }
        func error(base: String? = nil) -> RetortError? {
            let error = thrown(RetortError.self) {
                _ = try ConvertedDirectory.convert(
                    adapter, base: base, to: .f32, folder: folder.path("again"), on: device)
            }
            #expect(!Folder.exists(folder.path("again")))
            return error
        }
        try change("base_model_name_or_path", "../copy")
        #expect(error()?.exit == .missingInput)
        try FileManager.default.copyItem(
            atPath: Project.golden("models/\(name)"), toPath: folder.path("copy"))
        _ = try ConvertedDirectory.convert(adapter, to: .f32, folder: folder.path("beside"), on: device)
        #expect(try weights(folder.path("beside")) == new)
        #expect(error(base: Project.golden("models/qwen3"))?.exit == .badData)
        for (key, value) in [
            ("use_dora", true), ("peft_type", "IA3"), ("bias", "all"), ("modules_to_save", ["lm_head"]),
            ("rank_pattern", ["q_proj": 2]),
        ] as [(String, JSON)] {
            try change(key, value)
            #expect(error()?.what.contains(key) == true, "\(String(describing: error()))")
            try change(key, key == "peft_type" ? "LORA" : key == "bias" ? "none" : .null)
        }
    }

    @Test("what cannot be held, what is no model")
    func refusals() throws {
        let folder = try ScratchFolder()
        func error(_ source: String, base: String? = nil, to type: SavedType = .f32) -> RetortError? {
            thrown(RetortError.self) {
                _ = try ConvertedDirectory.convert(
                    source, base: base, to: type, folder: folder.path("new"), on: device)
            }
        }
        try folder.write("{\"model_type\": \"whatever\"}", to: "large/config.json")
        try SafeTensorsWriter.write(
            path: folder.path("large/model.safetensors"),
            tensors: [(.init(name: "w", type: .float32, shape: [2]), [Float(1), 70000].withUnsafeBytes { Array($0) })])
        let large = error(folder.path("large"), to: .f16)
        #expect(large?.exit == .badData && large?.what.contains("70000") == true, "\(String(describing: large))")
        #expect(!Folder.exists(folder.path("new")))
        let numbers: [(Float, SavedType)] = [(.nan, .f32), (-.infinity, .bf16), (.infinity, .f32), (.nan, .f16)]
        for (number, type) in numbers {
            try folder.write("{\"model_type\": \"whatever\"}", to: "wrong/config.json")
            try SafeTensorsWriter.write(
                path: folder.path("wrong/model.safetensors"),
                tensors: [
                    (.init(name: "w", type: .float32, shape: [3]), [1, 2, number].withUnsafeBytes { Array($0) })
                ])
            let wrong = error(folder.path("wrong"), to: type)
            #expect(wrong?.exit == .badData && wrong?.what == "w holds NaN or infinity", "\(String(describing: wrong))")
            #expect(wrong?.why == "element 2 is \(number)")
            #expect(wrong?.location?.file == folder.path("wrong/model.safetensors"))
            #expect(!Folder.exists(folder.path("new")))
        }
        #expect(error(folder.path("none"))?.exit == .missingInput)
        #expect(error(folder.path("large"), base: "x")?.exit == .usage)
        _ = try ConvertedDirectory.convert(folder.path("large"), to: .bf16, folder: folder.path("new"), on: device)
        #expect(error(folder.path("large"))?.exit == .cannotCreate)
    }
}
