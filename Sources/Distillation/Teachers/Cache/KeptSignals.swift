import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Hidden states that a cache keeps beside predictions: of every token of a text one vector of each signal.
struct KeptSignals: Sendable, Equatable {
    /// Paths and their numbers of a token, in the order in which they are stored.
    let signals: [(path: String, columns: Int)]
    /// What a number is stored as: f16, bf16 or f32.
    let dtype: DType

    static let none = KeptSignals([], .f16)
    static let dtypes: [DType] = [.f16, .bf16, .f32]

    /// - Parameter signals: in any order.
    init(_ signals: [(path: String, columns: Int)], _ dtype: DType) {
        self.signals = signals.sorted { $0.path < $1.path }
        self.dtype = dtype
    }

    static func == (a: KeptSignals, b: KeptSignals) -> Bool {
        a.signals.elementsEqual(b.signals, by: ==) && (a.dtype == b.dtype || a.signals.isEmpty)
    }

    var paths: Set<String> { Set(signals.map(\.path)) }
    /// Of one token.
    var bytes: Int { signals.reduce(0) { $0 + $1.columns } * dtype.size }
    func bytes(tokens: Int) -> Int { tokens * bytes }

    /// Where a signal's vectors of a text of so many tokens lie among all of its vectors.
    func place(of path: String, tokens: Int) -> (range: Range<Int>, columns: Int)? {
        var start = 0
        for signal in signals {
            let count = tokens * signal.columns * dtype.size
            if signal.path == path { return (start..<(start + count), signal.columns) }
            start += count
        }
        return nil
    }

    var words: String {
        signals.isEmpty
            ? "no hidden states"
            : "hidden states (\(signals.map(\.path).joined(separator: ", ")); \(dtype))"
    }

    /// Members of cache.json.
    var json: [(key: String, value: JSON)] {
        signals.isEmpty
            ? []
            : [
                ("states", .object(signals.map { (key: $0.path, value: .int($0.columns)) })),
                ("states_dtype", .string(dtype.rawValue)),
            ]
    }

    static let keys = ["states", "states_dtype"]
    private static let most = 4096

    /// - Throws: `RetortError` 65 with the place.
    init(_ file: JSONCursor) throws {
        guard let states = try file.optional(Self.keys[0]) else {
            self = .none
            return
        }
        let word = try file.member(Self.keys[1])
        guard let dtype = DType(rawValue: try word.string()), Self.dtypes.contains(dtype) else {
            throw word.failure("hidden states are stored as f16, bf16 or f32")
        }
        let signals = try states.members().map { (path: $0.key, columns: try $0.value.int(in: 1...1 << 20)) }
        guard !signals.isEmpty, signals.count <= Self.most else {
            throw states.failure("1 to \(Self.most) signals")
        }
        self.init(signals, dtype)
    }
}

extension KeptSignals {
    /// The vectors of every token of a batch, as they are stored, one signal after the other.
    /// - Parameter states: by path, `[rows, length, columns]`.
    /// - Throws: `RetortError` 65 for numbers that are not finite, or that the type cannot hold.
    func read(_ states: [String: Tensor], on device: Device) throws -> [[UInt8]] {
        try signals.map { signal in
            guard let x = states[signal.path], x.shape.last == signal.columns else {
                throw RetortError.internalBug("the signal \(signal.path) was not kept")
            }
            let values = try x.values()
            let wrong = values.first { !(abs($0) <= largest) }
            if let wrong {
                throw RetortError.badData(
                    "\(signal.path) of the teacher holds \(wrong)",
                    why: wrong.isFinite ? "\(dtype) goes up to \(largest)" : "it is not finite",
                    help: wrong.isFinite
                        ? "Store hidden states as bf16 or f32: `--states bf16`." : "Check the model with `retort eval`."
                )
            }
            guard dtype != .f32 else { return values.withUnsafeBytes { Array($0) } }
            let compute = device.compute
            let stored = try compute.empty([values.count], dtype)
            try run(Convert(), .init(x: try x.copied().view.reshaped([values.count]), y: stored), on: compute)
            return try compute.read(stored, as: UInt16.self).withUnsafeBytes { Array($0) }
        }
    }

    private var largest: Float {
        switch dtype {
        case .f16: 65504
        case .bf16: Float(bitPattern: 0x7F7F_0000)
        default: .greatestFiniteMagnitude
        }
    }

    /// Stored vectors as a tensor of fp32.
    /// - Parameter bytes: row-major `shape`.
    func tensor(_ bytes: [UInt8], _ shape: Dimensions, on device: Device) throws -> Tensor {
        let (compute, count) = (device.compute, bytes.count / dtype.size)
        func host<T: BitwiseCopyable>(_: T.Type) -> [T] {
            [T](unsafeUninitializedCapacity: count) { buffer, filled in
                UnsafeMutableRawBufferPointer(buffer).copyBytes(from: bytes)
                filled = count
            }
        }
        guard dtype != .f32 else { return Tensor(view: try compute.view(host(Float.self), shape), on: device) }
        let (stored, wide) = (try compute.view(host(UInt16.self), [count], dtype), try compute.empty([count]))
        try run(Convert(), .init(x: stored, y: wide), on: compute)
        return Tensor(view: wide.reshaped(shape), on: device)
    }
}

/// A teacher of whom only a cache is left, as losses of hidden states know it.
struct CachedLayers: TokenLayers {
    let layerCount: Int
    private let width: Int?

    /// - Throws: `RetortError` 65 for a description of no language model.
    init(_ identity: CacheIdentity, in folder: String) throws {
        let config = JSONCursor(identity.config, file: TeacherCache.description(in: folder))
        layerCount = try LanguageModelRegistry.make(config).layerCount
        width = identity.signals.signals.first?.columns
    }

    /// - Throws: `RetortError` 78 where it keeps none.
    func tokenWidth() throws -> Int {
        guard let width else {
            throw RetortError.recipe(
                "the teacher's cache keeps no hidden states",
                help: "`retort cache` with this recipe and another directory keeps what its losses ask for")
        }
        return width
    }
}
