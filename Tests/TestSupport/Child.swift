import Foundation
import Synchronization

/// The program under test as a child process: arguments in, exit code and both outputs out.
public struct Child {
    /// The exit code, or 128 + the number of the signal that ended it.
    public let exit: Int32
    public let stdout: String
    public let stderr: String

    /// The `retort` that was built with the tests: it lies beside the test program.
    public static let retort: String = {
        let program =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        var folder = URL(fileURLWithPath: program).deletingLastPathComponent()
        for _ in 0..<4 {
            let candidate = folder.appendingPathComponent("retort").path
            if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
            folder.deleteLastPathComponent()
        }
        return folder.path + "/retort is not built"
    }()

    /// Runs `retort` to its end.
    ///
    /// - Parameters:
    ///   - environment: added to this process's; nil as a value removes the variable.
    ///   - folder: the working directory; the project's root by default, so that `recipes/digits.yaml` is there.
    ///   - stopAfter: once a line of stderr contains this, the child gets SIGINT.
    public static func retort(
        _ arguments: [String], environment: [String: String?] = [:], in folder: String = Project.root,
        stopAfter: String? = nil
    ) throws -> Child {
        try run(retort, arguments, environment: environment, in: folder, stopAfter: stopAfter)
    }

    /// Runs a shell script in which `$RETORT` is the program: for pipes, redirections and limits.
    public static func shell(_ script: String, environment: [String: String?] = [:], in folder: String = Project.root)
        throws
        -> Child
    {
        try run("/bin/bash", ["-c", script], environment: environment.merging(["RETORT": retort]) { $1 }, in: folder)
    }

    private static func run(
        _ program: String, _ arguments: [String], environment: [String: String?], in folder: String,
        stopAfter: String? = nil
    ) throws -> Child {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        var variables = ProcessInfo.processInfo.environment
        // What the tests' own surroundings set must not decide.
        for name in ["RETORT_DEVICE", "RETORT_FAMILY", "NO_COLOR", "TERM"] { variables[name] = nil }
        for (name, value) in environment { variables[name] = value }
        process.environment = variables

        let (out, err) = (Pipe(), Pipe())
        process.standardOutput = out
        process.standardError = err
        process.standardInput = FileHandle.nullDevice
        try process.run()
        // Both pipes are read at once: a child that fills one while the other is awaited would hang.
        let stdout = Mutex(Data())
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            let data = out.fileHandleForReading.readDataToEndOfFile()
            stdout.withLock { $0 = data }
            done.signal()
        }
        var stderr = Data()
        var isStopped = stopAfter == nil
        while true {
            let part = err.fileHandleForReading.availableData
            if part.isEmpty { break }
            stderr += part
            if !isStopped, let stopAfter, String(decoding: stderr, as: UTF8.self).contains(stopAfter) {
                isStopped = true
                process.interrupt()
            }
        }
        done.wait()
        process.waitUntilExit()
        let exit = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
        return Child(
            exit: exit, stdout: stdout.withLock { String(decoding: $0, as: UTF8.self) },
            stderr: String(decoding: stderr, as: UTF8.self))
    }
}
