import Foundation
import RetortData
import RetortModels
import RetortSupport

/// `retort inspect`: the tensors of a model (headers only), what a run directory holds, or what a tokenizer is.
public struct Inspection {
    public let text: String
    public let json: JSON

    /// - Throws: `RetortError` 65 for a damaged file, 66 when nothing is there.
    public init(_ path: String) throws {
        if path.hasSuffix(".safetensors") {
            self = try Self.tensors(path, in: [SafeTensors(path: path)], config: nil)
        } else if Self.isTokenizer(path) {
            self = try Self.tokenizer(path)
        } else if !Folder.exists(path) {
            throw RetortError.missingInput(
                "there is nothing to inspect at \(path.quoted(limit: 200))",
                help: "give a .safetensors file, a model directory, a tokenizer's file or directory or a run directory")
        } else if FileManager.default.fileExists(atPath: path + "/manifest.json") {
            self = try Self.run(path)
        } else {
            let isAdapter = AdapterDirectory.isOne(path)
            let config = path + (isAdapter ? "/" + AdapterDirectory.configFile : "/config.json")
            let files =
                try isAdapter
                ? [SafeTensors(path: path + "/" + AdapterDirectory.weightsFile)] : CheckpointFiles(folder: path).files
            self = try Self.tensors(
                files.count == 1 ? files[0].path : path, in: files,
                config: FileManager.default.fileExists(atPath: config) ? try JSON.read(config) : nil)
        }
    }

    init(text: String, json: JSON) {
        self.text = text
        self.json = json
    }

    private static func tensors(_ path: String, in files: [SafeTensors], config: JSON?) throws -> Inspection {
        let tensors = files.flatMap(\.tensors)
        var table = Table(columns: [
            ("tensor", .left), ("type", .left), ("shape", .left), ("elements", .right), ("bytes", .right),
        ])
        for tensor in tensors {
            let shape = "[" + tensor.shape.map(String.init).joined(separator: ", ") + "]"
            table.add([
                tensor.name.displayable, tensor.type.rawValue, shape, NumberFormat.grouped(tensor.elements),
                NumberFormat.grouped(tensor.bytes),
            ])
        }
        let elements = tensors.reduce(0) { $0 + $1.elements }
        let bytes = tensors.reduce(0) { $0 + $1.bytes }
        let head = config.map { "config: \($0.text())\n" } ?? ""
        return Inspection(
            text: head + table.text
                + (files.count > 1 ? "\(files.count) shards, " : "")
                + "\(tensors.count) tensors, \(NumberFormat.grouped(elements)) elements, \(NumberFormat.bytes(bytes))\n",
            json: [
                "path": .string(path), "config": config ?? .null,
                "metadata": .object((files.first?.metadata ?? []).map { (key: $0.key, value: JSON.string($0.value)) }),
                "tensors": .array(
                    tensors.map {
                        [
                            "name": .string($0.name), "dtype": .string($0.type.rawValue),
                            "shape": .array($0.shape.map(JSON.int)),
                            "bytes": .int($0.bytes),
                        ]
                    }),
            ])
    }

    private static func run(_ path: String) throws -> Inspection {
        let manifest = JSONCursor(try JSON.read(path + "/manifest.json"), file: path + "/manifest.json")
        var lines = try manifest.members().map {
            "\($0.key): \((try? $0.value.string()) ?? $0.value.value.text())".displayable
        }
        let results =
            FileManager.default.fileExists(atPath: path + "/results.json") ? try RunDirectory.results(in: path) : nil
        if let results { lines += ["", summaryTable(results)] } else { lines.append("no results yet") }
        return Inspection(
            text: lines.joined(separator: "\n") + "\n",
            json: ["manifest": manifest.value, "results": results?.summaryJSON ?? .null])
    }
}
