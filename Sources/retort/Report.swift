import ArgumentParser
import RetortDistillation
import RetortSupport

struct Report: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Draw a run's report.html again and print its table.")

    @Argument(help: "A run directory.", completion: .directory)
    var directory: String
    @Flag(help: "Print results as one JSON object.")
    var json = false
    @Flag(help: "Print every arm against the student alone, as a Markdown table, and write nothing.")
    var methods = false

    func run() throws {
        let results = try RunDirectory.results(in: directory)
        if methods { return TextOutput.standardOutput.write(methodsTable(results)) }
        try RunDirectory.writeReport(results, to: directory)
        TextOutput.standardOutput.write(json ? results.summaryJSON.text() + "\n" : summaryTable(results))
        if !json { TextOutput.standardOutput.writeLine("\nreport: \(directory)/report.html") }
    }
}
