import Foundation
import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport

/// An array that goes into a file.
struct SavedArray {
    let name: String
    let shape: [Int]
    let type: ElementType
    /// Hands all of it to a file.
    let send: (SafeTensorsWriter) throws -> Void

    init(name: String, shape: [Int], type: ElementType, send: @escaping (SafeTensorsWriter) throws -> Void) {
        self.name = name
        self.shape = shape
        self.type = type
        self.send = send
    }

    /// In fp32.
    init(name: String, shape: [Int], values: @escaping () throws -> [Float]) {
        self.init(name: name, shape: shape, type: .float32) { try $0.write(try values()) }
    }

    var bytes: Int { shape.reduce(type.bits, *) / 8 }

    /// The parameters, then the buffers, each read when its turn comes.
    /// - Parameter type: what they are rounded to.
    static func all(of module: any Module, as type: SavedType = .f32) -> [SavedArray] {
        func array(_ name: String, _ shape: Dimensions, _ values: @escaping () throws -> [Float]) -> SavedArray {
            SavedArray(name: name, shape: Array(shape), type: type.element) { writer in
                try values().withUnsafeBufferPointer { try type.send($0, of: name, to: writer) }
            }
        }
        return module.parameters.map { array($0.name, $0.shape, $0.values) }
            + module.buffers.map { array($0.name, $0.shape, $0.values) }
    }

    /// Writes one safetensors file.
    /// - Throws: `RetortError` 73 or 74.
    static func write(_ arrays: [SavedArray], to file: String) throws {
        let writer = try SafeTensorsWriter(
            path: file, tensors: arrays.map { .init(name: $0.name, type: $0.type, shape: $0.shape) },
            metadata: [("format", "pt")])
        for array in arrays { try array.send(writer) }
        try writer.commit()
    }
}

/// Weights as `save_pretrained` writes them: `model.safetensors`, or `model-00001-of-0000N.safetensors` … and the index that says what is
/// where.
public enum ShardedWeights {
    /// Of a file's tensors: above it hubs and file systems begin to complain.
    public static let usualBytes = 5_000_000_000
    private static let single = "model.safetensors"
    private static let index = "model.safetensors.index.json"

    /// - Throws: `RetortError` 73 or 74.
    static func save(_ arrays: [SavedArray], to folder: String, shardBytes: Int) throws {
        let shards = cut(arrays, shardBytes)
        guard shards.count > 1 else {
            try SavedArray.write(shards.first ?? [], to: folder + "/" + single)
            return remove(index, from: folder)
        }
        var map: [(key: String, value: JSON)] = []
        for (number, shard) in shards.enumerated() {
            let file = "model-\(padded(number + 1))-of-\(padded(shards.count)).safetensors"
            try SavedArray.write(shard, to: folder + "/" + file)
            map += shard.map { ($0.name, .string(file)) }
        }
        let json: JSON = [
            "metadata": ["total_size": .int(shards.joined().reduce(0) { $0 + $1.bytes })],
            "weight_map": .object(map.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }),
        ]
        try AtomicFile.write(json.text(.pretty) + "\n", to: folder + "/" + index)
        remove(single, from: folder)
    }

    /// In order, a new shard where the next array would not fit.
    private static func cut(_ arrays: [SavedArray], _ limit: Int) -> [[SavedArray]] {
        var shards: [[SavedArray]] = []
        var filled = 0
        for array in arrays {
            if shards.isEmpty || filled > 0 && filled + array.bytes > limit {
                shards.append([])
                filled = 0
            }
            shards[shards.count - 1].append(array)
            filled += array.bytes
        }
        return shards
    }

    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }

    /// What an older save left would be read in place of the new files.
    private static func remove(_ name: String, from folder: String) {
        try? FileManager.default.removeItem(atPath: folder + "/" + name)
    }
}
