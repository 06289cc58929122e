import Foundation

/// What of this process lies in memory, as Linux counts it.
enum ResidentMemory {
    /// Bytes now.
    static var now: Int { field("VmRSS") }
    /// Bytes at the worst moment so far.
    static var peak: Int { field("VmHWM") }

    private static func field(_ name: String) -> Int {
        value(of: name, in: (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? "")
    }

    /// Bytes of "VmRSS:     1234 kB"; 0 where there is no such line.
    static func value(of name: String, in status: String) -> Int {
        for line in status.split(separator: "\n") where line.hasPrefix(name + ":") {
            return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }.map { $0 << 10 }
                ?? 0
        }
        return 0
    }
}
