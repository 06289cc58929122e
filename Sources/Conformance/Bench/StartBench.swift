import Foundation
import RetortSupport

/// Wall time of starting the program: child processes, start to end.
public enum StartBench {
    /// Arguments by row; goals of issue 2: 50 ms, 500 ms, 300 ms.
    private static func commands(_ device: String) -> [(name: String, shape: String, arguments: [String])] {
        [
            ("start --help", "-", ["--help"]), ("start devices", "-", ["devices"]),
            ("start first step", "64x64", ["bench-worker", "digits_step", "64", "--device", device, "--first-step"]),
            ("start first step", "128x784", ["bench-worker", "mlp_step", "128", "--device", device, "--first-step"]),
        ]
    }

    /// The child's side of "first step".
    /// - Parameter kernel: `digits_step`, or else the large step.
    public static func firstStep(_ kernel: String, batch: Int, device: String?) throws {
        try StepCase.firstStep(digits: kernel == "digits_step", batch: batch, device: device)
    }

    static func rows(device: String, rounds: Int, program: String = ChildEngine.ownProgram) throws -> [BenchRow] {
        try commands(device).map { command in
            // The first fills caches: program pages, compiled kernels.
            let samples = try (0...rounds).map { _ in try wall(program, command.arguments) }.dropFirst()
            return BenchRow(
                kernel: command.name, shape: command.shape, dtype: "-", device: device, family: "process",
                time: Spread(Array(samples)))
        }
    }

    /// Microseconds from start to end of a process.
    private static func wall(_ program: String, _ arguments: [String]) throws -> Double {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        let start = ContinuousClock.now
        try process.run()
        process.waitUntilExit()
        let time = (ContinuousClock.now - start).seconds * 1e6
        guard process.terminationStatus == 0 else {
            throw RetortError.internalBug("retort \(arguments.joined(separator: " ")) ended with \(process.terminationStatus)")
        }
        return time
    }
}
