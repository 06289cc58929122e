import Foundation
import RetortRuntime
import RetortSupport

/// What Hugging Face's library reads of a model: weights and config.json, and nothing of ours beside them.
enum HuggingFaceFiles {
    /// Makes a directory and what is in it, or nothing: half a model would only be taken for one.
    /// - Parameter path: must not exist; missing directories above it are made.
    /// - Throws: `RetortError` 73 when it exists or cannot be created; what `fill` throws.
    static func makeFolder(_ path: String, _ fill: () throws -> Void) throws {
        let name = path.reversed().drop { $0 == "/" }
        let parent = String(name.drop { $0 != "/" }.reversed())
        if !parent.isEmpty { try Folder.createWithParents(parent) }
        guard try Folder.create(path) == .created else {
            throw RetortError.cannotCreate(
                "\(path.quoted(limit: 200)) exists", help: "choose another path; nothing was touched")
        }
        do {
            try fill()
        } catch {
            try? FileManager.default.removeItem(atPath: path)
            throw error
        }
    }

    static func save(
        _ module: any Module, config: JSON, to folder: String, type: SavedType, shardBytes: Int
    ) throws {
        try save(
            SavedArray.all(of: module, as: type), config: config, to: folder, type: type, shardBytes: shardBytes)
    }

    /// - Parameter config: config.json as it was read; it gets the type that the weights have now, under the key that it has for it.
    static func save(
        _ arrays: [SavedArray], config: JSON, to folder: String, type: SavedType = .f32,
        shardBytes: Int = ShardedWeights.usualBytes
    ) throws {
        try Folder.createWithParents(folder)
        try ShardedWeights.save(arrays, to: folder, shardBytes: shardBytes)
        guard case .object(var object) = config else { return }
        object.set(object["torch_dtype"] != nil ? "torch_dtype" : "dtype", .string(type.torchName))
        try AtomicFile.write(JSON.object(object).text(.pretty) + "\n", to: folder + "/config.json")
    }
}
