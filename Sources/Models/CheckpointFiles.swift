import Foundation
import RetortData
import RetortSupport

/// The weights of a Hugging Face directory: `model.safetensors`, or the shards that `model.safetensors.index.json` lists. Each file is open.
public struct CheckpointFiles: Sendable {
    /// Opened files in order, and which holds each tensor.
    public let files: [SafeTensors]
    private let owner: [String: Int]
    private let folder: String

    /// One file, by itself.
    /// - Throws: `RetortError` 66 when it is not there, 65 when it is malformed.
    init(file: String) throws {
        let single = try SafeTensors(path: file)
        self.init(
            files: [single], owner: Dictionary(single.tensors.map { ($0.name, 0) }, uniquingKeysWith: { a, _ in a }),
            folder: file)
    }

    /// - Throws: `RetortError` 66 when there is neither, 65 for an index that lies.
    public init(folder: String) throws {
        let index = folder + "/model.safetensors.index.json"
        guard FileManager.default.fileExists(atPath: index) else {
            let single = folder + "/model.safetensors"
            if !FileManager.default.fileExists(atPath: single) { throw Self.missing(folder) }
            try self.init(file: single)
            return
        }
        let cursor = try JSONCursor.read(index, limits: .init(bytes: 1 << 26, depth: 8, values: 2_000_000))
        var files: [SafeTensors] = []
        var numbers: [String: Int] = [:]
        var owner: [String: Int] = [:]
        for (name, file) in try cursor.member("weight_map").members() {
            let shard = try file.string()
            // A name, never a path: an index is a stranger's file.
            guard shard.hasSuffix(".safetensors"), !shard.contains("/"), !shard.hasPrefix(".") else {
                throw file.failure("a shard is a .safetensors file of the same directory")
            }
            if numbers[shard] == nil {
                numbers[shard] = files.count
                files.append(try SafeTensors(path: folder + "/" + shard))
            }
            guard let number = numbers[shard], files[number][name] != nil else {
                throw file.failure("\(shard) holds no such tensor")
            }
            owner[name] = number
        }
        self.init(files: files, owner: owner, folder: folder)
    }

    private init(files: [SafeTensors], owner: [String: Int], folder: String) {
        self.files = files
        self.owner = owner
        self.folder = folder
    }

    private static func missing(_ folder: String) -> RetortError {
        let pickles = (try? FileManager.default.contentsOfDirectory(atPath: folder))?.filter {
            $0.hasSuffix(".bin") || $0.hasSuffix(".pt") || $0.hasSuffix(".pth") || $0.hasSuffix(".ckpt")
        }
        guard let pickle = pickles?.sorted().first else {
            if AdapterDirectory.isOne(folder) { return AdapterDirectory.notAModel(folder) }
            return .missingInput("there is no model.safetensors in \(folder.quoted(limit: 200))")
        }
        return .badData(
            "\(pickle) is a pickle, which can run code when it is read", at: .init(file: folder + "/" + pickle),
            help: "convert it where you trust it, with its head: \(autoClass(folder)).from_pretrained(…)"
                + ".save_pretrained(…, safe_serialization=True)"
        )
    }

    /// The class of transformers that reads all weights of a directory: `AutoModel` would leave a head out.
    private static func autoClass(_ folder: String) -> String {
        let config = try? JSON.read(folder + "/config.json")
        guard case .array(let names)? = config?["architectures"], case .string(let name)? = names.first else {
            return "AutoModelForCausalLM"
        }
        for head in ["ForCausalLM", "ForMaskedLM", "ForPreTraining", "ForSequenceClassification"]
        where name.hasSuffix(head) {
            return "AutoModel" + head
        }
        return name.hasSuffix("LMHeadModel") ? "AutoModelForCausalLM" : "AutoModel"
    }

    var names: [String] { files.flatMap { $0.tensors.map(\.name) } }
    func holds(_ name: String) -> Bool { owner[name] != nil }

    /// - Throws: `RetortError` 65 when there is no such tensor.
    func tensor(_ name: String) throws -> StoredTensor { try file(name).tensor(name) }
    func floats(_ name: String) throws -> [Float] { try file(name).floats(name) }
    func floats(_ name: String, from first: Int, into buffer: UnsafeMutableBufferPointer<Float>) throws {
        try file(name).floats(name, from: first, into: buffer)
    }

    /// Whether two arrays have the same shape and numbers, a piece of each in memory at a time.
    /// - Parameter piece: elements.
    /// - Throws: `RetortError` 65 for arrays that are not there or no floating-point numbers.
    func areEqual(_ one: String, _ other: String, piece: Int = 1 << 20) throws -> Bool {
        let (left, right) = (try tensor(one), try tensor(other))
        guard left.shape == right.shape else { return false }
        var (own, theirs) = ([Float](), [Float]())
        for first in stride(from: 0, to: left.elements, by: piece) {
            let count = min(piece, left.elements - first)
            if own.count != count {
                own = [Float](repeating: 0, count: count)
                theirs = own
            }
            try own.withUnsafeMutableBufferPointer { try floats(one, from: first, into: $0) }
            try theirs.withUnsafeMutableBufferPointer { try floats(other, from: first, into: $0) }
            // Of what is no number the bits are compared: whether that may be there is another question.
            guard own == theirs || zip(own, theirs).allSatisfy({ $0 == $1 || $0.bitPattern == $1.bitPattern }) else {
                return false
            }
        }
        return true
    }

    /// Some of an array's numbers, from the one at `first` on, as many as there is room for.
    /// - Throws: `RetortError` 65 when there is no such tensor, and when a number is not finite.
    func finiteFloats(_ name: String, from first: Int, into buffer: UnsafeMutableBufferPointer<Float>) throws {
        try floats(name, from: first, into: buffer)
        // The largest of the bits without their signs: a loop that compilers turn into vectors.
        let largest = buffer.reduce(0 as UInt32) { max($0, $1.bitPattern & 0x7fff_ffff) }
        guard largest >= Float.infinity.bitPattern, let place = buffer.firstIndex(where: { !$0.isFinite }) else {
            return
        }
        throw RetortError.badData(
            "\(name) holds NaN or infinity", at: .init(file: path(of: name)),
            why: "element \(first + place) is \(buffer[place])")
    }

    /// All of them.
    /// - Throws: as above.
    func finiteFloats(_ name: String) throws -> [Float] {
        var values = [Float](repeating: 0, count: try tensor(name).elements)
        try values.withUnsafeMutableBufferPointer { try finiteFloats(name, from: 0, into: $0) }
        return values
    }

    func bytes(_ name: String) throws -> [UInt8] { try file(name).read(name) }
    func path(of name: String) -> String { owner[name].map { files[$0].path } ?? folder }

    /// What models call a head of their own.
    private static let heads: Set<String> = ["lm_head.weight", "vocab_projector.weight"]

    private func file(_ name: String) throws -> SafeTensors {
        guard let number = owner[name] else {
            throw RetortError.badData(
                "there is no tensor \(name.quoted(limit: 200))", at: .init(file: files.first?.path ?? folder),
                help: Self.heads.contains(name)
                    ? "where the head is the embedding, set tie_word_embeddings to true in config.json"
                    : EditDistance.suggestion(for: name, among: owner.keys.sorted()))
        }
        return files[number]
    }
}
