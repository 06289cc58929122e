import ArgumentParser
import RetortDistillation
import RetortSupport

struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what a recipe will take of a device, before anything is trained.",
        discussion: """
            For the teacher and every arm: parameters, steps, memory of a training step by what it is for, arithmetic and an estimate of time.
            The recipe's own steps are gone through on a device without bytes, so that the peak is the one a run will report. Nothing is
            written, and no weights are read. A recipe that does not fit on the device ends with exit code 69.
            """)

    @Argument(help: "The recipe, a YAML file.", completion: .file(extensions: ["yaml", "yml"]))
    var recipe: String
    @Argument(help: "Values that replace the recipe's: train.batch=8.")
    var overrides: [String] = []
    @OptionGroup var common: CommonOptions

    func run() throws {
        let recipe = try readRecipe(recipe, overrides: overrides)
        let plan = try recipe.plan(on: common.open())
        TextOutput.standardOutput.write(common.json ? plan.json.text() + "\n" : plan.text)
        try plan.check()
    }
}
