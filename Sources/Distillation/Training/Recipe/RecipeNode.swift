import RetortSupport

/// A recipe's text after validation: every key known, every default filled in, every value of its type, each with its place.
public struct RecipeNode: Sendable {
    public indirect enum Value: Sendable {
        case text(String)
        case flag(Bool)
        case integer(Int)
        case number(Double)
        case list([RecipeNode])
        /// In the order written, defaults last.
        case section([(key: String, value: RecipeNode)])
    }
    public let value: Value
    /// Where it stands; nil for a default.
    public let location: RetortError.Location?
    /// A path as the recipe has it, before it was made one that can be opened; nil where nothing was changed.
    let written: String?

    public init(_ value: Value, at location: RetortError.Location?) {
        self.init(value, at: location, written: nil)
    }

    private init(_ value: Value, at location: RetortError.Location?, written: String?) {
        self.value = value
        self.location = location
        self.written = written
    }

    /// A key of a section; nil when an optional key is absent.
    public subscript(key: String) -> RecipeNode? {
        guard case .section(let fields) = value else { return nil }
        return fields.first { $0.key == key }?.value
    }

    // The schema has checked types and presence, so these cannot fail for keys that it requires or fills in.
    var text: String { if case .text(let v) = value { v } else { preconditionFailure("schema: text") } }
    var flag: Bool { if case .flag(let v) = value { v } else { preconditionFailure("schema: flag") } }
    var integer: Int { if case .integer(let v) = value { v } else { preconditionFailure("schema: integer") } }
    var number: Double { if case .number(let v) = value { v } else { preconditionFailure("schema: number") } }
    var list: [RecipeNode] { if case .list(let v) = value { v } else { preconditionFailure("schema: list") } }
    var fields: [(key: String, value: RecipeNode)] {
        if case .section(let v) = value { v } else { preconditionFailure("schema: section") }
    }
    func required(_ key: String) -> RecipeNode {
        guard let node = self[key] else { preconditionFailure("schema: \(key)") }
        return node
    }

    /// The node with the value at a path of keys replaced by a text; unchanged when the path is not there.
    func replacing(_ path: [String], by text: String) -> RecipeNode {
        guard let key = path.first else {
            guard case .text(let old) = value else { return RecipeNode(.text(text), at: location) }
            return RecipeNode(.text(text), at: location, written: written ?? old)
        }
        guard case .section(let fields) = value else { return self }
        let replaced = fields.map { field in
            field.key == key
                ? (key: field.key, value: field.value.replacing(Array(path.dropFirst()), by: text)) : field
        }
        return RecipeNode(.section(replaced), at: location)
    }

    /// The node as YAML in flow style inside `indent` levels of block style: what `recipe.resolved.yaml` holds.
    public func yaml(indent: Int = 0) -> String {
        switch value {
        case .section(let fields) where indent < 2 && !fields.isEmpty:
            let pad = String(repeating: "  ", count: indent)
            return fields.map { key, node in
                if case .section(let inner) = node.value, indent < 1, !inner.isEmpty {
                    return pad + Self.quoted(key) + ":\n" + node.yaml(indent: indent + 1)
                }
                return pad + Self.quoted(key) + ": " + node.flow + "\n"
            }.joined()
        default: return flow + "\n"
        }
    }

    private var flow: String {
        switch value {
        case .text(let v): Self.quoted(v)
        case .flag(let v): v ? "true" : "false"
        case .integer(let v): String(v)
        case .number(let v): NumberFormat.plain(v)
        case .list(let v): "[" + v.map(\.flow).joined(separator: ", ") + "]"
        case .section(let v): "{" + v.map { Self.quoted($0.key) + ": " + $0.value.flow }.joined(separator: ", ") + "}"
        }
    }

    /// Plain where no reader could take it for anything else, double-quoted otherwise.
    private static func quoted(_ text: String) -> String {
        let plain = text.unicodeScalars.allSatisfy {
            ("a"..."z").contains($0) || ("A"..."Z").contains($0) || $0 == "-" || $0 == "_"
        }
        let words: Set<String> = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"]
        if plain, let first = text.first, first.isLetter, !words.contains(text.lowercased()) { return text }
        return JSON.string(text).text()
    }
}
