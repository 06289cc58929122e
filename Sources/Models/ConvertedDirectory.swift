import Foundation
import RetortData
import RetortRuntime
import RetortSupport

/// A model's directory, written anew: its weights as another type, in other shards, or with adapters merged into them.
public struct ConvertedDirectory: Sendable {
    public let tensors: Int
    public let bytes: Int
    /// The model that adapters were merged into; nil where there were none.
    public let base: String?

    /// - `source`: a directory with config.json and safetensors of any architecture, or one with LoRA adapters of a language model (PEFT's
    ///   adapter_config.json and adapter_model.safetensors).
    /// - `base`: the directory of the model that the adapters adapt; nil: the one that their config names.
    /// - `type`: what floating-point weights become, to the nearest; arrays of whole numbers stay as they are.
    /// - `folder`: must not exist.
    /// - Throws: `RetortError` 64 for a base without adapters; 65 for files that are malformed, for numbers that are not finite and for those
    ///   that the type cannot hold; 66 for missing ones; 73 or 74 for the directory.
    public static func convert(
        _ source: String, base: String? = nil, to type: SavedType, folder: String,
        shardBytes: Int = ShardedWeights.usualBytes, on device: Device
    ) throws -> ConvertedDirectory {
        guard Folder.exists(source) else {
            throw RetortError.missingInput("there is no model directory \(source.quoted(limit: 200))")
        }
        guard AdapterDirectory.isOne(source) else {
            guard base == nil else {
                throw RetortError.usage(
                    "--base is for adapters, and \(source.quoted(limit: 200)) is a model", help: "leave it out")
            }
            let config = try ModelDirectory.configuration(source + "/config.json")
            let files = try CheckpointFiles(folder: source)
            let arrays = try files.names.map { try array($0, in: files, type) }
            try write(arrays, config.value, type, filesOf: [source], to: folder, shardBytes)
            return ConvertedDirectory(tensors: arrays.count, bytes: arrays.reduce(0) { $0 + $1.bytes }, base: nil)
        }
        let (model, base) = try AdapterDirectory.merged(source, base: base, on: device)
        let arrays = SavedArray.all(of: model, as: type)
        try write(arrays, model.json, type, filesOf: [source, base], to: folder, shardBytes)
        return ConvertedDirectory(tensors: arrays.count, bytes: arrays.reduce(0) { $0 + $1.bytes }, base: base)
    }

    /// An array of files, read and written piece by piece.
    private static func array(_ name: String, in files: CheckpointFiles, _ type: SavedType) throws -> SavedArray {
        let stored = try files.tensor(name)
        switch stored.type {
        case .float32, .float16, .bfloat16:
            return SavedArray(name: name, shape: stored.shape, type: type.element) { writer in
                let piece = 1 << 22
                var values = [Float](repeating: 0, count: min(piece, stored.elements))
                for first in stride(from: 0, to: stored.elements, by: piece) {
                    try values.withUnsafeMutableBufferPointer { buffer in
                        let part = UnsafeMutableBufferPointer(rebasing: buffer.prefix(stored.elements - first))
                        try files.finiteFloats(name, from: first, into: part)
                        try type.send(UnsafeBufferPointer(part), of: name, to: writer)
                    }
                }
            }
        default:
            return SavedArray(name: name, shape: stored.shape, type: stored.type) { try $0.write(files.bytes(name)) }
        }
    }

    private static func write(
        _ arrays: [SavedArray], _ config: JSON, _ type: SavedType, filesOf sources: [String], to folder: String,
        _ shardBytes: Int
    ) throws {
        try HuggingFaceFiles.makeFolder(folder) {
            try copyFiles(from: sources, to: folder)
            try HuggingFaceFiles.save(arrays, config: config, to: folder, type: type, shardBytes: shardBytes)
        }
    }

    /// Tokenizers, settings, templates, model cards, and what a sentence encoder has in folders: all but weights and their configs. Earlier
    /// sources win.
    private static func copyFiles(from sources: [String], to folder: String) throws {
        let kinds: Set<String> = ["json", "txt", "model", "jinja", "md", "safetensors"]
        var taken: Set<String> = ["config.json", AdapterDirectory.configFile]
        for source in sources {
            for name in try FileManager.default.subpathsOfDirectory(atPath: source).sorted() {
                let parts = name.split(separator: "/")
                let isWeights = parts.count == 1 && (name.hasSuffix(".safetensors") || name.hasSuffix(".index.json"))
                guard parts.count <= 2, !parts.contains(where: { $0.hasPrefix(".") }), !isWeights,
                    kinds.contains((name as NSString).pathExtension), !Folder.exists(source + "/" + name),
                    taken.insert(name).inserted
                else { continue }
                if parts.count > 1 { try Folder.createWithParents(folder + "/" + parts[0]) }
                try AtomicFile.write(
                    try InputFile(path: source + "/" + name).readAll(limit: 1 << 30), to: folder + "/" + name)
            }
        }
    }
}

extension ConvertedDirectory {
    /// "12 tensors, 1.2 MiB in bf16, adapters merged into base".
    public func summary(_ type: SavedType) -> String {
        "\(tensors) tensors, \(NumberFormat.bytes(bytes)), floating-point ones in \(type.rawValue)"
            + (base.map { ", adapters merged into \($0.displayable)" } ?? "")
    }

    public func json(at path: String) -> JSON {
        [
            "path": .string(path), "tensors": .int(tensors), "bytes": .int(bytes),
            "base": base.map(JSON.string) ?? .null,
        ]
    }
}
