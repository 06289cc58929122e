import RetortData
import RetortRuntime
import RetortSupport

/// A language model on disk as Hugging Face's library reads and writes it: `config.json` and safetensors.
public enum LanguageModelDirectory {
    /// Reads a directory; weights in one file or in shards; f32, f16 and bf16 become f32.
    /// - Throws: `RetortError` 66 for missing files, 65 for what is malformed or does not fit.
    public static func load(_ folder: String, on device: Device) throws -> (
        model: any LanguageModel, arena: ParameterArena
    ) {
        guard Folder.exists(folder) else {
            throw RetortError.missingInput(
                "there is no model directory \(folder.quoted(limit: 200))",
                help: "give a directory with config.json and model.safetensors")
        }
        let path = folder + "/config.json"
        let config = JSONCursor(
            try JSON.read(path, limits: .init(bytes: ModelDirectory.largestConfig, depth: 32, values: 100_000)),
            file: path)
        let model = try LanguageModelRegistry.find(config).init(config)
        let files = try CheckpointFiles(folder: folder)
        let entries = try model.parameters.map { parameter in
            (parameter: parameter, stored: try stored(parameter, of: model, in: files))
        }
        let known = Set(entries.map(\.stored))
        if let extra = files.names.first(where: { !known.contains($0) && !model.passesOver($0) }) {
            throw RetortError.badData(
                "\(extra.quoted(limit: 200)) belongs to no parameter of the model in config.json",
                at: .init(file: files.path(of: extra)))
        }
        let arena = try model.materialize(on: device, seed: 0)
        for (parameter, stored) in entries {
            let values = try files.floats(stored)
            guard values.allSatisfy(\.isFinite) else {
                throw RetortError.badData(
                    "\(stored) holds NaN or infinity", at: .init(file: files.path(of: stored)))
            }
            try parameter.assign(values)
        }
        return (model, arena)
    }

    /// The name under which a parameter is stored, of its shape: nothing is allocated for a file that lies.
    private static func stored(
        _ parameter: Parameter, of model: any LanguageModel, in files: CheckpointFiles
    ) throws -> String {
        let names = model.storedNames(of: parameter.name)
        let name = names.first(where: files.holds) ?? parameter.name
        let stored = try files.tensor(name)
        guard stored.shape == parameter.shape else {
            throw RetortError.badData(
                "\(name) has shape \(stored.shape) in the file, \(parameter.shape) by config.json",
                at: .init(file: files.path(of: name)))
        }
        return name
    }

    /// Writes the config as it was, with the type that the weights have now, and `model.safetensors`.
    /// - Throws: `RetortError` 73 or 74.
    public static func save(_ model: any LanguageModel, to folder: String) throws {
        try Folder.createWithParents(folder)
        try ModelDirectory.saveWeights(of: model, to: folder + "/model.safetensors")
        guard case .object(var object) = model.json else { return }
        object.set(object["torch_dtype"] != nil ? "torch_dtype" : "dtype", .string("float32"))
        try AtomicFile.write(JSON.object(object).text(.pretty) + "\n", to: folder + "/config.json")
    }
}
