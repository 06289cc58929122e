import ArgumentParser

struct TestOps: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test-ops", abstract: "Check operations on this machine's devices.", subcommands: [GoldenCommand.self])
}
