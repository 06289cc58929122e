import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport

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
            ("processor", "\(processor), \(cores) cores"), ("last_level_cache_bytes", "\(cacheBytes)"),
            ("device", device),
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
            let size = text("/sys/devices/system/cpu/cpu0/cache/index\(index)/size").trimmingCharacters(
                in: .whitespacesAndNewlines)
            return size.hasSuffix("K") ? Int(size.dropLast()).map { $0 << 10 } : nil
        }
        return sizes.max() ?? 32 << 20
    }

    /// The one-minute load average; NaN where there is none.
    public static var load: Double { text("/proc/loadavg").split(separator: " ").first.flatMap { Double($0) } ?? .nan }
}

/// Waits until nobody else computes: timings beside another job say little, and OpenMP libraries collapse altogether. One budget of
/// waiting serves a whole run.
public final class QuietWait {
    /// Seconds that may still be spent waiting.
    public private(set) var budget: Double
    /// Seconds waited so far.
    public private(set) var waited = 0.0
    /// Share of the machine's time that others took, in the last look.
    public private(set) var busy = 0.0
    private let look: () -> Double

    /// Above this share a machine is not quiet.
    public static let threshold = 0.1
    private static let lookTime = 0.25

    /// - Parameters:
    ///   - budget: seconds.
    ///   - look: the share that others take now; nil looks at the processors' idle time for a quarter of a second.
    public init(budget: Double, look: (() -> Double)? = nil) {
        self.budget = budget
        self.look = look ?? Self.busyShare
    }

    public var isQuiet: Bool { busy <= Self.threshold }

    /// Returns when it is quiet or the budget is used up. Nothing of ours may run meanwhile.
    public func wait() {
        let start = ContinuousClock.now
        busy = look()
        while !isQuiet {
            let spent = (ContinuousClock.now - start).seconds
            guard spent < budget, !StopSignal.isRequested else { break }
            busy = look()
        }
        let spent = (ContinuousClock.now - start).seconds
        // The first look is not waiting.
        budget -= max(0, spent - Self.lookTime)
        waited += max(0, spent - Self.lookTime)
    }

    public var description: String {
        let share = Int((busy * 100).rounded())
        return isQuiet
            ? "quiet (others take \(share) % of the processors)"
            : "NOT quiet: others take \(share) % of the processors; gave up after waiting \(Int(waited)) s"
    }

    private static func busyShare() -> Double {
        guard let before = ProcessorTimes() else { return 0 }
        Thread.sleep(forTimeInterval: lookTime)
        guard let after = ProcessorTimes() else { return 0 }
        return after.busyShare(since: before)
    }
}

/// How much of the machine others took while something of this process was measured.
struct OthersShare {
    private let start = ContinuousClock.now
    private let times = ProcessorTimes()
    private let own = Self.ownSeconds()

    /// Share of the processors' time since this was made, 0…1.
    func share() -> Double {
        guard let before = times, let after = ProcessorTimes(), after.total > before.total else { return 0 }
        let capacity = (ContinuousClock.now - start).seconds * Double(ProcessInfo.processInfo.activeProcessorCount)
        return max(0, after.busyShare(since: before) - (Self.ownSeconds() - own) / max(capacity, 1e-9))
    }

    private static func ownSeconds() -> Double {
        var usage = rusage()
        getrusage(numericCast(RUSAGE_SELF.rawValue), &usage)
        return [usage.ru_utime, usage.ru_stime].reduce(0) { $0 + Double($1.tv_sec) + Double($1.tv_usec) * 1e-6 }
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
