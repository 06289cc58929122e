import Foundation
import RetortSupport

/// A measuring child process: takes `go N` on its stdin and answers a JSON line on its stdout.
final class ChildEngine {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private var pending: [UInt8] = []
    private let name: String

    /// - Parameter environment: added to ours.
    /// - Throws: exit 66 when the program cannot be started.
    init(_ program: String, _ arguments: [String], environment: [String: String] = [:]) throws {
        name = ([program] + arguments).joined(separator: " ")
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = input
        process.standardOutput = output
        do { try process.run() } catch {
            throw RetortError.missingInput(
                "cannot start \(program.quoted(limit: 200))", why: "\(error.localizedDescription)")
        }
    }

    deinit {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    /// One turn of `count` repetitions.
    /// - Throws: exit 70 when the child ended; 65 when it did not speak JSON.
    func go(_ count: Int) throws -> BenchAnswer {
        try input.fileHandleForWriting.write(contentsOf: Data((BenchOrder.go(count).line + "\n").utf8))
        return try BenchAnswer(try line(), from: name)
    }

    private func line() throws -> String {
        while true {
            if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                defer { pending.removeFirst(end + 1) }
                return String(decoding: pending[..<end], as: UTF8.self)
            }
            let bytes = output.fileHandleForReading.availableData
            guard !bytes.isEmpty else {
                throw RetortError.internalBug("the measuring process ended before it answered", why: name)
            }
            pending += bytes
        }
    }

    /// This very program, for children.
    static var ownProgram: String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    }
}
