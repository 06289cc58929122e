import ArgumentParser
import RetortConformance
import RetortSupport

struct TestOpsList: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Name every op, sample and gradient check.")

    @OptionGroup var options: OpOptions

    func run() throws {
        let list = try OpList(options.selection())
        TextOutput.standardOutput.write(options.json ? list.json.text() + "\n" : list.text)
    }
}
