import RetortSupport
import Yams

/// Reads a recipe: YAML through `compose` only (no aliases, no implicit YAML 1.1 conversions, a place for every value), checked
/// against the schema. All mistakes are reported, not only the first.
public struct RecipeReader {
    /// Limits before anything is built from the text.
    static let largestFile = 1 << 20
    static let deepest = 16
    static let mostNodes = 10_000

    private let file: String
    private var problems: [RetortError] = []
    private var nodes = 0
    /// Paths of the values that came from the command line: they have no place in the file.
    private var overridden: [[String]] = []

    private var parsers: [Parser] = []
    private var family = RecipeFamily.classification

    private init(file: String) { self.file = file }

    /// Reads and checks a recipe file. Throws as `read(_:file:overrides:)`, and `RetortError` 66 when it is not there.
    static func read(path: String, overrides: [String]) throws -> RecipeNode {
        let file = try InputFile(path: path)
        guard file.size <= largestFile else {
            throw RetortError.recipe("the recipe is larger than 1 MiB", at: .init(file: path))
        }
        let bytes = try file.readAll(limit: largestFile)
        guard UTF8Check.firstInvalidOffset(in: bytes) == nil else {
            throw RetortError.recipe("the recipe is not UTF-8 text", at: .init(file: path))
        }
        return try read(String(decoding: bytes, as: UTF8.self), file: path, overrides: overrides)
    }

    /// - Parameters:
    ///   - text: the file's content.
    ///   - file: its name for messages.
    ///   - overrides: `key.sub=value` words from the command line, applied in order.
    /// - Throws: `RetortError` with exit 78 (or 64 for an override without `=`).
    public static func read(_ text: String, file: String, overrides: [String] = []) throws -> RecipeNode {
        var reader = RecipeReader(file: file)
        guard text.utf8.count <= largestFile else {
            throw RetortError.recipe("the recipe is larger than 1 MiB", at: .init(file: file))
        }
        // A byte order mark is allowed in front of a YAML stream, and stands for nothing.
        let bare = text.unicodeScalars.first == "\u{FEFF}" ? String(text.unicodeScalars.dropFirst()) : text
        guard var root = try reader.compose(bare, file) else {
            throw RetortError.recipe("the recipe is empty", at: .init(file: file, line: 1, column: 1))
        }
        for override in overrides { root = try reader.apply(override, to: root) }
        reader.family = RecipeFamily(dataKind: root.mapping?["data"]?.mapping?["kind"]?.string)
        let node = reader.check(root, .section(reader.family.schema), path: [], depth: 0)
        guard let node, reader.problems.isEmpty else { throw reader.combined() }
        try node.checkSections()
        return node
    }

    /// One value by itself, checked against a type: how the tests read every default.
    static func readValue(_ text: String, _ type: RecipeType) throws -> RecipeNode {
        var reader = RecipeReader(file: "default")
        guard let node = try reader.compose(text, reader.file),
            let checked = reader.check(node, type, path: ["default"], depth: 0),
            reader.problems.isEmpty
        else { throw reader.combined() }
        return checked
    }

    /// The values of a YAML text as readers take them that know no recipes: what an editor holds against the JSON schema.
    /// - Throws: `RetortError` 78 for what is not YAML, and for aliases.
    static func plainValues(_ text: String, file: String) throws -> JSON {
        var reader = RecipeReader(file: file)
        guard let root = try reader.compose(text, file) else { return .null }
        return JSON(plain: root)
    }

    // MARK: YAML

    private mutating func compose(_ text: String, _ file: String) throws -> Node? {
        if let alias = Self.alias(in: text) {
            throw RetortError.recipe(
                "\("*" + alias.name) is an alias; recipes have none",
                at: .init(file: file, line: alias.line, column: alias.column),
                why: "it stands for what is marked with &\(alias.name)", help: "write the value out")
        }
        do {
            // What Yams.compose does, but the parser stays: nodes hold their anchors weakly.
            let parser = try Parser(yaml: text)
            parsers.append(parser)
            return try parser.singleRoot()
        } catch let error as YamlError {
            switch error {
            case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
                .composer(_, let problem, let mark, _):
                let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
                guard problem != "but found another document" else {
                    throw RetortError.recipe(
                        "a second YAML document begins here",
                        at: .init(file: file, line: mark.line, column: mark.column),
                        help: "A recipe is one document: remove `---` and what belongs to the other.")
                }
                let hasTab = lines.indices.contains(mark.line - 1) && lines[mark.line - 1].contains("\t")
                throw RetortError.recipe(
                    "this is not YAML: \(problem)", at: .init(file: file, line: mark.line, column: mark.column),
                    help: hasTab ? "This line has a tab: YAML is indented with spaces." : "")
            case .reader(let problem, _, _, _):
                throw RetortError.recipe(
                    "this is not YAML: \(problem)", at: Self.controlCharacter(in: text, file) ?? .init(file: file))
            case .duplicatedKeysInMapping(let duplicates, let context):
                let keys = duplicates.joined(separator: ", ")
                throw RetortError.recipe(
                    "key \(keys) stands twice in one section, here for the first time",
                    at: .init(file: file, line: context.mark.line, column: context.mark.column))
            default: throw RetortError.recipe("this is not YAML: \(error)", at: .init(file: file))
            }
        }
    }

    /// Where the first character stands that no YAML text may have.
    private static func controlCharacter(in text: String, _ file: String) -> RetortError.Location? {
        var (line, column) = (1, 0)
        for scalar in text.unicodeScalars {
            column += 1
            if scalar == "\n" { (line, column) = (line + 1, 0) }
            guard scalar.properties.generalCategory == .control, !"\t\n\r\u{85}".unicodeScalars.contains(scalar) else {
                continue
            }
            return .init(file: file, line: line, column: column)
        }
        return nil
    }

    /// The first word `*name` for which there is a `&name` too. Composing a text unfolds its aliases, and a few lines of them are
    /// enough to unfold for ever; so they are looked for first, by their letters alone. A quoted `*name` counts as well.
    private static func alias(in text: String) -> (name: String, line: Int, column: Int)? {
        let before: Set<Unicode.Scalar> = [" ", "\t", "\n", "\r", "[", "{", ",", ":", "-", "?"]
        var anchors: Set<String> = []
        var aliases: [(name: String, line: Int, column: Int)] = []
        var (line, column) = (1, 0)
        var last: Unicode.Scalar = "\n"
        let scalars = Array(text.unicodeScalars)
        for (index, scalar) in scalars.enumerated() {
            column += 1
            if scalar == "&" || scalar == "*", before.contains(last) {
                let rest = scalars[(index + 1)...].prefix {
                    $0.properties.isAlphabetic || "0123456789_-".unicodeScalars.contains($0)
                }
                let name = String(String.UnicodeScalarView(rest))
                if scalar == "&" { anchors.insert(name) } else { aliases.append((name, line, column)) }
            }
            if scalar == "\n" { (line, column) = (line + 1, 0) }
            last = scalar
        }
        return aliases.first { !$0.name.isEmpty && anchors.contains($0.name) }
    }

    /// Replaces or adds one value: `train.epochs=10`, `seeds=[1, 2]`. Numbers step into lists: `arms.student.objective.0.alpha=1`. `null` takes
    /// the key away.
    private mutating func apply(_ override: String, to root: Node) throws -> Node {
        guard let equals = override.firstIndex(of: "="), equals != override.startIndex else {
            throw RetortError.usage(
                "\(override.quoted()) is not an override", help: "write key.sub=value, for example train.epochs=10")
        }
        let path = override[..<equals].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard !path.contains("") else {
            throw RetortError.usage("\(override.quoted()) has an empty key", help: "write key.sub=value")
        }
        let source = "override \(override[..<equals])"
        let value: Node
        do {
            value = try compose(String(override[override.index(after: equals)...]), source) ?? Node("")
        } catch let error as RetortError {
            throw RetortError.usage(
                "\(override.quoted()) is not an override", why: error.what,
                help: "write key.sub=value, for example train.epochs=10")
        }
        overridden.append(path)
        return try replacing(root, path[...], by: Self.isNull(value) ? nil : value, override)
    }

    /// Whether a word stands for nothing: one that is quoted stands for itself.
    private static func isNull(_ node: Node) -> Bool {
        guard case .scalar(let scalar) = node, scalar.style == .plain, !scalar.string.isEmpty else { return false }
        return JSON(plainWord: scalar.string) == .null
    }

    /// - Parameter value: nil takes away what is there.
    private func replacing(
        _ node: Node, _ path: ArraySlice<String>, by value: Node?, _ override: String
    ) throws -> Node {
        guard let key = path.first else { return value ?? node }
        switch node {
        case .mapping(var mapping):
            let old = mapping.first { $0.key.string == key }
            guard value != nil || old != nil else {
                throw RetortError.recipe(
                    "\(override.quoted()): there is no \(key.quoted()) to take away", at: .init(file: "command line"))
            }
            if let old, value == nil, path.count == 1 {
                mapping[old.key] = nil
                return .mapping(mapping)
            }
            let inner = old?.value ?? .mapping(Node.Mapping([], Tag(.map), .flow))
            mapping[Node(key, Tag(.str))] = try replacing(inner, path.dropFirst(), by: value, override)
            return .mapping(mapping)
        case .sequence(var sequence):
            guard value != nil || path.count > 1 else {
                throw RetortError.recipe(
                    "\(override.quoted()): an element of a list is not taken away",
                    at: .init(file: "command line"), help: "write the list anew")
            }
            guard let index = Int(key), sequence.indices.contains(index) else {
                throw RetortError.recipe(
                    "\(override.quoted()): there is no element \(key) in a list of \(sequence.count)",
                    at: .init(file: "command line"))
            }
            sequence[index] = try replacing(sequence[index], path.dropFirst(), by: value, override)
            return .sequence(sequence)
        default:
            throw RetortError.recipe(
                "\(override.quoted()): there is nothing inside the value before \(key.quoted())",
                at: .init(file: "command line"))
        }
    }

    // MARK: Schema

    private func location(_ node: Node, _ path: [String]) -> RetortError.Location {
        if overridden.contains(where: { path.starts(with: $0) }) { return .init(file: "command line") }
        // A key that only the command line has brought along carries no mark.
        guard let mark = node.mark else {
            return .init(file: overridden.contains { $0.starts(with: path) } ? "command line" : file)
        }
        return .init(file: file, line: mark.line, column: mark.column)
    }

    private mutating func refuse(_ what: String, _ node: Node, _ path: [String], why: String = "", help: String = "") {
        problems.append(.recipe(what, at: location(node, path), why: why, help: help))
    }

    private mutating func check(_ node: Node, _ type: RecipeType, path: [String], depth: Int) -> RecipeNode? {
        nodes += 1
        guard depth <= Self.deepest else {
            refuse("the recipe is nested too deeply", node, path, why: "\(Self.deepest) levels are the limit")
            return nil
        }
        guard nodes <= Self.mostNodes else {
            // Said once, of the first value beyond: all that follow are beyond too.
            if nodes == Self.mostNodes + 1 {
                refuse("the recipe has more than \(Self.mostNodes) values, the limit", node, path)
            }
            return nil
        }
        let name = path.isEmpty ? "the recipe" : path.joined(separator: ".")
        if node.anchor != nil { refuse("\(name) carries an anchor; recipes have none", node, path) }
        if let tag = Self.foreignTag(node) {
            refuse(
                "\(name) carries the tag \(tag.quoted())", node, path,
                why: "what a value is follows from its key; a tag would be passed over", help: "remove the tag")
        }

        switch type {
        case .section(let section): return checkSection(node, section, path: path, depth: depth)
        case .variant(let key, let sections): return checkVariant(node, key, sections, path: path, depth: depth)
        case .named(let inner):
            guard case .mapping(let mapping) = node, !mapping.isEmpty else { return mismatch(type, node, path) }
            var fields: [(key: String, value: RecipeNode)] = []
            for (keyNode, value) in mapping {
                guard let key = plainKey(keyNode, path) else { continue }
                // It becomes the name of a folder, so it must not be empty.
                let valid = key.unicodeScalars.allSatisfy {
                    $0.properties.isAlphabetic || "0123456789-_".unicodeScalars.contains($0)
                }
                if !valid || key.isEmpty || key == "teacher" || key.utf8.count > 64 {
                    refuse(
                        "\(key.quoted()) cannot be a name", keyNode, path + [key],
                        why: "a name has letters, digits, - and _, 1 to 64 bytes of them, and teacher is taken")
                }
                if let checked = check(value, inner, path: path + [key], depth: depth + 1) {
                    fields.append((key, checked))
                }
            }
            return RecipeNode(.section(fields), at: location(node, path))
        case .list(let element, let count):
            guard case .sequence(let sequence) = node else { return mismatch(type, node, path) }
            guard count.contains(sequence.count) else {
                refuse(
                    "\(name) has \(NumberFormat.counted(sequence.count, "element", "elements")), not "
                        + "\(count.lowerBound) to \(count.upperBound)", node, path
                )
                return nil
            }
            let items = sequence.enumerated().compactMap {
                check($0.element, element, path: path + [String($0.offset)], depth: depth + 1)
            }
            return RecipeNode(.list(items), at: location(node, path))
        case .text, .flag, .integer, .number, .bytes, .choice: return checkScalar(node, type, path)
        }
    }

    private mutating func checkScalar(_ node: Node, _ type: RecipeType, _ path: [String]) -> RecipeNode? {
        let name = path.joined(separator: ".")
        guard case .scalar(let scalar) = node else { return mismatch(type, node, path) }
        let quoted = scalar.style == .singleQuoted || scalar.style == .doubleQuoted
        let word = scalar.string
        let at = location(node, path)
        switch type {
        case .text:
            // Nothing is called by no name; other texts may be empty. A plain null is no text.
            if quoted ? !word.isEmpty || path.last != "path" : !word.isEmpty && !Self.isNull(node) {
                return RecipeNode(.text(word), at: at)
            }
        case .choice(let words):
            if words.contains(word) { return RecipeNode(.text(word), at: at) }
            refuse(
                "\(name) is \(word.quoted())", node, path, why: "it must be " + type.phrase + family.remark(on: word),
                help: nearest(to: word, among: words))
            return nil
        case .flag:
            // Only these two: YAML 1.1's yes, no, on and off surprise people.
            if !quoted, word == "true" || word == "false" { return RecipeNode(.flag(word == "true"), at: at) }
        case .integer(let range):
            if !quoted, let value = Int(word.filter { $0 != "_" }), isDecimal(word) {
                if range.contains(value) { return RecipeNode(.integer(value), at: at) }
                refuse("\(name) is \(value)", node, path, why: "it must be " + type.phrase)
                return nil
            }
        case .number(let range):
            if !quoted, let value = DecimalText.double(word), value.isFinite {
                if range.contains(value) { return RecipeNode(.number(value), at: at) }
                refuse("\(name) is \(word)", node, path, why: "it must be " + type.phrase)
                return nil
            }
        case .bytes: if !quoted, let count = ByteCount.parse(word) { return RecipeNode(.integer(count), at: at) }
        default: break
        }
        return mismatch(type, node, path)
    }

    private func isDecimal(_ word: String) -> Bool {
        let digits = word.hasPrefix("-") ? word.dropFirst() : word[...]
        // 017 is fifteen to YAML 1.1 and seventeen to people: neither is accepted.
        return digits.first?.isNumber == true && (digits.count == 1 || digits.first != "0")
    }

    private mutating func checkSection(_ node: Node, _ section: RecipeSection, path: [String], depth: Int)
        -> RecipeNode?
    {
        if let key = section.shorthand, case .scalar(let scalar) = node, !scalar.string.isEmpty, !Self.isNull(node) {
            let whole = Node.Mapping([(Node(key, Tag(.str)), node)])
            return checkFields(whole, node, section.fields, path: path, depth: depth)
        }
        guard case .mapping(let mapping) = node else { return mismatch(.section(section), node, path) }
        return checkFields(mapping, node, section.fields, path: path, depth: depth)
    }

    private mutating func checkVariant(
        _ node: Node, _ key: String, _ sections: [RecipeSection], path: [String], depth: Int
    ) -> RecipeNode? {
        let name = path.isEmpty ? "the recipe" : path.joined(separator: ".")
        guard case .mapping(let mapping) = node else { return mismatch(.variant(key: key, sections), node, path) }
        guard let kind = mapping.first(where: { $0.key.string == key })?.value else {
            refuse(
                "\(name) has no \(key)", node, path,
                help: "add \(key): " + sections.map(\.name).joined(separator: " | "))
            return nil
        }
        let words = sections.map(\.name)
        guard let checked = check(kind, .choice(words), path: path + [key], depth: depth + 1),
            let section = sections.first(where: { $0.name == checked.text })
        else { return nil }
        let discriminator = RecipeField(key, .choice(words), .required, "which kind")
        return checkFields(mapping, node, [discriminator] + section.fields, path: path, depth: depth)
    }

    private mutating func checkFields(
        _ mapping: Node.Mapping, _ node: Node, _ fields: [RecipeField], path: [String], depth: Int
    ) -> RecipeNode? {
        var found: [(key: String, value: RecipeNode)] = []
        var seen: Set<String> = []
        let before = problems.count
        for (keyNode, value) in mapping {
            guard let key = plainKey(keyNode, path) else { continue }
            guard let field = fields.first(where: { $0.key == key }) else {
                let place = path.isEmpty ? "" : " in \(path.joined(separator: "."))"
                refuse(
                    "unknown key \(key.quoted())\(place)", keyNode, path + [key],
                    why: "keys here: " + fields.map(\.key).joined(separator: ", "),
                    help: nearest(to: key, among: fields.map(\.key)))
                continue
            }
            seen.insert(key)
            if let checked = check(value, field.type, path: path + [key], depth: depth + 1) {
                found.append((key, checked))
            }
        }
        for field in fields where !seen.contains(field.key) {
            switch field.presence {
            case .optional: break
            case .required:
                let name = (path + [field.key]).joined(separator: ".")
                refuse("\(name) is missing", node, path, why: "\(field.summary); it must be \(field.type.phrase)")
            case .defaulted(let text):
                // The limit is of what the file says: a value that is filled in has no place there to complain of.
                let written = nodes
                nodes = 0
                // A default that the schema itself refuses would be a bug of ours; the tests read every default.
                if let value = try? Yams.compose(yaml: text),
                    let checked = check(value, field.type, path: path + [field.key], depth: depth + 1)
                {
                    found.append((field.key, RecipeNode(checked.value, at: nil)))
                }
                nodes = written
            }
        }
        return problems.count == before ? RecipeNode(.section(found), at: location(node, path)) : nil
    }

    /// Tags that say what YAML would have taken the value for; "" is none.
    private static let coreTags: Set<String> = Set(
        ["", "!"] + ["str", "int", "float", "bool", "null", "seq", "map"].map { "tag:yaml.org,2002:" + $0 })

    /// A tag of the text's own. Yams gives texts that look like dates one by itself, but only when it is asked through the node.
    private static func foreignTag(_ node: Node) -> String? {
        let tag: Tag
        switch node {
        case .scalar(let scalar): tag = scalar.tag
        case .mapping(let mapping): tag = mapping.tag
        case .sequence(let sequence): tag = sequence.tag
        default: return nil
        }
        return coreTags.contains(tag.description) ? nil : tag.description
    }

    private mutating func plainKey(_ node: Node, _ path: [String]) -> String? {
        if case .scalar(let scalar) = node { return scalar.string }
        refuse("a key must be a word", node, path)
        return nil
    }

    /// The word that was meant, perhaps. All of them stand in the message already.
    private func nearest(to word: String, among words: [String]) -> String {
        EditDistance.nearest(to: word, among: words).map { "Did you mean \($0.quoted())?" } ?? ""
    }

    private mutating func mismatch(_ type: RecipeType, _ node: Node, _ path: [String]) -> RecipeNode? {
        let name = path.isEmpty ? "the recipe" : path.joined(separator: ".")
        let found: String
        switch node {
        case .scalar(let scalar):
            found = scalar.string.isEmpty ? "empty" : Self.isNull(node) ? "null" : scalar.string.quoted()
        case .sequence: found = "a list"
        case .mapping(let mapping): found = mapping.isEmpty ? "an empty section" : "a section"
        default: found = "an alias"
        }
        refuse(
            "\(name) is \(found)", node, path, why: "it must be " + type.phrase,
            help: Self.isNull(node) ? "leave the key out; put the word in quotes where it is meant" : "")
        return nil
    }

    /// All problems as one error: the first gives the place, the others follow.
    private func combined() -> RetortError {
        guard var first = problems.first else { return .internalBug("a recipe was refused without a reason") }
        let others = problems.dropFirst().prefix(20)
        guard !others.isEmpty else { return first }
        let rest = others.map { problem in
            let place = problem.location.map { at in
                ([at.file] + [at.line, at.column].compactMap(\.self).map(String.init)).joined(separator: ":") + ": "
            }
            let hint = [problem.why, problem.help].filter { !$0.isEmpty }.joined(separator: "; ")
            return (place ?? "") + problem.what + (hint.isEmpty ? "" : " (\(hint))")
        }
        first.why +=
            (first.why.isEmpty ? "" : "\n") + "and \(problems.count - 1) more:\n" + rest.joined(separator: "\n")
        return first
    }
}
