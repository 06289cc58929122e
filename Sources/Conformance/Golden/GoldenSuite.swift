import RetortData
import RetortSupport

/// One file of reference results: the cases of one family of operations.
public struct GoldenSuite: Sendable {
    /// "ops", "losses" or "misc".
    public let group: String
    /// The file's name without ending: "softmax".
    public let family: String
    let path: String
    let root: JSONCursor

    /// "ops/softmax".
    public var name: String { group + "/" + family }

    init(path: String, group: String) throws {
        let file = path.split(separator: "/").last.map(String.init) ?? path
        self.group = group
        self.path = path
        family = file.hasSuffix(".json") ? String(file.dropLast(".json".count)) : file
        root = JSONCursor(try JSON.read(path), file: path)
        if let stated = try root.optional("family"), try stated.string() != family {
            throw stated.failure("the file is called \(file)")
        }
    }

    /// The names of the cases, from the JSON alone; a suite that is a single table is one case called "all".
    func caseNames() throws -> [String] {
        guard let list = try root.optional("cases") ?? root.optional("schedules") else { return ["all"] }
        let names = try list.elements().map { try $0.member("name").string() }
        var seen: Set<String> = []
        if let repeated = names.first(where: { !seen.insert($0).inserted }) {
            throw list.failure("two cases are called \(repeated.quoted(limit: 200))")
        }
        return names
    }

    /// The case called `name`, of the usual form.
    func goldenCase(_ name: String) throws -> GoldenCase {
        for cursor in try root.member("cases").elements() where try cursor.member("name").string() == name {
            return try GoldenCase(cursor)
        }
        throw root.failure("there is no case \(name.quoted(limit: 200))")
    }

    /// The tensors the suite describes.
    func openTensors() throws -> SafeTensors {
        let file = try root.member("file")
        let name = try file.string()
        // A suite speaks of the file beside it, and of no other.
        guard !name.contains("/"), name.hasSuffix(".safetensors") else {
            throw file.failure("it must name a safetensors file beside it")
        }
        return try SafeTensors(path: String(path.dropLast(family.count + ".json".count)) + name)
    }
}
