import Glibc
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
    /// - `kernel`: `digits_step`, or else the large step.
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

    /// Microseconds from start to end of a process; not Foundation's, which learns of an end tens of milliseconds later.
    private static func wall(_ program: String, _ arguments: [String]) throws -> Double {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var child: pid_t = 0
        var status: Int32 = 0
        let start = ContinuousClock.now
        let code = posix_spawn(&child, program, &actions, nil, &words, environ)
        guard code == 0 else { throw RetortError.internalBug("cannot start \(program): error \(code)") }
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        let time = (ContinuousClock.now - start).seconds * 1e6
        guard status == 0 else {
            throw RetortError.internalBug("retort \(arguments.joined(separator: " ")) ended with status \(status)")
        }
        return time
    }
}
