import Foundation
import RetortData
import RetortRuntime
import RetortSupport

/// A trained model on disk: `config.json` and `model.safetensors`.
public enum ModelDirectory {
    static let largestConfig = 1 << 20

    /// Writes both files; each appears whole or not at all.
    /// - Throws: `RetortError` 73 or 74.
    public static func save(_ model: any Model, to path: String) throws {
        try Folder.createWithParents(path)
        let parameters = model.parameters
        let writer = try SafeTensorsWriter(
            path: path + "/model.safetensors",
            tensors: parameters.map { .init(name: $0.name, type: .float32, shape: $0.shape) },
            metadata: [("format", "pt")])
        for parameter in parameters { try writer.write(try parameter.values()) }
        try writer.commit()
        try AtomicFile.write(model.configuration.text(.pretty) + "\n", to: path + "/config.json")
    }

    /// Builds the model that `config.json` describes and fills it with the weights, every one of which must be there and finite.
    /// - Throws: `RetortError` 65 for files that lie, 66 when one is missing.
    public static func load(_ path: String, on device: Device) throws -> (model: any Model, arena: ParameterArena) {
        guard Folder.exists(path) else {
            throw RetortError.missingInput(
                "there is no model directory \(path.quoted(limit: 200))",
                help: "give a directory with config.json and model.safetensors, for example RUN/student/seed-0/final")
        }
        let model = try model(path + "/config.json")
        let file = try SafeTensors(path: path + "/model.safetensors")
        let parameters = model.parameters
        for parameter in parameters {
            let stored = try file.tensor(parameter.name)
            guard stored.shape == parameter.shape else {
                throw RetortError.badData(
                    "\(parameter.name) has shape \(stored.shape) in the file, \(parameter.shape) in config.json",
                    at: .init(file: file.path))
            }
        }
        if let extra = file.tensors.first(where: { stored in !parameters.contains { $0.name == stored.name } }) {
            throw RetortError.badData(
                "\(extra.name.quoted()) belongs to no parameter of the model in config.json", at: .init(file: file.path)
            )
        }
        let arena = try model.materialize(on: device, seed: 0)
        for parameter in parameters {
            let values = try file.floats(parameter.name)
            guard values.allSatisfy(\.isFinite) else {
                throw RetortError.badData("\(parameter.name) holds NaN or infinity", at: .init(file: file.path))
            }
            try parameter.assign(values)
        }
        return (model, arena)
    }

    private static func model(_ path: String) throws -> any Model {
        let config = JSONCursor(
            try JSON.read(path, limits: .init(bytes: largestConfig, depth: 32, values: 100_000)), file: path)
        let kind = try config.member("model_type")
        guard try kind.string() == MLP.kind else {
            throw kind.failure("this program knows model_type \(MLP.kind.quoted())")
        }
        let layers = try config.member("layers")
        let widths = try layers.elements().map { try $0.int(in: 1...(1 << 24)) }
        guard (2...1024).contains(widths.count) else { throw layers.failure("an MLP has 2 to 1024 widths") }
        return MLP(widths)
    }
}
