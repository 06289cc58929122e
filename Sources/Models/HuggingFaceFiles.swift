import RetortRuntime
import RetortSupport

/// What Hugging Face's library reads of a model: weights and config.json, and nothing of ours beside them.
enum HuggingFaceFiles {
    static func save(_ module: any Module, config: JSON, to folder: String, shardBytes: Int) throws {
        try save(SavedArray.all(of: module), config: config, to: folder, shardBytes: shardBytes)
    }

    /// - Parameter config: config.json as it was read; it gets the type that the weights have now, under the key that it has for it.
    static func save(
        _ arrays: [SavedArray], config: JSON, to folder: String, shardBytes: Int = ShardedWeights.usualBytes
    ) throws {
        try Folder.createWithParents(folder)
        try ShardedWeights.save(arrays, to: folder, shardBytes: shardBytes)
        guard case .object(var object) = config else { return }
        object.set(object["torch_dtype"] != nil ? "torch_dtype" : "dtype", .string("float32"))
        try AtomicFile.write(JSON.object(object).text(.pretty) + "\n", to: folder + "/config.json")
    }
}
