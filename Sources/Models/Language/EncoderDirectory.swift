import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport

/// An encoder on disk as Hugging Face's library reads and writes it: `config.json` and safetensors.
public enum EncoderDirectory {
    /// Reads a directory; weights in one file or in shards, of f32, f16 or bf16. The model is not in training.
    /// - `head`: what shall stand on the encoder; nil: what stands on it in the directory. Another one than there begins anew.
    /// - `seed`: draws what is new.
    /// - `trains`: false freezes the model and spares the memory of its gradients.
    /// - `dtype`: what the matrices of a frozen model are stored as, f32 or bf16, half the memory: other numbers are rounded. It computes in
    ///   fp32.
    /// - Throws: `RetortError` 66 for missing files, 65 for what is malformed or does not fit.
    public static func load(
        _ folder: String, head: EncoderHead? = nil, seed: UInt64 = 0, on device: Device, trains: Bool = true,
        dtype: DType = .f32
    ) throws -> (model: any EncoderModel, arena: ParameterArena) {
        guard Folder.exists(folder) else {
            throw RetortError.missingInput(
                "there is no model directory \(folder.quoted(limit: 200))",
                help: "give a directory with config.json and model.safetensors")
        }
        let config = try ModelDirectory.configuration(folder + "/config.json")
        let type = try EncoderModelRegistry.find(config)
        let stored = try type.init(config, head: nil)
        let model = try head.map { try type.init(config, head: $0) } ?? stored
        let isNew = model.head != stored.head
        let weights = try StoredWeights(
            of: model, in: CheckpointFiles(folder: folder), storedNames: model.storedNames,
            passesOver: model.passesOver, ties: isNew ? [] : model.tiedArrays,
            // A pooler belongs to the encoder, but who had no use for it did not save it.
            begins: { name, isStored in
                isNew && model.isOfHead(name)
                    || !isStored && name.contains("pooler.") && (isNew || model.head == .none)
            })
        model.setTraining(false)
        let arena = try ModelDirectory.fill(
            model, with: weights, on: device, seed: weights.leavesSome ? seed : nil, trains: trains, dtype: dtype)
        return (model, arena)
    }

    /// What stands on the encoder of a directory.
    /// - Throws: `RetortError` 66 for missing files, 65 for a config.json that is malformed or not supported.
    public static func head(of folder: String) throws -> EncoderHead {
        let config = try ModelDirectory.configuration(folder + "/config.json")
        return try EncoderModelRegistry.find(config).init(config, head: nil).head
    }

    /// Writes the config, with the model's head and the type that the weights have now, and `model.safetensors` or its shards.
    /// - `classes`: what the classes of its head are called; empty: as its config says.
    /// - `type`: what the weights are rounded to.
    /// - `shardBytes`: of a file's tensors at most, unless one alone is larger.
    /// - Throws: `RetortError` 65 for a number that the type cannot hold, 73 or 74.
    public static func save(
        _ model: any EncoderModel, classes: [String] = [], to folder: String, as type: SavedType = .f32,
        shardBytes: Int = ShardedWeights.usualBytes
    ) throws {
        var config = model.json
        if !classes.isEmpty, case .object(var object) = config {
            object.set("id2label", .object(classes.enumerated().map { ("\($0)", .string($1)) }))
            object.set("label2id", .object(classes.enumerated().map { ($1, .int($0)) }))
            config = .object(object)
        }
        try HuggingFaceFiles.save(model, config: config, to: folder, type: type, shardBytes: shardBytes)
    }

    /// What `id2label` of a config.json says of so many classes.
    /// - Throws: `RetortError` 65 with the place for what is malformed.
    public static func classNames(_ config: JSONCursor, _ count: Int) throws -> [String] {
        let labels = try config.optional("id2label")
        return try (0..<count).map { number in
            try labels?.optional("\(number)")?.string() ?? "LABEL_\(number)"
        }
    }
}
