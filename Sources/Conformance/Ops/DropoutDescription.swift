import RetortKernels
import RetortRuntime

private struct DropoutSample {
    let count: Int
    let probability: Float
    var firstElement = 0
    var seed: UInt64 = 0x1234_5678_9ABC_DEF0
    var accumulate = false
    /// What x and y are stored as.
    var dtype = DType.f32
    var size = SampleSize.tiny

    var text: String {
        "\(count) p=\(probability)" + (firstElement > 0 ? " first=\(firstElement)" : "")
            + (accumulate ? " accumulate" : "")
            + (seed == .max ? " seed=max" : "") + dtype.sampleText
    }

    var sample: OpSample {
        OpSample(text, size) { [self] random in
            let stream = Philox.stream("dropout/test")
            let x = random.normal(count).held(by: dtype)
            let old: [Float]? = accumulate ? random.normal(count).held(by: dtype) : nil
            let op = Dropout(probability: probability, seed: seed, stream: stream, firstElement: firstElement)
            var c = OpCase()
            c.input("x", x, [count], as: dtype)
            c.result("y", [count], old: old, as: dtype)
            c.run(op) { .init(x: $0["x"], y: .result($0["y"], old: old)) }
            c.reference = {
                let philox = Philox(seed: seed, stream: stream)
                let threshold = UInt64((Double(probability) * 0x1p32).rounded())
                let y: [Float] = x.indices.map { i in
                    UInt64(philox.word(UInt64(firstElement + i))) >= threshold ? x[i] * (1 / (1 - probability)) : 0
                }
                // The mask must be Philox's to the last bit, and what is kept is one product: exact.
                if old == nil { return ["y": .exact(y).rounded(to: dtype)] }
                return [
                    "y": .near(y.map { Estimate(Double($0), eps * Double(abs($0))) }.added(to: old)).rounded(to: dtype)
                ]
            }
            return c
        }
    }
}

extension OpDescription {
    static let dropout = OpDescription(
        "dropout", "Dropout",
        [
            DropoutSample(count: 1, probability: 0.5), DropoutSample(count: 7, probability: 0.1),
            DropoutSample(count: 0, probability: 0.5),
            DropoutSample(count: 257, probability: 0.1), DropoutSample(count: 131, probability: 0),
            DropoutSample(count: 97, probability: 0.999),
            DropoutSample(count: 129, probability: 0.3, firstElement: 1),
            DropoutSample(count: 129, probability: 0.3, firstElement: 67),
            DropoutSample(count: 200, probability: 0.5, firstElement: 17_179_869_100),
            DropoutSample(count: 200, probability: 0.5, firstElement: 1 << 40),
            DropoutSample(count: 131, probability: 0.25, seed: .max),
            DropoutSample(count: 131, probability: 0.25, accumulate: true),
            DropoutSample(count: 41 * 1271, probability: 0.1, size: .small),
            DropoutSample(count: 20_011, probability: 0.75, firstElement: 12_345, accumulate: true, size: .small),
            DropoutSample(count: 7, probability: 0.1, dtype: .bf16),
            DropoutSample(count: 0, probability: 0.5, dtype: .bf16),
            DropoutSample(count: 257, probability: 0.3, firstElement: 67, dtype: .bf16),
            DropoutSample(count: 131, probability: 0.25, accumulate: true, dtype: .bf16),
            DropoutSample(count: 41 * 1271, probability: 0.1, dtype: .bf16, size: .small),
            DropoutSample(count: 4096 * 1024, probability: 0.1, size: .perf),
        ].map(\.sample))
}
