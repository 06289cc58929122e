import RetortKernels
import RetortRuntime

/// The groups a user can name on the command line.
public enum BenchGroup: String, Sendable, CaseIterable {
    case gemm, conv, attention, kd, chunked, softmax, rows, optimizer, step, language, tokenizers, pictures, start
}

/// One kernel at one shape: how to make operands for it.
public struct BenchCase: Sendable {
    public let group: BenchGroup
    public let kernel: String
    public let shape: String
    /// What the numbers are stored as that its time goes by.
    let dtype: DType
    /// A matrix product; on the CPU OpenBLAS computes it.
    let isProduct: Bool
    /// Whether operands are made several times over, so that none is found in a cache.
    let rotates: Bool
    /// Whether the row says how much device memory a run takes beyond its operands.
    let measuresMemory: Bool
    /// Which memory a child process says that it needed since the device was opened; nil: what one run needs.
    let measuresProcess: ProcessMemory?
    /// Share of a call's time that kernels have to take; nil where nothing is asked.
    let kernelsGoal: Double?
    let make: @Sendable (Device, inout BenchRandom) throws -> BenchSet

    init(
        _ group: BenchGroup, _ kernel: String, _ sizes: [Int], dtype: DType = .f32, isProduct: Bool = false,
        rotates: Bool = true,
        measuresMemory: Bool = false, measuresProcess: ProcessMemory? = nil, kernelsGoal: Double? = nil,
        make: @escaping @Sendable (Device, inout BenchRandom) throws -> BenchSet
    ) {
        self.group = group
        self.kernel = kernel
        shape = sizes.map(String.init).joined(separator: "x")
        self.dtype = dtype
        self.isProduct = isProduct
        self.rotates = rotates
        self.measuresMemory = measuresMemory
        self.measuresProcess = measuresProcess
        self.kernelsGoal = kernelsGoal
        self.make = make
    }

    /// Which kernels run it on a device.
    func family(on device: Device) -> String {
        switch device.compute {
        case .cpu(let d): isProduct && !d.multipliesItself ? "openblas" : "rows-\(d.rowLevel)"
        case .openCL(let d): d.family.rawValue
        case .planned: "planned"
        }
    }
}

/// Operands for one kernel, and what must come out. A case makes several when one would stay in the caches.
final class BenchSet {
    /// Work of one call.
    let cost: Cost
    /// Calls that one `run` makes.
    let calls: Int
    /// Tokens that one call reads or writes, where that is how its speed is told.
    let tokens: Int?
    /// Measures, in seconds, the least that one call can take, where neither a copy nor arithmetic is the ceiling.
    let ceiling: (() throws -> Double)?
    /// The largest error that rounding explains, relative to the largest expected value.
    let tolerance: Double
    /// The same numbers in memory of their own; nil where making them anew is as cheap.
    let again: (() throws -> BenchSet)?
    private let body: () throws -> Void
    private let outputs: [View]
    private let device: ComputeDevice
    private let reference: (_ runs: Int) throws -> Double
    private let memory: (() -> Int)?
    /// How often `run` ran; kernels that update in place are checked against as many steps of the reference.
    private(set) var runs = 0

    /// - Parameters:
    ///   - outputs: overwritten by every run; poisoned before the clock starts.
    ///   - extraBytes: device memory that the last run needed for itself, where that is of interest.
    ///   - reference: the largest error of a sub-sample of what the last run left, against float64.
    init(
        on device: ComputeDevice, cost: Cost, calls: Int = 1, tokens: Int? = nil, outputs: [View], tolerance: Double,
        extraBytes: (() -> Int)? = nil, ceiling: (() throws -> Double)? = nil,
        again: (() throws -> BenchSet)? = nil, run: @escaping () throws -> Void,
        reference: @escaping (_ runs: Int) throws -> Double
    ) {
        self.cost = cost
        self.calls = calls
        self.tokens = tokens
        self.ceiling = ceiling
        self.again = again
        self.tolerance = tolerance
        self.outputs = outputs
        self.device = device
        self.reference = reference
        memory = extraBytes
        body = run
    }

    func run() throws {
        runs += 1
        try body()
    }

    /// Fills the outputs with NaN, integers with what no index is, so that an element nobody wrote cannot pass for a result.
    func poison() throws {
        for output in outputs {
            switch output.dtype {
            case .f32: try RetortKernels.run(Fill(.nan), .init(y: output), on: device)
            // Fill knows f32 alone.
            case .i32: try device.write([Int32](repeating: .min, count: output.count), to: output)
            case .bf16, .f16: try device.write([UInt16](repeating: 0x7FFF, count: output.count), to: output)
            case .f8e4m3, .f8e5m2, .u8: try device.write([UInt8](repeating: 0xFF, count: output.count), to: output)
            }
        }
    }

    var extraBytes: Int? { memory?() }

    /// Bytes of device memory that a run takes beyond what it is given.
    func peakBytes() throws -> Int {
        // The first run makes what stays: gradients.
        try run()
        try device.synchronize()
        device.resetPeakMemory()
        let before = device.memory.live
        try run()
        try device.synchronize()
        return device.memory.peak - before
    }

    func error() throws -> Double { try reference(runs) }
}

/// Fast random numbers for operands (SplitMix64, Steele et al. 2014): values matter less here than that they are neither zero nor
/// alike.
struct BenchRandom {
    private var state: UInt64

    init(seed: UInt64 = 1) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func integer(below bound: Int) -> Int { Int(next() >> 33) % bound }

    /// Uniform values in [−√3·deviation, √3·deviation): mean 0 and this standard deviation.
    mutating func floats(_ count: Int, deviation: Float = 1) -> [Float] {
        let scale = deviation * Float(3).squareRoot() * 2
        return [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            for i in 0..<count { buffer[i] = (Float(next() >> 40) * 0x1p-24 - 0.5) * scale }
            initialized = count
        }
    }

    /// - Parameter dtype: f32, or bf16, to which the numbers are rounded.
    mutating func view(
        _ sizes: some Sequence<Int>, _ dtype: DType = .f32, deviation: Float = 1, on device: ComputeDevice
    ) throws -> View {
        let shape = Dimensions(sizes)
        let values = floats(shape.product, deviation: deviation)
        let view = try device.empty(shape, dtype, for: .data)
        try device.write(to: view) { from, piece in
            for i in piece.indices { piece[i] = values[from + i] }
        }
        return view
    }
}
