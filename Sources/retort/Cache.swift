import ArgumentParser
import RetortDistillation
import RetortKernels
import RetortSupport

struct Cache: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Keep what a teacher predicts, so that students learn without it.",
        discussion: """
            Reads the texts of a recipe, those that are held out too, with the teacher of its `teacher: {path: DIRECTORY}`, once, and keeps of each
            learned token the likeliest successors with their probabilities, and what all others weigh together. A recipe with `teacher: {cache: DIRECTORY}`
            then trains without a teacher in memory: in any order, with any batch, seed, temperature and device. Hidden states of all tokens
            are kept too where the recipe's losses compare them (hidden-states).

            The size is told before the reading begins. What was stopped goes on with the same command; texts that come to the data are
            added. A cache of another teacher or tokenizer is refused.
            """)

    @Argument(help: "The recipe, a YAML file.", completion: .file(extensions: ["yaml", "yml"]))
    var recipe: String
    @Argument(help: "Values that replace the recipe's: teacher.path=DIRECTORY.")
    var overrides: [String] = []
    @Option(help: "The cache's directory (default: the recipe's teacher.cache).", completion: .directory)
    var output: String?
    @Option(help: "Keep so many of the likeliest tokens (default: 50).")
    var topK: Int?
    @Option(
        help: "Keep the fewest of the likeliest that together are this likely, --top-k at most (default then: 256).")
    var topP: Double?
    @Option(help: "Bits of a log-probability before it is packed: each more halves the error.")
    var bits = 8
    @Option(help: "What hidden states are stored as, where the recipe's losses ask for some: f16, bf16 or f32.")
    var states: States = .f16
    @Option(help: "Texts that are read side by side.")
    var batch = 8
    @OptionGroup var common: CommonOptions

    enum States: String, ExpressibleByArgument, CaseIterable {
        case f16, bf16, f32

        var dtype: DType { DType(rawValue: rawValue) ?? .f16 }
    }

    func validate() throws {
        func require(_ holds: Bool, _ what: String) throws { if !holds { throw ValidationError(what) } }
        try require((1...4096).contains(topK ?? 1), "--top-k is 1 to 4096")
        try require(topP.map { $0 > 0 && $0 <= 1 } ?? true, "--top-p is above 0 and at most 1")
        try require((4...12).contains(bits), "--bits is 4 to 12")
        try require(batch >= 1, "--batch is 1 or more")
        try require(output != "", "--output is empty: name a directory, or leave it out")
    }

    func run() throws {
        let progress = Progress(quiet: common.quiet)
        let run = try CacheRun(
            readRecipe(recipe, overrides: overrides), output: output,
            kept: topP.map { .mass($0, most: topK ?? 256) } ?? .top(topK ?? 50), bits: bits, states: states.dtype,
            batch: batch, on: common.open(), progress: progress)
        let summary = try run.run()
        progress.finish()
        TextOutput.standardOutput.write(common.json ? summary.json.text() + "\n" : summary.text)
    }
}
