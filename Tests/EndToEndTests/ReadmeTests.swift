import Foundation
import TestSupport
import Testing

@Suite("README")
struct ReadmeTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Every path of the tree in the README, relative to the root.
    private static func tree() throws -> [String] {
        let text = try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
        let parts = text.components(separatedBy: "<!-- tree -->")
        let block = try #require(parts.count == 2 ? parts[1].components(separatedBy: "<!-- /tree -->").first : nil)
        var parents: [String] = []
        return block.split(separator: "\n").filter { !$0.hasPrefix("```") }.map { line in
            let depth = line.prefix { $0 == " " }.count / 2
            let name = line.trimmingCharacters(in: .whitespaces).split(separator: " ").first.map(String.init) ?? ""
            parents = Array(parents.prefix(depth)) + [name]
            return parents.joined()
        }
    }

    /// A message that sends its reader to a command that is not there helps nobody.
    @Test("every `retort verb` that sources and documents name is there")
    func verbs() throws {
        let help = try Child.retort(["--help"]).stdout
        let list = try #require(help.components(separatedBy: "SUBCOMMANDS:").last)
        let known = Set(list.matches(of: #/\n {2}([a-z-]+) /#).map { String($0.1) }).union(["help"])
        #expect(known.contains("train"))
        let folders = ["Sources", "docs", "recipes"].flatMap { folder in
            (FileManager.default.subpaths(atPath: Self.root.path + "/" + folder) ?? []).map { folder + "/" + $0 }
        }
        for file in folders + ["README.md", "CONTRIBUTING.md"]
        where file.hasSuffix(".swift") || file.hasSuffix(".md") || file.hasSuffix(".yaml") {
            let text = try String(contentsOfFile: Self.root.path + "/" + file, encoding: .utf8)
            for match in text.matches(of: #/`retort ([a-z][a-z-]*)/#) {
                #expect(known.contains(String(match.1)), "\(file) names \(match.0)`")
            }
        }
    }

    /// A recipe whose comment sends its reader to a file that nobody has cannot be tried.
    @Test("commands in recipes' comments: the files of this repository are there, and the overrides are the recipe's")
    func commands() throws {
        let folder = Self.root.path + "/recipes"
        var tried = 0
        for name in try #require(FileManager.default.subpaths(atPath: folder)).sorted() where name.hasSuffix(".yaml") {
            let text = try String(contentsOfFile: folder + "/" + name, encoding: .utf8)
            for match in text.matches(of: #/Tests/[\w./-]+/#) {
                #expect(FileManager.default.fileExists(atPath: Self.root.path + "/\(match.0)"), "\(name): \(match.0)")
            }
            let joined = text.replacing("\\\n#", with: "")
            let words = #/ retort train (recipes/[^ \n]+(?: +(?:'[^'\n]+'|[^ '\n]+=[^ '\n]+))*)/#
            for match in joined.matches(of: words) {
                let child = try Child.shell("\"$RETORT\" validate \(match.1)")
                #expect(child.exit == 0, "\(name): \(match.1): \(child.stderr)")
                tried += 1
            }
        }
        #expect(tried >= 4)
    }

    @Test("the tree in the README is the tree on disk")
    func treeOnDisk() throws {
        let listed = try Self.tree()
        for path in listed {
            #expect(FileManager.default.fileExists(atPath: Self.root.appendingPathComponent(path).path), "\(path)")
        }
        // And the other way round, where the README goes into detail: every room of Sources and every module's folder.
        for folder in ["Sources", "Sources/Kernels", "Sources/Runtime", "Sources/Distillation"] {
            let entries = try FileManager.default.contentsOfDirectory(
                atPath: Self.root.appendingPathComponent(folder).path)
            for entry in entries {
                var isFolder: ObjCBool = false
                let path = Self.root.appendingPathComponent(folder + "/" + entry).path
                guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
                    continue
                }
                #expect(listed.contains("\(folder)/\(entry)/"), "\(folder)/\(entry) is not in the README's tree")
            }
        }
    }
}
