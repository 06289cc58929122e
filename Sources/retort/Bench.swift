import ArgumentParser
import RetortConformance
import RetortSupport

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure kernels against this machine's ceilings, and against other engines.",
        discussion: """
            First the ceilings (copy, fp32 multiply-add, launch), then a row per kernel; a kernel whose numbers are wrong is marked and
            ends the program with 70. A GPU also gets products that take too long elsewhere, and products in bf16. Tokenizers read a
            megabyte of text, and as much of one letter, on the processor; pictures are decoded from PNG and JPEG files there, beside
            what a ResNet-20's step consumes. A row that is held to a goal says whether it is met. Comparisons let two child processes
            take turns and quote the median of the rounds' ratios.
            """)

    @Argument(
        help:
            "gemm, conv, attention, kd, chunked, softmax, rows, optimizer, step, language, tokenizers, pictures, start or all."
    )
    var groups: [String] = ["all"]
    @OptionGroup var common: CommonOptions
    @Flag(help: "Print the rows as comma-separated values.")
    var csv = false
    @Option(
        help: "An earlier --json: adds ratios and marks changes beyond the noise.",
        completion: .file(extensions: ["json"]))
    var baseline: String?
    @Option(help: "Rounds of each comparison, at least 7.")
    var rounds = 7
    @Option(help: "Seconds of samples for each row.")
    var minTime = 0.5
    @Option(
        help:
            "Compare products with openblas, flash attention with composed, divergence rows with a copy, chunked losses with dense, decoding and loading with read, language models in bf16 with fp32; repeatable."
    )
    var against: [Against] = []
    @Option(
        help:
            "Compare with PyTorch, run by this Python interpreter: on its GPU (CUDA or ROCm) where the device is an OpenCL GPU, else on the CPU.",
        completion: .file())
    var pytorch: String?
    @Option(help: "The folder of the PyTorch scripts.", completion: .directory)
    var scripts = "scripts/pytorch"
    @Flag(help: "Leave the rows out: comparisons only.")
    var compareOnly = false
    @Option(
        help: "A tokenizer's directory or file to measure in place of those that are learned from made text.",
        completion: .file())
    var tokenizer: String?
    @Option(help: "A UTF-8 text file that tokenizers read in place of made text.", completion: .file())
    var text: String?
    @Option(help: "Seconds that the whole run may wait for a quiet machine.")
    var wait = 60.0

    enum Against: String, ExpressibleByArgument, CaseIterable {
        case openblas, composed, copy, dense, read, fp32
    }

    func validate() throws {
        if common.json, csv { throw ValidationError("--json and --csv are two ways to print the same rows: give one") }
    }

    func run() throws {
        let suite = try BenchSuite(try options(), progress: Progress(quiet: common.quiet))
        let report = try suite.run()
        TextOutput.standardOutput.write(common.json ? report.json.text(.pretty) + "\n" : csv ? report.csv : report.text)
        let wrong = report.wrong.map { "\($0.kernel) \($0.shape)" }
        guard wrong.isEmpty else { throw RetortError.internalBug("wrong numbers: " + wrong.joined(separator: ", ")) }
        guard StopSignal.isRequested else { return }
        throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal"); what was measured is above")
    }

    private func options() throws -> BenchOptions {
        var options = BenchOptions()
        options.groups = try groupSet()
        options.device = common.device
        options.minimumTime = minTime
        options.rounds = rounds
        options.python = pytorch
        options.scripts = scripts
        options.measuresRows = !compareOnly
        options.quietBudget = wait
        options.baseline = baseline
        options.againstOpenBLAS = against.contains(.openblas)
        options.againstCopy = against.contains(.copy)
        options.againstDense = against.contains(.dense)
        options.againstRead = against.contains(.read)
        options.againstFP32 = against.contains(.fp32)
        options.againstComposed = against.contains(.composed)
        guard tokenizer == nil && text == nil || options.groups.contains(.tokenizers) && !compareOnly else {
            throw RetortError.usage("--tokenizer and --text are for the rows of tokenizers, which are left out here")
        }
        options.tokenizer = tokenizer
        options.text = text
        return options
    }

    private func groupSet() throws -> Set<BenchGroup> {
        if groups.contains("all") { return Set(BenchGroup.allCases) }
        return Set(
            try groups.map { name in
                guard let group = BenchGroup(rawValue: name) else {
                    throw RetortError.usage(
                        "there is no group \(name.quoted())",
                        help: EditDistance.suggestion(for: name, among: BenchGroup.allCases.map(\.rawValue) + ["all"]))
                }
                return group
            })
    }
}

/// The child's side of a comparison; see `BenchOrder`.
struct BenchWorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-worker", shouldDisplay: false)

    @Argument var kernel: String
    @Argument var shape: String
    @Option var device: String?
    /// Takes one training step and ends, without waiting to be told.
    @Flag var firstStep = false

    func run() throws {
        if firstStep {
            try StartBench.firstStep(kernel, batch: Int(shape) ?? 64, device: device)
        } else {
            try BenchWorker.run(kernel: kernel, shape: shape, device: device)
        }
    }
}
