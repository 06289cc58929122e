import ArgumentParser
import RetortConformance
import RetortSupport

/// What the verbs of `test-ops` select by.
struct OpOptions: ParsableArguments {
    @Option(help: "cpu, opencl:<index>, or part of a device's name (default: cpu and every kernel family of opencl:0).")
    var device: String?
    @Option(help: "Only this op; `retort test-ops list` names them.")
    var op: String?
    @Option(help: "Only this sample, or those whose text contains this.")
    var sample: String?
    @Option(help: "Seed of the random inputs.")
    var seed: UInt64 = 0
    @Flag(help: "Print one JSON object.")
    var json = false

    func selection(tiny: Bool = false) -> OpSelection { OpSelection(op: op, sample: sample, tiny: tiny, seed: seed) }
}

struct TestOpsTest: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test", abstract: "Compare every op with its float64 reference.",
        discussion: """
            Outputs are poisoned before the run, operands are fenced with sentinels, inputs must not change, two runs must give the
            same bits. "worst error" is a share of the allowed one. RETORT_FAMILY=vector|simt|nvptx picks the kernels of an OpenCL device.
            """)

    @Flag(help: "Only the smallest odd sizes, for Oclgrind.")
    var tiny = false
    @OptionGroup var options: OpOptions

    func run() throws {
        var report = OpReport()
        try checkOps(options.selection(tiny: tiny), on: try OpTarget.choose(options.device)) { show($0, &report) }
        try finish(report, json: options.json)
    }
}

/// Adds a result to the report and shows a failure at once.
func show(_ result: OpResult, _ report: inout OpReport) {
    report.add(result)
    if let text = OpReport.failureText(result) { TextOutput.standardError.writeLine(text) }
}

/// Prints the report and ends with 70 when something failed.
func finish(_ report: OpReport, json: Bool) throws {
    TextOutput.standardOutput.write(json ? report.json.text() + "\n" : report.table + report.summary + "\n")
    if report.failed > 0 { throw ExitCode(RetortSupport.ExitCode.internalBug.rawValue) }
}
