import ArgumentParser

struct Synth: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make data that looks like something, from a seed.", subcommands: [SynthInteractions.self])
}
