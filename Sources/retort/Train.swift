import ArgumentParser
import RetortDistillation
import RetortKernels
import RetortSupport

struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train a teacher and its students as a recipe says.",
        discussion: """
            Writes a run directory with models, metrics and report.html, and prints the table of results.
            Ctrl-C ends the step and saves; the same command with --output DIRECTORY goes on from there.

            \(RecipeHelp.text)
            """)

    @Argument(help: "The recipe, a YAML file.", completion: .file(extensions: ["yaml", "yml"]))
    var recipe: String
    @Argument(help: "Values that replace the recipe's: train.epochs=10 'seeds=[0, 1]'.")
    var overrides: [String] = []
    @Option(help: "The run directory (default: runs/<recipe>-<date>-<n>).")
    var output: String?
    @Option(help: "Train this seed only, instead of the recipe's.")
    var seed: Int?
    @Flag(help: "Print time, share of the roof and launch cost of each kernel, and how long data was waited for.")
    var profile = false
    @OptionGroup var common: CommonOptions

    func validate() throws {
        if output == "" { throw ValidationError("--output is empty: name a directory, or leave it out") }
    }

    func run() throws {
        let recipe = try readRecipe(recipe, overrides: overrides + (seed.map { ["seeds=[\($0)]"] } ?? []))
        let profiler = profile ? Profiler() : nil
        let device = try common.open(profiler: profiler)
        let progress = Progress(quiet: common.quiet)
        let training = try recipe.start(on: device, output: output, progress: progress)
        let results = try training.run()
        progress.finish()
        let out = TextOutput.standardOutput
        out.write(common.json ? results.summaryJSON.text() + "\n" : summaryTable(results))
        if !common.json { out.writeLine("\nreport: \(training.path)/report.html") }
        if let profiler { TextOutput.standardError.write(try profileTable(profiler, on: device)) }
    }
}
