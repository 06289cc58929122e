import ArgumentParser
import RetortConformance
import RetortSupport

struct TestOpsPerf: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "perf", abstract: "Time the large samples against the machine's ceilings.",
        discussion:
            "A sample of any size is timed when --sample names it. See `retort bench` for figures worth quoting.")

    @OptionGroup var options: OpOptions

    func run() throws {
        var timings: [OpTiming] = []
        try timeOps(options.selection(), on: try OpTarget.choose(options.device)) { timings.append($0) }
        let rows = JSON.object([(key: "rows", value: .array(timings.map(\.json)))])
        TextOutput.standardOutput.write(options.json ? rows.text() + "\n" : OpTiming.table(timings))
    }
}
