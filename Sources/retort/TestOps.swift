import ArgumentParser

struct TestOps: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test-ops", abstract: "Check every operation of a device: how exact, how fast.",
        subcommands: [TestOpsTest.self, TestOpsGrad.self, TestOpsPerf.self, TestOpsList.self, GoldenCommand.self])
}
