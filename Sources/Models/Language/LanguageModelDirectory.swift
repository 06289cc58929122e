import Foundation
import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport

/// A language model on disk as Hugging Face's library reads and writes it: `config.json` and safetensors.
public enum LanguageModelDirectory {
    /// Reads a directory; weights in one file or in shards, of f32, f16 or bf16. The model is not in training. On a device without bytes
    /// config.json is all that is looked at.
    /// - `trains`: false freezes the model and spares the memory of its gradients.
    /// - `dtype`: what the matrices of a frozen model are stored as, f32 or bf16, half the memory: other numbers are rounded. It computes in
    ///   fp32.
    /// - Throws: `RetortError` 66 for missing files, 65 for what is malformed or does not fit.
    public static func load(_ folder: String, on device: Device, trains: Bool = true, dtype: DType = .f32) throws -> (
        model: any LanguageModel, arena: ParameterArena
    ) {
        guard Folder.exists(folder) else {
            throw RetortError.missingInput(
                "there is no model directory \(folder.quoted(limit: 200))",
                help: "give a directory with config.json and model.safetensors")
        }
        let config = try ModelDirectory.configuration(folder + "/config.json")
        let model = try LanguageModelRegistry.make(config)
        if device.compute.plan != nil {
            model.setTraining(false)
            return (model, try model.materialize(on: device, seed: nil, trains: trains, dtype: dtype))
        }
        let weights = try StoredWeights(
            of: model, in: CheckpointFiles(folder: folder), storedNames: model.storedNames,
            passesOver: model.passesOver, ties: model.tiedArrays)
        model.setTraining(false)
        return (model, try ModelDirectory.fill(model, with: weights, on: device, trains: trains, dtype: dtype))
    }

    /// SHA-256 over config.json and the weights: the identity of a model.
    /// - `dtype`: what it is stored as in memory: rounded weights are another model.
    /// - Throws: `RetortError` 65, 66, 74.
    public static func digest(_ folder: String, dtype: DType = .f32) throws -> String {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter {
            $0 == "config.json" || $0.hasSuffix(".safetensors")
        }
        let parts = try names.sorted().map { try $0 + ContentHash.hexadecimal(ofFile: folder + "/" + $0) }
        return ContentHash.hexadecimal(of: Array((parts + (dtype == .f32 ? [] : [dtype.rawValue])).joined().utf8))
    }

    /// SHA-256 over the files that say how text becomes tokens: the identity of a tokenizer. Chat templates are not among them, for tokens
    /// show what they wrote.
    /// - Throws: `RetortError` 65, 66, 74.
    public static func tokenizerDigest(_ folder: String) throws -> String {
        func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: folder + "/" + name) }
        var names = [
            "added_tokens.json", "merges.txt", "special_tokens_map.json", "tokenizer.json", "tokenizer.model",
            "vocab.json", "vocab.txt",
        ].filter(has)
        // tokenizer.json says all by itself; tokenizer.model leaves to the settings what stands in front of a text.
        if !has("tokenizer.json"), has("tokenizer.model"), has("tokenizer_config.json") {
            names.append("tokenizer_config.json")
        }
        let parts = try names.map { try $0 + ContentHash.hexadecimal(ofFile: folder + "/" + $0) }
        return ContentHash.hexadecimal(of: Array(parts.joined().utf8))
    }

    /// Whether there is a tokenizer in a directory.
    public static func hasTokenizer(_ folder: String) -> Bool {
        ["tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"].contains {
            FileManager.default.fileExists(atPath: folder + "/" + $0)
        }
    }

    /// Takes the tokenizer and the settings of generation over from another directory, byte for byte, so that what was trained with them
    /// can be used like it.
    /// - Parameters:
    ///   - source: has the tokenizer.
    ///   - model: whose generation_config.json is taken instead, where it has one: the tokens that end its texts are its own.
    ///   - folder: gets them.
    /// - Throws: `RetortError` 73 or 74.
    public static func copyTokenizer(from source: String, settingsOf model: String? = nil, to folder: String) throws {
        try Folder.createWithParents(folder)
        for name in tokenizerFiles + [generationFile] {
            let sources: [String?] = name == generationFile ? [model, source] : [source]
            let paths = sources.compactMap { $0.map { $0 + "/" + name } }
            guard let path = paths.first(where: { FileManager.default.fileExists(atPath: $0) }) else { continue }
            try AtomicFile.write(try InputFile(path: path).readAll(limit: 1 << 30), to: folder + "/" + name)
        }
    }

    static let generationFile = "generation_config.json"

    private static let tokenizerFiles = [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
        "merges.txt", "vocab.txt", "tokenizer.model", "chat_template.jinja",
    ]

    /// Writes the config as it was, with the type that the weights have now, and `model.safetensors` or its shards.
    /// - `type`: what the weights are rounded to.
    /// - `shardBytes`: of a file's tensors at most, unless one alone is larger.
    /// - Throws: `RetortError` 65 for a number that the type cannot hold, 73 or 74.
    public static func save(
        _ model: any LanguageModel, to folder: String, as type: SavedType = .f32,
        shardBytes: Int = ShardedWeights.usualBytes
    ) throws {
        try HuggingFaceFiles.save(model, config: model.json, to: folder, type: type, shardBytes: shardBytes)
    }
}
