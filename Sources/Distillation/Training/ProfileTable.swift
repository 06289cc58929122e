import RetortKernels
import RetortRuntime
import RetortSupport

/// `--profile`: time per kernel, what it achieved, what launching cost, and what the data cost.
public func profileTable(_ profiler: Profiler, on device: Device) throws -> String {
    let rows = profiler.rows
    let total = rows.reduce(0) { $0 + $1.device.microseconds }
    let memory = device.compute.memory  // before the roof's own arrays
    let roof = try Roof(device.compute)
    var table = Table(columns: [
        ("op", .left), ("family", .left), ("calls", .right), ("time ms", .right), ("share", .right),
        ("µs/call", .right),
        ("GFLOP/s", .right), ("GB/s", .right), ("roof", .right), ("launches", .right), ("host µs/launch", .right),
    ])
    for row in rows {
        let time = row.device.microseconds
        let seconds = time * 1e-6
        let share = roof.share(row.cost, seconds: seconds)
        table.add([
            row.name, row.family, "\(row.calls)", NumberFormat.fixed(time / 1000, decimals: 2),
            NumberFormat.percent(time / Swift.max(total, 1e-9)),
            NumberFormat.fixed(time / Double(row.calls), decimals: 1),
            NumberFormat.fixed(row.cost.flops / seconds * 1e-9, decimals: 1),
            NumberFormat.fixed(row.cost.bytes / seconds * 1e-9, decimals: 1), NumberFormat.percent(share, decimals: 0),
            row.launches == 0 ? "-" : "\(row.launches)",
            row.launches == 0 ? "-" : NumberFormat.fixed(row.host.microseconds / Double(row.launches), decimals: 1),
        ])
    }
    return table.text
        + "roof: copy \(NumberFormat.fixed(roof.copyBandwidth * 1e-9, decimals: 1)) GB/s, fp32 "
        + "\(NumberFormat.fixed(roof.arithmetic * 1e-9, decimals: 0)) GFLOP/s, launch "
        + "\(NumberFormat.fixed(roof.launch * 1e6, decimals: 1)) µs\n" + memoryLine(memory)
        + (device.dataTimes.map { dataLine($0.sums) } ?? "")
}

/// How long training waited for its data; empty where nothing was trained.
func dataLine(_ times: DataTimes.Sums) -> String {
    guard times.training > .zero else { return "" }
    func share(_ time: Duration) -> String {
        NumberFormat.duration(seconds: time.seconds) + " ("
            + NumberFormat.percent(time.seconds / times.training.seconds) + ")"
    }
    let isDecoded = times.loading > .zero
    return "data: training took \(NumberFormat.duration(seconds: times.training.seconds)), of it "
        + (isDecoded ? "\(share(times.waiting)) waiting for pictures, " : "")
        + "\(share(times.preparing)) making batches"
        + (isDecoded ? "; decoding or changing them beside it took \(share(times.loading))" : "") + "\n"
}

/// Bytes on the device: now, at the worst moment, and what holds them.
private func memoryLine(_ memory: MemoryReport) -> String {
    let purposes = Purpose.allCases.compactMap { purpose in
        memory.byPurpose[purpose].flatMap { $0 > 0 ? "\(purpose.rawValue) \(NumberFormat.bytes($0))" : nil }
    }
    return "memory: live \(NumberFormat.bytes(memory.live)), peak \(NumberFormat.bytes(memory.peak)), "
        + "reserved \(NumberFormat.bytes(memory.reserved)); " + purposes.joined(separator: ", ") + "\n"
}
