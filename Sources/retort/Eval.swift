import ArgumentParser
import RetortDistillation
import RetortSupport

struct Eval: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Measure a saved model on labelled data.")

    @Argument(help: "A model directory, e.g. RUN/student/seed-0/final.", completion: .directory)
    var model: String
    @Option(help: "A CSV file with a header.", completion: .file(extensions: ["csv"]))
    var data: String
    @Option(help: "The column that holds the class.")
    var label: String = "label"
    @Option(help: "Every feature is multiplied by this, as in the recipe.")
    var scale: Float = 1
    @Option(help: "Use only every n-th row, counted from the first: the recipe's test rows.")
    var testEvery: Int?
    @Option(help: "Also compare with this teacher's directory.", completion: .directory)
    var teacher: String?
    @OptionGroup var common: CommonOptions

    func run() throws {
        let results = try evaluate(
            model: model, teacher: teacher, data: data, label: label, scale: scale, testEvery: testEvery,
            on: try common.open())
        TextOutput.standardOutput.write(common.json ? results.summaryJSON.text() + "\n" : summaryTable(results))
    }
}
