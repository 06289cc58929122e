import RetortKernels
import RetortRuntime
import RetortSupport

/// The time of one sample on one device, and what it makes of the machine.
public struct OpTiming: Sendable {
    public let op: String
    public let sample: String
    public let target: String
    /// Seconds of the median round.
    public let median: Double
    public let cost: Cost
    /// Share of the smaller of the machine's two ceilings.
    public let share: Double

    public var json: JSON {
        [
            "op": .string(op), "sample": .string(sample), "on": .string(target), "median_us": .double(median * 1e6),
            "gflops": .double(cost.flops / median * 1e-9), "gbps": .double(cost.bytes / median * 1e-9),
            "roof": .double(share),
        ]
    }

    var cells: [String] {
        [
            op, sample, target, NumberFormat.duration(seconds: median),
            NumberFormat.significant(cost.flops / median * 1e-9, digits: 3),
            NumberFormat.significant(cost.bytes / median * 1e-9, digits: 3), NumberFormat.percent(share, decimals: 0),
        ]
    }

    public static func table(_ timings: [OpTiming]) -> String {
        var table = Table(columns: [
            ("op", .left), ("sample", .left), ("on", .left), ("time", .right), ("GFLOP/s", .right), ("GB/s", .right),
            ("of roof", .right),
        ])
        for timing in timings { table.add(timing.cells) }
        return table.text
    }
}

/// Times the samples of size `perf`, or those a selection names, each for about half a second.
/// - Throws: `RetortError` (usage) when the selection picks nothing.
public func timeOps(_ selection: OpSelection, on targets: [OpTarget], report: (OpTiming) -> Void) throws {
    if let text = selection.sample,
        try selection.descriptions().allSatisfy({ $0.samples(matching: text).isEmpty })
    {
        throw noSuchSample(text)
    }
    for target in targets {
        let roof = try Roof(target.device.compute)
        for description in try selection.descriptions() {
            for sample in description.samples(matching: selection.sample)
            where sample.size == .perf || selection.sample != nil {
                if case .small = target.largest, selection.sample == nil { continue }
                let opCase = description.makeCase(sample, seed: selection.seed)
                let (operands, _) = try OpCheck.place(opCase, on: target.device.compute)
                let median = try medianSeconds(target.device.compute, opCase.prepare(operands))
                let cost = try opCase.cost(operands)
                report(
                    OpTiming(
                        op: description.name, sample: sample.text, target: target.name, median: median, cost: cost,
                        share: roof.share(cost, seconds: median)))
            }
        }
    }
}

/// Median of rounds of enough calls to be seen by the clock, after one that does not count.
private func medianSeconds(_ device: ComputeDevice, _ call: () throws -> Void) throws -> Double {
    func seconds(_ calls: Int) throws -> Double {
        let start = ContinuousClock.now
        for _ in 0..<calls { try call() }
        try device.synchronize()
        return (ContinuousClock.now - start).inSeconds / Double(calls)
    }
    _ = try seconds(1)
    let one = try seconds(1)
    let calls = max(1, min(10_000, Int(0.01 / max(one, 1e-7))))
    let rounds = max(5, min(49, Int(0.5 / (one * Double(calls)))))
    return try (0..<rounds).map { _ in try seconds(calls) }.sorted()[rounds / 2]
}
