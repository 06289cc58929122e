import Foundation
import RetortData
import RetortSupport
import TestSupport

@testable import RetortModels

/// A reference model's directory with some of its config changed, and, where asked for, its tensors.
struct ModelCopy {
    let folder: ScratchFolder
    var path: String { folder.path }

    /// - Parameters:
    ///   - set: keys of config.json and their values; nil takes the key away.
    ///   - rename: what a tensor is called in the copy; nil leaves it out.
    ///   - extra: further tensors, of whole numbers.
    ///   - copies: tensors once more under another name, with something added to their last number. They and `extra` want a `rename`.
    init(
        of name: String, set: [(key: String, value: JSON?)] = [], rename: ((String) -> String?)? = nil,
        extra: [(name: String, count: Int)] = [], copies: [(of: String, name: String, adding: Float)] = []
    ) throws {
        folder = try ScratchFolder()
        let good = Project.golden("models/\(name)")
        guard case .object(var config) = try JSON.read(good + "/config.json") else { return }
        for (key, value) in set {
            if let value {
                config.set(key, value)
            } else if case .object(let rest) = JSON.object(
                config.members.filter { $0.key != key }.map { ($0.key, $0.value) })
            {
                config = rest
            }
        }
        try folder.write(JSON.object(config).text(.pretty), to: "config.json")
        guard let rename else {
            for file in try FileManager.default.contentsOfDirectory(atPath: good) where file.contains("safetensors") {
                try FileManager.default.copyItem(atPath: good + "/" + file, toPath: path + "/" + file)
            }
            return
        }
        let stored = try CheckpointFiles(folder: good)
        var tensors: [(declaration: SafeTensorsWriter.Declaration, bytes: [UInt8])] = []
        for name in stored.names {
            guard let new = rename(name) else { continue }
            let values = try stored.floats(name)
            tensors.append(
                (
                    .init(name: new, type: .float32, shape: try stored.tensor(name).shape),
                    values.withUnsafeBytes { Array($0) }
                ))
        }
        for copy in copies {
            var values = try stored.floats(copy.of)
            values[values.count - 1] += copy.adding
            tensors.append(
                (
                    .init(name: copy.name, type: .float32, shape: try stored.tensor(copy.of).shape),
                    values.withUnsafeBytes { Array($0) }
                ))
        }
        for (name, count) in extra {
            tensors.append(
                (.init(name: name, type: .int64, shape: [1, count]), [UInt8](repeating: 0, count: 8 * count)))
        }
        try SafeTensorsWriter.write(path: path + "/model.safetensors", tensors: tensors)
    }
}
