import ArgumentParser
import RetortDistillation
import RetortSupport

struct Report: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Draw a run's report.html again and print its table.")

    @Argument(help: "A run directory.", completion: .directory)
    var directory: String
    @Flag(help: "Print results as one JSON object, and write nothing.")
    var json = false
    @Flag(help: "Print every arm against the student alone, as a Markdown table, and write nothing.")
    var methods = false

    func run() throws {
        let results = try RunDirectory.results(in: directory)
        if methods { return TextOutput.standardOutput.write(methodsTable(results)) }
        if json { return TextOutput.standardOutput.write(results.summaryJSON.text() + "\n") }
        // The table first: it can be read where the page cannot be written.
        TextOutput.standardOutput.write(summaryTable(results))
        try RunDirectory.writeReport(results, to: directory)
        TextOutput.standardOutput.writeLine("\nreport: \(directory)/report.html")
    }
}
