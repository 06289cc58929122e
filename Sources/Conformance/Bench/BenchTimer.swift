import RetortKernels
import RetortRuntime

/// Times one case: operands beyond the caches, warm-up, poisoned outputs, many samples, and a check of what was computed.
struct BenchTimer {
    let device: Device
    let roof: Roof
    /// Seconds that the samples of one case take together, at least.
    let minimumTime: Double
    /// Bytes of the last-level cache; operands that fit in it twice are rotated.
    let cacheBytes: Int

    static let fewestSamples = 9
    static let mostSamples = 2000
    private static let mostSets = 64
    /// A sample is at least this long (seconds), so that the clock and one wait for the device are small beside it.
    private static let sampleTime = 0.004

    func row(_ kernel: BenchCase) throws -> BenchRow {
        let sets = try sets(of: kernel)
        var more: [String: Double] = [:]
        if kernel.measuresMemory { more["peak_bytes"] = Double(try sets[0].peakBytes()) }
        let samples = try samples(sets)
        let last = sets[(samples.runs - 1) % sets.count]
        let error = try last.error()
        if let bytes = last.extraBytes { more["extra_bytes"] = Double(bytes) }
        let time = Spread(samples.microseconds)
        let cost = last.cost
        if let tokens = last.tokens { more["tokens_per_second"] = Double(tokens) * 1e6 / time.median }
        let seconds = time.median * 1e-6
        return BenchRow(
            kernel: kernel.kernel, shape: kernel.shape, dtype: kernel.dtype.rawValue, device: device.description,
            family: kernel.family(on: device),
            time: time,
            gflops: cost.flops * 1e-3 / time.median, gbps: cost.bytes * 1e-3 / time.median,
            roof: try last.ceiling.map { try $0() / seconds } ?? roof.share(cost, seconds: seconds), maxRelErr: error,
            isRight: error <= last.tolerance,
            more: more)
    }

    /// As many sets of operands as it takes to fill the last-level cache twice.
    private func sets(of kernel: BenchCase) throws -> [BenchSet] {
        var random = BenchRandom()
        let before = device.compute.memory.live
        let first = try kernel.make(device, &random)
        let bytes = max(1, device.compute.memory.live - before)
        let wanted = kernel.rotates ? min(Self.mostSets, max(1, (2 * cacheBytes + bytes - 1) / bytes)) : 1
        func another() throws -> BenchSet {
            if let again = first.again { return try again() }
            return try kernel.make(device, &random)
        }
        return try [first] + (1..<wanted).map { _ in try another() }
    }

    private func samples(_ sets: [BenchSet]) throws -> (microseconds: [Double], runs: Int) {
        let compute = device.compute
        for set in sets { try set.run() }
        try sets[0].run()
        try compute.synchronize()
        for set in sets { try set.poison() }
        try compute.synchronize()

        var runs = 0
        func sample(_ batch: Int) throws -> Double {
            let start = ContinuousClock.now
            for _ in 0..<batch {
                try sets[runs % sets.count].run()
                runs += 1
            }
            try compute.synchronize()
            return (ContinuousClock.now - start).seconds
        }
        let once = try sample(1)
        let batch = max(1, min(4096, Int(Self.sampleTime / max(once, 1e-7))))
        var samples: [Double] = []
        var total = 0.0
        while samples.count < Self.fewestSamples || (total < minimumTime && samples.count < Self.mostSamples) {
            let seconds = try sample(batch)
            total += seconds
            samples.append(seconds * 1e6 / Double(batch * sets[0].calls))
        }
        return (samples, runs)
    }
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
