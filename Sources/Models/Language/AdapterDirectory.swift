import Foundation
import RetortRuntime
import RetortSupport

/// Adapters on disk as Hugging Face's PEFT reads and writes them: `adapter_config.json` and `adapter_model.safetensors`.
public enum AdapterDirectory {
    public static let configFile = "adapter_config.json"
    public static let weightsFile = "adapter_model.safetensors"

    /// Whether there are adapters in a directory, and no model.
    public static func isOne(_ folder: String) -> Bool {
        func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: folder + "/" + name) }
        return has(configFile) && !has("config.json")
    }

    static func notAModel(_ folder: String) -> RetortError {
        .badData(
            "\(folder.quoted(limit: 200)) holds adapters, not a model", at: .init(file: folder + "/" + configFile),
            help:
                "`retort convert` merges them into the model that they adapt; of a run, `final` beside them is that model"
        )
    }

    /// The model that adapters adapt, with them merged into its weights: frozen, in fp32, not in training.
    /// - `base`: its directory; nil: what adapter_config.json names, seen from here or from the adapters' directory.
    /// - Returns: the model, and where it comes from.
    /// - Throws: `RetortError` 66 for files that are missing, 65 for what is malformed, does not fit, or is another kind of adapter.
    public static func merged(
        _ folder: String, base: String? = nil, on device: Device
    ) throws -> (model: any LanguageModel, base: String) {
        let config = try JSONCursor.read(folder + "/" + configFile)
        let scale = try scale(config)
        let base = try base ?? found(config.member("base_model_name_or_path"), beside: folder)
        let (model, _) = try LanguageModelDirectory.load(base, on: device, trains: false)
        let files = try CheckpointFiles(file: folder + "/" + weightsFile)
        var known: Set<String> = []
        var arrays: [(parameter: Parameter, stored: String)] = []
        for layer in model.adaptableLayers {
            func stored(_ part: String) -> String? {
                ["", ".default"].map { "base_model.model.\(layer.name).\(part)\($0).weight" }.first(where: files.holds)
            }
            guard let down = stored("lora_A"), let up = stored("lora_B") else { continue }
            let rank = try files.tensor(down).shape.first ?? 0
            guard rank >= 1 else { throw misfit(down, try files.tensor(down).shape, files) }
            let adapter = LowRankAdapter(
                layer.name, inputs: layer.inputs, outputs: layer.outputs, rank: rank, alpha: scale(rank) * Float(rank))
            layer.adapter = adapter
            for (parameter, name) in [(adapter.down, down), (adapter.up, up)] {
                let shape = try files.tensor(name).shape
                guard shape == Array(parameter.shape) else { throw misfit(name, shape, files) }
                arrays.append((parameter, name))
                known.insert(name)
            }
        }
        if let other = files.names.first(where: { !known.contains($0) }) {
            throw RetortError.badData(
                "\(other.quoted(limit: 200)) adapts no linear layer of the blocks of the model in \(base.quoted(limit: 200))",
                at: .init(file: files.path(of: other)))
        }
        // Alive until its arrays are part of the weights.
        let arena = try ParameterArena(arrays.map(\.parameter), on: device.compute, seed: 0)
        for (parameter, name) in arrays {
            try parameter.assign(files.finiteFloats(name))
        }
        try model.mergeAdapters()
        withExtendedLifetime(arena) {}
        return (model, base)
    }

    private static func misfit(_ name: String, _ shape: [Int], _ files: CheckpointFiles) -> RetortError {
        .badData("\(name) has shape \(shape), which does not fit the layer", at: .init(file: files.path(of: name)))
    }

    /// What the product of B and A counts, by the rank.
    private static func scale(_ config: JSONCursor) throws -> (Int) -> Float {
        let kind = try config.member("peft_type")
        guard try kind.string() == "LORA" else { throw kind.failure("LORA is what can be merged") }
        for key in ["use_dora", "lora_bias"] {
            if let flag = try config.optional(key), try flag.bool() { throw flag.failure("only false is supported") }
        }
        if let bias = try config.optional("bias"), try bias.string() != "none" {
            throw bias.failure("only none is supported")
        }
        for key in ["rank_pattern", "alpha_pattern"] {
            if let pattern = try config.optional(key), try !pattern.members().isEmpty {
                throw pattern.failure("layers that count differently are not supported")
            }
        }
        if let modules = try config.optional("modules_to_save"), try !modules.elements().isEmpty {
            throw modules.failure("modules that are replaced as a whole are not supported")
        }
        let alpha = Float(try config.member("lora_alpha").double(in: -1e9...1e9))
        let isRankStable = try config.optional("use_rslora")?.bool() ?? false
        return { rank in alpha / (isRankStable ? Float(rank).squareRoot() : Float(rank)) }
    }

    private static func found(_ name: JSONCursor, beside folder: String) throws -> String {
        let path = try name.string()
        let places = path.hasPrefix("/") ? [path] : [path, folder + "/" + path]
        guard let place = places.first(where: Folder.exists) else {
            throw RetortError.missingInput(
                "the model \(path.quoted(limit: 200)) that these adapters adapt is not here", at: name.location,
                help: "name its directory with --base")
        }
        return place
    }

    /// - `base`: the directory of the model that they adapt.
    /// - Throws: `RetortError` 73 or 74.
    public static func save(
        _ adaptation: LowRankAdaptation, of model: any LanguageModel, base: String, to folder: String
    ) throws {
        let layers = model.adaptableLayers.filter { $0.adapter != nil }
        try Folder.createWithParents(folder)
        let arrays = layers.compactMap(\.adapter).flatMap(\.parameters).map { parameter in
            SavedArray(
                name: "base_model.model." + parameter.name, shape: Array(parameter.shape), values: parameter.values)
        }
        try SavedArray.write(arrays, to: folder + "/" + weightsFile)
        let targets = adaptation.targets ?? LowRankAdaptation.shortNames(of: layers)
        let config: JSON = [
            "base_model_name_or_path": .string(base),
            "bias": "none",
            // Whether weights are [inputs, outputs], as GPT-2's.
            "fan_in_fan_out": .bool(layers.contains { $0.isTransposed }),
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": adaptation.alpha == adaptation.alpha.rounded() && abs(adaptation.alpha) < 1e9
                ? .int(Int(adaptation.alpha)) : .double(Double(adaptation.alpha)),
            "lora_dropout": .double(Double("\(adaptation.dropout)") ?? 0),
            "modules_to_save": .null,
            "peft_type": "LORA",
            "r": .int(adaptation.rank),
            "target_modules": .array(targets.map(JSON.string)),
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": false,
        ]
        try AtomicFile.write(config.text(.pretty) + "\n", to: folder + "/" + configFile)
    }
}
