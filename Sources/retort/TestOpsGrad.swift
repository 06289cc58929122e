import ArgumentParser
import RetortConformance
import RetortSupport

struct TestOpsGrad: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "grad", abstract: "Compare every gradient with finite differences.",
        discussion: """
            Each tensor function is followed by a non-linear one. Its gradient on the device is compared with central differences of the
            same composition in float64.
            """)

    @OptionGroup var options: OpOptions

    func run() throws {
        var report = OpReport()
        try checkGradients(options.selection(), on: try OpTarget.choose(options.device)) { show($0, &report) }
        try finish(report, json: options.json)
    }
}
