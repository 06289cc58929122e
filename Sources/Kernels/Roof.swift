/// What a machine can do at most, measured on it: the denominators of every "share of roof".
public struct Roof: Sendable {
    /// Bytes read plus written per second by a plain copy of arrays far beyond the caches.
    public let copyBandwidth: Double
    /// fp32 operations per second of fused multiply-adds in registers; each counts two.
    public let arithmetic: Double
    /// Operations per second of matrix units multiplying bf16, where the device's kernels use such.
    public let matrixArithmetic: Double?
    /// Seconds from enqueueing an empty piece of work until it is done.
    public let launch: Double

    /// The smaller ceiling's share that this cost reached in this time, 0 to 1 and a little above by noise.
    public func share(_ cost: Cost, seconds: Double) -> Double {
        guard seconds > 0 else { return 0 }
        let computing =
            (cost.flops - cost.matrixFlops) / arithmetic + cost.matrixFlops / (matrixArithmetic ?? arithmetic)
        return max(computing, cost.bytes / copyBandwidth) / seconds
    }
}

extension Roof {
    /// Measures the ceilings: the best of several rounds, for a ceiling is what was reached, not what is typical.
    ///
    /// - `bytes`: size of each of the two arrays of the copy; far more than the last cache.
    /// - Throws: `KernelError`; `.operands` on a planned device.
    public init(_ device: ComputeDevice, bytes: Int = 256 << 20) throws {
        let count = bytes / 4
        let x = try device.empty([count], for: .workspace)
        let y = try device.empty([count], for: .workspace)
        try run(Fill(1), .init(y: x), on: device)
        try run(Fill(1), .init(y: y), on: device)
        let items = 4096
        // About 2^30 multiply-adds: tens of milliseconds on a CPU, a fraction of one on a GPU.
        let steps = 2048

        let copy = try Self.best(device) {
            switch device {
            case .cpu(let d):
                let (from, to) = (try x.pointer(as: Float.self), try y.pointer(as: Float.self))
                d.parallel(count, work: count) { d.table.pointee.roof_copy_range($0, $1, from, to) }
            case .openCL(let d):
                try d.launchElements("roof.cl", "roof_copy", count: count, x.arguments() + y.arguments())
            case .planned: throw KernelError(.operands, "a planned device has no roof")
            }
        }
        var lanes = 16.0
        let fma = try Self.best(device) {
            switch device {
            case .cpu(let d):
                let to = try y.pointer(as: Float.self)
                d.parallel(items, work: count) { d.table.pointee.roof_fma_range($0, $1, to, steps, 0.999) }
            case .openCL(let d):
                // A GPU needs more items than a CPU to fill it; each does one lane.
                let wide = d.family == .vector ? items : items * 256
                if d.family != .vector { lanes = 256 }
                try d.launchElements(
                    "roof.cl", "roof_fma", count: wide, grain: 16, y.arguments() + [.long(steps), .float(0.999)])
            case .planned: break
            }
        }
        var products: Double?
        if case .openCL(let d) = device, d.family == .nvptx, d.info.isNVIDIA {
            let warps = items * 8
            let time = try Self.best(device) {
                try d.launchElements(
                    "roof.cl", "roof_mma", count: warps * 32, y.arguments() + [.long(steps), .float(0.999)])
            }
            // Eight chains of 16 × 8 × 16 multiply-adds.
            products = 8 * 4096 * Double(steps) * Double(warps) / time
        }
        let nothing = try device.empty([1], for: .workspace)
        let empty = try Self.best(device) { try run(Fill(0), .init(y: nothing), on: device) }
        copyBandwidth = 2 * Double(bytes) / copy
        arithmetic = 2 * 16 * lanes * Double(steps) * Double(items) / fma
        matrixArithmetic = products
        launch = empty
    }

    /// Seconds of the fastest of nine rounds, after two that do not count.
    private static func best(_ device: ComputeDevice, _ work: () throws -> Void) throws -> Double {
        var best = Double.infinity
        for round in 0..<11 {
            let start = ContinuousClock.now
            try work()
            try device.synchronize()
            let time = ContinuousClock.now - start
            let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) * 1e-18
            if round >= 2 { best = min(best, seconds) }
        }
        return best
    }
}
