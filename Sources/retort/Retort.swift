import ArgumentParser
import RetortDistillation
import RetortKernels
import RetortRuntime
import RetortSupport

/// The command line. Each verb is one file; each body only translates words into calls.
@main
struct Retort: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retort",
        abstract: "Teach a small model what a large one knows.",
        discussion: """
            EXAMPLES
              retort train recipes/digits.yaml
              retort plan recipes/digits.yaml
              retort validate recipes/digits.yaml train.epochs=100
              retort train recipes/digits.yaml --device opencl:0 'seeds=[0]' train.epochs=100
              retort eval runs/digits-2026-11-21-1/student/seed-0/final --data data/uci-digits/digits.csv --test-every 5
              retort eval runs/fashion-cnn-2026-11-21-1/student/seed-0/final --data data/fashion-mnist
              retort init student --from teacher --every 2
              retort convert teacher --output teacher-bf16 --dtype bf16
              retort cache recipes/language/cached.yaml
              retort synth interactions interactions.csv
              retort devices
              retort test-ops golden --device opencl:0
              retort bench --device cpu
            """,
        version: retortVersion,
        subcommands: [
            Train.self, Plan.self, Eval.self, Generate.self, Init.self, Convert.self, Cache.self, Embed.self,
            Inspect.self, Validate.self,
            Report.self,
            Synth.self,
            Devices.self,
            Bench.self,
            TestOps.self,
            BenchWorkerCommand.self,
        ])

    /// Maps every error to its message and exit code; argument-parser's own errors keep theirs (64).
    static func main() {
        StopSignal.install()
        do {
            try checkArguments()
            try checkVerb()
            var command = try parseAsRoot()
            try command.run()
            try TextOutput.standardOutput.check()
        } catch {
            fail(error)
        }
    }

    /// Bytes that are no UTF-8 would arrive as replacement characters, in a prompt as in a path.
    private static func checkArguments() throws {
        for (number, argument) in UnsafeBufferPointer(start: CommandLine.unsafeArgv, count: Int(CommandLine.argc))
            .enumerated()
        {
            // The first is the program's own path.
            guard number > 0, let argument, String(validatingCString: argument) == nil else { continue }
            throw RetortError.usage("argument \(number) is not UTF-8: \(String(cString: argument).quoted())")
        }
    }

    private static func checkVerb() throws {
        guard let word = CommandLine.arguments.dropFirst().first, !word.hasPrefix("-") else { return }
        let shown = configuration.subcommands.filter { $0.configuration.shouldDisplay }
        let verbs = shown.map { $0.configuration.commandName ?? String(describing: $0).lowercased() } + ["help"]
        guard configuration.subcommands.allSatisfy({ $0._commandName != word }), !verbs.contains(word) else { return }
        throw RetortError.usage(
            "there is no verb \(word.quoted(limit: 200))", why: "verbs are \(verbs.joined(separator: ", "))",
            help: EditDistance.suggestion(for: word, among: verbs))
    }

    private static func fail(_ error: any Error) -> Never {
        switch error {
        case let error as RetortError: end(error)
        case let error as KernelError: end(RetortError(error))
        case let error as TensorError: end(.internalBug(error.description))
        default: exit(withError: error)
        }
    }

    private static func end(_ error: RetortError) -> Never {
        TextOutput.standardError.writeLine(error.description)
        exit(withError: ExitCode(error.exit.rawValue))
    }
}

extension RetortError {
    /// A kernel's error in the words of the command line.
    init(_ error: KernelError) {
        // A compiler's log follows its first line.
        let lines = error.message.split(separator: "\n", maxSplits: 1).map(String.init)
        let (what, why) = (lines.first ?? "", lines.count > 1 ? lines[1] : "")
        switch error.kind {
        case .device, .build, .memory: self = .device(what, why: why, help: error.help)
        case .operands: self = .internalBug(what, why: why.isEmpty ? error.help : why + "\n" + error.help)
        }
    }
}

/// The flags that most verbs share.
struct CommonOptions: ParsableArguments {
    @Option(
        help: "cpu, opencl:<index>, or part of a device's name (default: RETORT_DEVICE, else the best GPU, else cpu).")
    var device: String?
    @Flag(help: "Print results as one JSON object on stdout; progress goes to stderr.")
    var json = false
    @Flag(help: "No progress.")
    var quiet = false

    func open(profiler: Profiler? = nil) throws -> Device { try Device.select(device, profiler: profiler) }
}
