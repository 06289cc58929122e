import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Loading a model directory whose file the system holds in its page cache, and what can be reached at most: reading the file into memory
/// that is there. Shape: megabytes (10⁶) of weights, about.
enum LoadCase {
    static let shape = [1000]

    static func load(_ sizes: [Int] = shape) -> BenchCase {
        BenchCase(.language, "lm_load", sizes, rotates: false, measuresProcess: .resident) { device, _ in
            let folder = try WeightFolder(megabytes: sizes[0])
            var model: (any LanguageModel)?
            return BenchSet(
                on: device.compute, cost: Cost(bytes: 2 * Double(folder.bytes)), outputs: [], tolerance: 0,
                ceiling: { try folder.ceiling() },
                run: {
                    // One at a time: the next one gets the memory of the last.
                    model = nil
                    model = try LanguageModelDirectory.load(folder.path, on: device, trains: false).model
                },
                reference: { _ in try folder.holds(model) ? 0 : .infinity })
        }
    }

    /// Reading the same file and nothing else. The device does not matter.
    static func reading(_ sizes: [Int] = shape) -> BenchCase {
        BenchCase(.language, "lm_file", sizes, rotates: false, measuresProcess: .resident) { device, _ in
            let folder = try WeightFolder(megabytes: sizes[0])
            let space = FileSpace(folder.bytes)
            return BenchSet(
                on: device.compute, cost: Cost(bytes: 2 * Double(folder.bytes)), outputs: [], tolerance: 0,
                run: { try space.read(folder.file) }, reference: { _ in 0 })
        }
    }
}

/// A model directory in a temporary folder, removed with this object.
final class WeightFolder {
    let path: String
    /// Of the weights.
    let bytes: Int
    private let decoder: BenchDecoder
    var file: String { path + "/model.safetensors" }

    /// Blocks of 1024 wide layers, as many as it takes: 11.5 million parameters each.
    init(megabytes: Int) throws {
        let hidden = 1024
        let block = 2 * hidden * hidden + 2 * hidden * (hidden / 4) + 3 * hidden * 3 * hidden
        decoder = BenchDecoder(
            hidden: hidden, intermediate: 3 * hidden, layers: max(1, megabytes * 250_000 / block), heads: 16,
            keyValueHeads: 4, vocabulary: 4096)
        path = FileManager.default.temporaryDirectory.path + "/retort-bench-\(UUID().uuidString)"
        let parameters = try decoder.model().parameters
        bytes = 4 * parameters.reduce(0) { $0 + $1.count }
        try Folder.createWithParents(path)
        try AtomicFile.write(decoder.json.text(.pretty) + "\n", to: path + "/config.json")
        let writer = try SafeTensorsWriter(
            path: path + "/model.safetensors",
            tensors: parameters.map { .init(name: $0.name, type: .float32, shape: Array($0.shape)) })
        for parameter in parameters { try writer.write(Self.values(parameter)) }
        try writer.commit()
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    private static func values(_ parameter: Parameter) -> [Float] {
        var random = BenchRandom(seed: Philox.stream(parameter.name))
        return random.floats(parameter.count, deviation: 0.02)
    }

    /// Whether a model has the first and the last array of the file.
    func holds(_ model: (any LanguageModel)?) throws -> Bool {
        guard let parameters = model?.parameters, let first = parameters.first, let last = parameters.last else {
            return false
        }
        return try [first, last].allSatisfy { try $0.values() == Self.values($0) }
    }

    /// Seconds of reading the file: the median of nine.
    func ceiling() throws -> Double {
        let space = FileSpace(bytes)
        let samples = try (0..<11).map { _ in
            let start = ContinuousClock.now
            try space.read(file)
            return (ContinuousClock.now - start).seconds
        }
        return Spread(Array(samples.dropFirst(2))).median
    }
}

/// Memory for a file's bytes.
private final class FileSpace {
    private let memory: UnsafeMutableRawBufferPointer

    init(_ bytes: Int) { memory = .allocate(byteCount: bytes, alignment: 1 << 21) }

    deinit { memory.deallocate() }

    /// Reads the last bytes of a file, as many as there is room for.
    func read(_ path: String) throws {
        let file = try InputFile(path: path)
        try file.read(into: memory, offset: file.size - memory.count)
    }
}
