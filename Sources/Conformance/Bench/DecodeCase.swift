import RetortKernels
import RetortModels
import RetortRuntime

/// Greedy decoding of one text by `BenchDecoder.small` with a cache of keys and values (scripts/pytorch/lm_decode.py), and the least that
/// it can take: reading the weights once for each token. Shape: tokens of the prompt × tokens that are written.
enum DecodeCase {
    static let shape = [16, 128]

    /// - Parameter dtype: of the weight matrices, f32 or bf16.
    static func decode(_ sizes: [Int] = shape, dtype: DType = .f32) -> BenchCase {
        BenchCase(.language, "lm_decode", sizes, dtype: dtype, isProduct: true, rotates: false) { device, random in
            let model = try BenchDecoder.small.model()
            let arena = try model.materialize(on: device, seed: 1, trains: false, dtype: dtype)
            // Read as fp32 whatever it is: half as many numbers of twice the bytes.
            let read = try device.compute.empty([max(1, arena.count * dtype.size / 4)], for: .data)
            try run(Fill(0.5), .init(y: read), on: device.compute)
            let prompt = BenchDecoder.small.tokens(sizes[0], &random)
            let weights = Double(arena.count)
            var written: [Int32] = []
            return BenchSet(
                on: device.compute,
                // Attention's part is small beside the products.
                cost: Cost(
                    flops: 2 * weights * Double(sizes[1]), bytes: Double(dtype.size) * weights * Double(sizes[1])),
                tokens: sizes[1], outputs: [], tolerance: 1e-4,
                ceiling: { try WeightReader(read, device.compute).time(reads: sizes[1]) },
                run: { written = try model.generate(prompt, count: sizes[1]) },
                reference: { _ in try regret(model, prompt, written, on: device) })
        }
    }

    /// As many reads of as many weights, and nothing else: what decoding is compared with.
    static func reading(_ sizes: [Int] = shape) -> BenchCase {
        BenchCase(.language, "lm_read", sizes, rotates: false) { device, _ in
            let arena = try BenchDecoder.small.model().materialize(on: device, seed: 1, trains: false)
            let reader = try WeightReader(arena.values, device.compute)
            return BenchSet(
                on: device.compute, cost: Cost(bytes: 4 * Double(arena.values.count * sizes[1])), tokens: sizes[1],
                outputs: [], tolerance: 1e-4, run: { for _ in 0..<sizes[1] { try reader.read() } },
                reference: { _ in try reader.error() })
        }
    }

    /// How much less likely than the likeliest the chosen tokens are when the whole text is read at once, without a cache: the largest
    /// difference of logits, relative to the largest logit.
    private static func regret(
        _ model: any LanguageModel, _ prompt: [Int32], _ written: [Int32], on device: Device
    ) throws -> Double {
        guard !written.isEmpty else { return .infinity }
        let read = try TokenBatch(prompt + written.dropLast(), rows: 1)
        let logits = try Autograd.withoutGradients { try model.forward(read).logits.values() }
        let classes = model.vocabulary
        var (worst, largest) = (0.0, 0.0)
        for (step, token) in written.enumerated() {
            let row = logits[((prompt.count - 1 + step) * classes)..<((prompt.count + step) * classes)]
            let best = Double(row.max() ?? .nan)
            worst = max(worst, best - Double(row[row.startIndex + Int(token)]))
            largest = max(largest, row.reduce(0) { max($0, abs(Double($1))) })
        }
        return worst / largest
    }
}

/// Reads an array of a device as fast as a sum of it can.
private struct WeightReader {
    private static let columns = 4096
    private let x: View
    private let sums: View
    private let device: ComputeDevice

    /// - Parameter values: one dimension; what is beyond whole rows of 4096 is left out.
    init(_ values: View, _ device: ComputeDevice) throws {
        let rows = values.count / Self.columns
        x = values.slice(0..<(rows * Self.columns)).reshaped([rows, Self.columns])
        sums = try device.empty([rows, 1])
        self.device = device
    }

    func read() throws { try run(Reduce(.sum), .init(x: x, axis: 1, y: .write(sums)), on: device) }

    /// Seconds: the median of nine.
    func time(reads: Int) throws -> Double {
        let samples = try (0..<11).map { _ in
            let start = ContinuousClock.now
            for _ in 0..<reads { try read() }
            try device.synchronize()
            return (ContinuousClock.now - start).seconds
        }
        return Spread(Array(samples.dropFirst(2))).median
    }

    /// Of the last row's sum, relative to the sum of sizes.
    func error() throws -> Double {
        let row: [Float] = try device.read(x.slice((x.shape[0] - 1)..<x.shape[0]))
        let sum: [Float] = try device.read(sums.slice((x.shape[0] - 1)..<x.shape[0]))
        let expected = row.reduce(0) { $0 + Double($1) }
        return abs(Double(sum[0]) - expected) / max(1e-30, row.reduce(0) { $0 + abs(Double($1)) })
    }
}
