import ArgumentParser
import RetortDistillation
import RetortSupport

struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what is in a model directory, a safetensors file, a tokenizer or a run directory.")

    @Argument(
        help: "A .safetensors file, a model directory, a tokenizer's file or directory, or a run directory.",
        completion: .directory)
    var path: String
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        let inspection = try Inspection(path)
        TextOutput.standardOutput.write(json ? inspection.json.text() + "\n" : inspection.text)
    }
}
