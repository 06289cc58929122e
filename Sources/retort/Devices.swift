import ArgumentParser
import RetortRuntime
import RetortSupport

struct Devices: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the devices --device can name.")

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        let list = DeviceList()
        TextOutput.standardOutput.write(json ? list.json.text() + "\n" : list.text)
    }
}
