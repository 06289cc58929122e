import RetortRuntime
import RetortSupport

/// What a measuring child process reads: `go N`, or `quit`. scripts/pytorch/peer.py speaks the same.
public enum BenchOrder: Equatable, Sendable {
    case go(Int)
    case quit

    /// - Throws: exit 64 for anything else.
    public init(_ line: String) throws {
        let words = line.split(whereSeparator: \.isWhitespace)
        if words == ["quit"] {
            self = .quit
        } else if words.count == 2, words[0] == "go", let count = Int(words[1]), count >= 1 {
            self = .go(count)
        } else {
            throw RetortError.usage("expected \"go N\" or \"quit\", got \(line.quoted())")
        }
    }

    public var line: String {
        switch self {
        case .go(let count): "go \(count)"
        case .quit: "quit"
        }
    }
}

/// What it answers: one JSON object a line.
public struct BenchAnswer: Equatable, Sendable {
    /// Microseconds of each repetition.
    public var samples: [Double]
    /// The engine in words.
    public var engine: String
    /// Memory that a call needed for itself, where that was measured.
    public var extraBytes: Double?

    public init(samples: [Double], engine: String, extraBytes: Double? = nil) {
        self.samples = samples
        self.engine = engine
        self.extraBytes = extraBytes
    }

    public var time: Spread { Spread(samples) }

    func json(kernel: String, shape: String) -> JSON {
        let time = time
        var members: [(key: String, value: JSON)] = [
            ("kernel", .string(kernel)), ("shape", .string(shape)), ("median_us", .double(rounded(time.median))),
            ("p20_us", .double(rounded(time.p20))), ("p80_us", .double(rounded(time.p80))),
            ("samples", .array(samples.map { .double(rounded($0)) })), ("engine", .string(engine)),
        ]
        if let extraBytes { members.append(("extra_bytes", .double(extraBytes))) }
        return .object(members)
    }

    /// Reads the answer of ours or of a PyTorch script.
    /// - Throws: exit 65.
    public init(_ line: String, from program: String) throws {
        let json = JSONCursor(try JSON.parse(line, file: program), file: program)
        samples = try json.member("samples").elements().map { try $0.double() }
        guard !samples.isEmpty else { throw RetortError.badData("\(program) measured nothing") }
        extraBytes = try json.optional("extra_bytes")?.double()
        if let torch = try json.optional("torch") {
            let allocator = try json.optional("allocator")?.string() ?? "default"
            let capability = try json.optional("cpu_capability")?.string() ?? "?"
            let threads = try json.member("threads").int()
            let device = try json.optional("device")?.string() ?? "cpu"
            engine =
                "PyTorch \(try torch.string()), "
                + (device == "cpu" ? "\(capability), \(threads) threads, allocator \(allocator)" : device)
        } else {
            engine = try json.member("engine").string()
        }
    }
}

/// The child's side: measures one case as it is told to. Nothing is allocated and no device is opened before the first `go`.
public enum BenchWorker {
    /// Cases by the name that the parent uses; `openblas` is the library without our op.
    public static let kernels =
        [
            "openblas", "kd_rows", "kd_chunked", "kd_dense", "copy", "mlp_step", "digits_step", "resnet_step",
            "lm_step", "lm_onpolicy", "lm_decode", "lm_read", "lm_load", "lm_file", "attention_flash",
            "attention_composed",
        ]
        + convolutions + GemmProduct.all([]).keys.sorted()
    private static let convolutions = ["conv2d", "conv2d_backward_input", "conv2d_backward_weight"]
    private static let warmUp = 3

    /// - Throws: exit 64 for an unknown kernel or shape, and what the device throws.
    public static func run(
        kernel: String, shape: String, device: String?, readLine: () -> String? = { Swift.readLine() },
        print: (String) -> Void = { TextOutput.standardOutput.writeLine($0) }
    ) throws {
        let measured = try find(kernel, shape)
        var prepared: Prepared?
        while let line = readLine() {
            guard case .go(let count) = try BenchOrder(line) else { break }
            let ready = try prepared ?? prepare(measured, device)
            prepared = ready
            var samples: [Double] = []
            for _ in 0..<count { samples.append(try time(ready.set, ready.device)) }
            let answer = BenchAnswer(
                samples: samples, engine: (kernel == "openblas" ? "OpenBLAS: " : "retort: ") + ready.device.summary,
                extraBytes: ready.extraBytes(measured).map(Double.init))
            print(answer.json(kernel: kernel, shape: shape).text())
        }
    }

    /// Operands that were checked, and what tells their memory.
    private struct Prepared {
        let set: BenchSet
        let device: Device
        let memory: ExtraMemory
        /// What one run takes, where it was measured.
        let peak: Int?

        func extraBytes(_ kernel: BenchCase) -> Int? {
            if let memory = kernel.measuresProcess { return self.memory.bytes(memory) }
            return set.extraBytes ?? peak
        }
    }

    private static func prepare(_ kernel: BenchCase, _ name: String?) throws -> Prepared {
        let device = try Device.select(name)
        let memory = ExtraMemory(device)
        var random = BenchRandom()
        let set = try kernel.make(device, &random)
        for _ in 0..<warmUp { try set.run() }
        try set.poison()
        try set.run()
        let error = try set.error()
        guard error <= set.tolerance else {
            throw RetortError.internalBug("\(kernel.kernel) \(kernel.shape) is wrong by \(error) on \(device)")
        }
        try device.compute.synchronize()
        let measuresRun = kernel.measuresMemory && kernel.measuresProcess == nil
        return Prepared(
            set: set, device: device, memory: memory, peak: try measuresRun ? set.peakBytes() : nil)
    }

    /// Microseconds of one call, start to finish.
    private static func time(_ set: BenchSet, _ device: Device) throws -> Double {
        let start = ContinuousClock.now
        try set.run()
        try device.compute.synchronize()
        return (ContinuousClock.now - start).seconds * 1e6 / Double(set.calls)
    }

    static func find(_ kernel: String, _ shape: String) throws -> BenchCase {
        let sizes = shape.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        if convolutions.contains(kernel) {
            guard sizes.allSatisfy({ $0 > 0 && $0 < 1 << 20 }), let layer = ConvCases.Layer(sizes) else {
                throw RetortError.usage(
                    "\(shape.quoted()) is no convolution: batch, channels, side, side, outputs, kernel, stride, and groups "
                        + "where there are several, joined by x")
            }
            return ConvCases.pass(kernel, layer)
        }
        let product = GemmProduct.all(sizes)[kernel]
        let wanted = [
            "openblas": 3, "kd_rows": 2, "kd_chunked": 4, "kd_dense": 4, "copy": 2, "mlp_step": 1,
            "digits_step": 1, "resnet_step": 1, "lm_step": 2, "lm_step_bf16": 2, "lm_onpolicy": 3, "lm_decode": 2,
            "lm_decode_bf16": 2,
            "lm_read": 2, "lm_load": 1, "lm_file": 1, "attention_flash": 4, "attention_composed": 4,
        ]
        guard let rank = product == nil ? wanted[kernel] : 3 else {
            throw RetortError.usage(
                "no kernel is called \(kernel.quoted())", help: EditDistance.suggestion(for: kernel, among: kernels))
        }
        guard sizes.count == rank, sizes.allSatisfy({ $0 > 0 && $0 < 1 << 31 }) else {
            throw RetortError.usage("\(shape.quoted()) is no shape for \(kernel): \(rank) numbers joined by x")
        }
        if let product { return product.bench }
        return switch kernel {
        case "openblas": GemmCases.openBLAS(sizes)
        case "kd_rows": DivergenceCases.rows(sizes)
        case "kd_chunked": ChunkedCases.loss(sizes, isChunked: true)
        case "kd_dense": ChunkedCases.loss(sizes, isChunked: false)
        case "copy": RowCases.copy(sizes)
        case "resnet_step": ResNetStepCase.step(batch: sizes[0])
        case "lm_step": LanguageStepCase.step(sizes)
        case "lm_step_bf16": LanguageStepCase.step(sizes, dtype: .bf16)
        case "lm_onpolicy": OnPolicyStepCase.step(sizes)
        case "lm_decode_bf16": DecodeCase.decode(sizes, dtype: .bf16)
        case "lm_decode": DecodeCase.decode(sizes)
        case "lm_read": DecodeCase.reading(sizes)
        case "lm_load": LoadCase.load(sizes)
        case "lm_file": LoadCase.reading(sizes)
        case "attention_flash": AttentionCases.flash(sizes)
        case "attention_composed": AttentionCases.composed(sizes)
        case "mlp_step": StepCase.mlp(batch: sizes[0])
        default: StepCase.digits(batch: sizes[0])
        }
    }
}
