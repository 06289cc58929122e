import Foundation
import RetortKernels
import RetortRuntime

/// What figures depend on and a reader must know; nothing that names the machine or its owner.
public struct MachineFacts: Sendable, Equatable {
    public var processor: String
    public var cores: Int
    /// Bytes of the largest cache.
    public var cacheBytes: Int
    public var device: String
    public var driver: String
    /// OpenBLAS's core type and its threads; "" when it cannot be loaded.
    public var blasCore: String
    public var blasThreads: Int
    /// Instruction set of the CPU's row kernels.
    public var rowLevel: String

    public init(_ device: Device) {
        processor = Self.firstMatch("model name", in: Self.text("/proc/cpuinfo")) ?? "unknown"
        cores = ProcessInfo.processInfo.activeProcessorCount
        cacheBytes = Self.largestCache()
        self.device = device.summary
        if case .openCL(let d) = device.compute {
            driver = "\(d.info.platform), \(d.info.version), driver \(d.info.driver)"
        } else {
            driver = ""
        }
        let cpu = try? CPUDevice()
        blasCore = cpu?.blasCore ?? ""
        blasThreads = cpu?.threads ?? 0
        rowLevel = cpu?.rowLevel ?? ""
    }

    /// Members in the order they are shown.
    var members: [(key: String, value: String)] {
        [
            ("processor", "\(processor), \(cores) cores"), ("last_level_cache_bytes", "\(cacheBytes)"), ("device", device),
            ("driver", driver), ("openblas", blasCore.isEmpty ? "not loaded" : "\(blasCore), \(blasThreads) threads"),
            ("row_kernels", rowLevel),
        ]
    }

    private static func text(_ path: String) -> String {
        (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }

    private static func firstMatch(_ key: String, in text: String) -> String? {
        for line in text.split(separator: "\n") where line.hasPrefix(key) {
            return line.split(separator: ":", maxSplits: 1).last.map { $0.trimmingCharacters(in: .whitespaces) }
        }
        return nil
    }

    /// The kernel's word for it ("32768K"); 32 MiB where it says nothing.
    private static func largestCache() -> Int {
        let sizes = (0..<8).compactMap { index -> Int? in
            let size = text("/sys/devices/system/cpu/cpu0/cache/index\(index)/size").trimmingCharacters(in: .whitespacesAndNewlines)
            return size.hasSuffix("K") ? Int(size.dropLast()).map { $0 << 10 } : nil
        }
        return sizes.max() ?? 32 << 20
    }

    /// The one-minute load average; NaN where there is none.
    public static var load: Double { text("/proc/loadavg").split(separator: " ").first.flatMap { Double($0) } ?? .nan }
}

/// Waits until nobody else computes: timings beside another job say little, and OpenMP libraries collapse altogether.
public struct QuietWait: Sendable, Equatable {
    /// Share of the machine's time that others took, in the last look.
    public let busy: Double
    /// Seconds waited.
    public let waited: Double
    public var isQuiet: Bool { busy <= Self.threshold }

    static let threshold = 0.1
    private static let look = 0.5

    /// Looks at the processors' idle time for half a second at a time, until it is quiet or `limit` seconds are over.
    public init(limit: Double) {
        let start = ContinuousClock.now
        var busy = Self.busyShare()
        while busy > Self.threshold, (ContinuousClock.now - start).seconds < limit { busy = Self.busyShare() }
        self.busy = busy
        waited = (ContinuousClock.now - start).seconds
    }

    init(busy: Double, waited: Double) {
        self.busy = busy
        self.waited = waited
    }

    public var description: String {
        let share = Int((busy * 100).rounded())
        return isQuiet
            ? "quiet (others take \(share) % of the processors)"
            : "NOT quiet: others take \(share) % of the processors, gave up after \(Int(waited)) s"
    }

    private static func busyShare() -> Double {
        guard let before = ProcessorTimes() else { return 0 }
        Thread.sleep(forTimeInterval: look)
        guard let after = ProcessorTimes() else { return 0 }
        return after.busyShare(since: before)
    }
}

/// The first line of /proc/stat: ticks since start, over all processors.
struct ProcessorTimes: Equatable {
    let idle: Double
    let total: Double

    init?() {
        guard let text = try? String(contentsOfFile: "/proc/stat", encoding: .utf8) else { return nil }
        self.init(text)
    }

    /// - Parameter text: "cpu  user nice system idle iowait irq softirq steal guest guest_nice".
    init?(_ text: String) {
        let words = text.prefix { $0 != "\n" }.split(separator: " ")
        let ticks = words.dropFirst().prefix(8).compactMap { Double($0) }
        guard words.first == "cpu", ticks.count >= 5 else { return nil }
        idle = ticks[3] + ticks[4]
        total = ticks.reduce(0, +)
    }

    func busyShare(since before: ProcessorTimes) -> Double {
        let elapsed = total - before.total
        return elapsed > 0 ? max(0, 1 - (idle - before.idle) / elapsed) : 0
    }
}
