import ArgumentParser
import RetortConformance
import RetortSupport

struct GoldenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "golden",
        abstract: "Compare operations, losses and optimizers with results of reference implementations.",
        discussion: """
            Reads ops/, losses/ and misc/ of RETORT_GOLDEN, else of the nearest Tests/Fixtures/golden, and runs every
            case on cpu and on the first OpenCL device. What is not built yet is listed as skipped. Exit code 70 when a
            case fails.
            RETORT_FAMILY=simt checks the kernels for GPUs on any OpenCL device.
            """)

    @Option(help: "Run on this device; may be repeated (default: RETORT_DEVICE, else cpu and opencl:0).")
    var device: [String] = []
    @Option(help: "Run this suite only, e.g. softmax or ops/softmax.")
    var suite: String?
    @Option(name: .customLong("case"), help: "Run this case only.")
    var caseName: String?
    @Flag(help: "List the cases that pass, too.")
    var verbose = false
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        let out = TextOutput.standardOutput
        let folder = try GoldenFolder.find()
        let backends = try GoldenBackend.open(device) { TextOutput.standardError.writeLine("note: " + $0) }
        let golden = try GoldenRun(folder, suite: suite, caseName: caseName, on: backends)
        if !json { out.writeLine(([folder.path] + backends.map(\.device.summary)).joined(separator: "\n")) }
        let results = try golden.run { suite, results in
            if !json { out.write(GoldenReport.text(suite, results, verbose: verbose)) }
        }
        out.writeLine(json ? GoldenReport.json(folder, results).text() : GoldenReport.closingLine(results))
        if GoldenCount(results).failed > 0 {
            throw ArgumentParser.ExitCode(RetortSupport.ExitCode.internalBug.rawValue)
        }
    }
}
