import Foundation
import RetortData
import RetortSupport

/// A model's directory with its tokens in another order, and perhaps others beside them: the same tokenizer, and the same predictions under
/// other ids.
public enum RenumberedDirectory {
    /// - Parameters:
    ///   - source: has tokenizer.json with a BPE, and perhaps a model.
    ///   - order: of the tokens, by their ids, what stands at each new id: all of them, and new ones.
    ///   - added: of the new ones those that are looked for in the text.
    ///   - front: a token that the tokenizer puts in front of texts instead of its own; nil: its own.
    public static func write(
        _ source: String, to folder: String, order: ([String]) -> [String], added: [String] = [], front: String? = nil
    ) throws {
        try Folder.createWithParents(folder)
        let file = try JSON.read(source + "/tokenizer.json")
        guard case .object(var whole) = file, case .object(var model)? = file["model"],
            case .object(let vocabulary)? = model["vocab"]
        else { throw RetortError.badData("no tokenizer.json with a vocabulary") }
        let old = vocabulary.members.map { member -> (String, Int) in
            guard case .int(let id) = member.value else { return (member.key, 0) }
            return (member.key, id)
        }.sorted { $0.1 < $1.1 }.map(\.0)
        let new = order(old)
        let ids = Dictionary(uniqueKeysWithValues: zip(new, new.indices))
        model.set("vocab", .object(new.enumerated().map { (key: $0.element, value: .int($0.offset)) }))
        whole.set("model", .object(model))
        if case .array(let tokens)? = file["added_tokens"] {
            let moved = tokens.map { token -> JSON in
                guard case .object(var object) = token, case .string(let text)? = token["content"] else { return token }
                object.set("id", .int(ids[text] ?? 0))
                return .object(object)
            }
            let own = added.map { text -> JSON in
                [
                    "id": .int(ids[text] ?? 0), "content": .string(text), "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true,
                ]
            }
            whole.set("added_tokens", .array(moved + own))
        }
        whole.set("post_processor", changed(file["post_processor"] ?? .null, ids, front: front))
        try AtomicFile.write(JSON.object(whole).text(), to: folder + "/tokenizer.json")
        for name in ["tokenizer_config.json"] where FileManager.default.fileExists(atPath: source + "/" + name) {
            try AtomicFile.write(
                try InputFile(path: source + "/" + name).readAll(limit: 1 << 20), to: folder + "/" + name)
        }
        guard FileManager.default.fileExists(atPath: source + "/config.json") else { return }
        try writeModel(source, folder, old, new)
    }

    /// The ids that a template puts around a text.
    private static func changed(_ processor: JSON, _ ids: [String: Int], front: String?) -> JSON {
        guard case .object(var object) = processor, case .object(let special)? = processor["special_tokens"] else {
            return processor
        }
        var tokens: [(key: String, value: JSON)] = special.members.map { member in
            let id = ids[member.key] ?? 0
            return (
                key: member.key,
                value: ["id": .string(member.key), "ids": [.int(id)], "tokens": [.string(member.key)]]
            )
        }
        if let front {
            tokens.append(
                (key: front, value: ["id": .string(front), "ids": [.int(ids[front] ?? 0)], "tokens": [.string(front)]]))
            object.set(
                "single",
                [["SpecialToken": ["id": .string(front), "type_id": 0]], ["Sequence": ["id": "A", "type_id": 0]]])
        }
        object.set("special_tokens", .object(tokens))
        return .object(object)
    }

    private static func writeModel(_ source: String, _ folder: String, _ old: [String], _ new: [String]) throws {
        guard case .object(var config) = try JSON.read(source + "/config.json") else { return }
        config.set("vocab_size", .int(new.count))
        try AtomicFile.write(JSON.object(config).text(.pretty), to: folder + "/config.json")
        let places = Dictionary(uniqueKeysWithValues: zip(old, old.indices))
        let stored = try SafeTensors(path: source + "/model.safetensors")
        var tensors: [(declaration: SafeTensorsWriter.Declaration, bytes: [UInt8])] = []
        for tensor in stored.tensors {
            let name = tensor.name
            var (values, shape) = (try stored.floats(name), tensor.shape)
            if name.hasSuffix("embed_tokens.weight") || name.hasSuffix("lm_head.weight") {
                let (own, width) = (values, shape[1])
                values = new.enumerated().flatMap { id, token -> [Float] in
                    guard let place = places[token] else {
                        return (0..<width).map { sin(Float(id * 31 + $0 * 17)) * 0.5 }
                    }
                    return Array(own[(place * width)..<((place + 1) * width)])
                }
                shape[0] = new.count
            }
            tensors.append(
                (.init(name: name, type: .float32, shape: shape), values.withUnsafeBytes { Array($0) }))
        }
        try SafeTensorsWriter.write(path: folder + "/model.safetensors", tensors: tensors)
    }
}
