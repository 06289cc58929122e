import RetortData
import RetortRuntime
import RetortSupport

extension Decoder {
    /// Reads a Hugging Face directory: `config.json` and safetensors, in one file or in shards; f32, f16 and bf16 weights become f32.
    /// - Throws: `RetortError` 66 for missing files, 65 for what is malformed or does not fit.
    public static func load(_ folder: String, on device: Device) throws -> (model: Decoder, arena: ParameterArena) {
        guard Folder.exists(folder) else {
            throw RetortError.missingInput(
                "there is no model directory \(folder.quoted(limit: 200))",
                help: "give a directory with config.json and model.safetensors")
        }
        let path = folder + "/config.json"
        let config = try DecoderConfiguration(
            JSONCursor(
                try JSON.read(path, limits: .init(bytes: ModelDirectory.largestConfig, depth: 32, values: 100_000)),
                file: path))
        let files = try CheckpointFiles(folder: folder)
        let model = Decoder(config)
        let parameters = model.parameters
        // Shapes first: nothing is allocated for a file that lies.
        for parameter in parameters {
            let stored = try files.tensor(parameter.name)
            guard stored.shape == parameter.shape else {
                throw RetortError.badData(
                    "\(parameter.name) has shape \(stored.shape) in the file, \(parameter.shape) by config.json",
                    at: .init(file: files.path(of: parameter.name)))
            }
        }
        let known = Set(parameters.map(\.name))
        let extra = files.names.first {
            // Old checkpoints store the frequencies; tied ones may store the head again.
            !known.contains($0) && !$0.hasSuffix("rotary_emb.inv_freq") && !(config.isTied && $0 == "lm_head.weight")
        }
        if let extra {
            throw RetortError.badData(
                "\(extra.quoted(limit: 200)) belongs to no parameter of the model in config.json",
                at: .init(file: files.path(of: extra)))
        }
        let arena = try model.materialize(on: device, seed: 0)
        for parameter in parameters {
            let values = try files.floats(parameter.name)
            guard values.allSatisfy(\.isFinite) else {
                throw RetortError.badData(
                    "\(parameter.name) holds NaN or infinity", at: .init(file: files.path(of: parameter.name)))
            }
            try parameter.assign(values)
        }
        return (model, arena)
    }

    /// Writes a directory that Hugging Face's library reads: the config as it was, with the type the weights have now, and
    /// `model.safetensors`.
    /// - Throws: `RetortError` 73 or 74.
    public func save(to folder: String) throws {
        try Folder.createWithParents(folder)
        try ModelDirectory.saveWeights(of: self, to: folder + "/model.safetensors")
        guard case .object(var object) = configuration.json else { return }
        object.set(object["torch_dtype"] != nil ? "torch_dtype" : "dtype", .string("float32"))
        try AtomicFile.write(JSON.object(object).text(.pretty) + "\n", to: folder + "/config.json")
    }
}
