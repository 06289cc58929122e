import RetortSupport

/// A kind of component that tokenizer.json may name in its `type`, and how to read it.
struct Component<Part>: Sendable {
    let name: String
    let make: @Sendable (JSONCursor) throws -> Part

    init(_ name: String, _ make: @escaping @Sendable (JSONCursor) throws -> Part) {
        self.name = name
        self.make = make
    }

    /// Reads the component at `cursor`.
    /// - Parameter role: "normalizer", "decoder", …: for the error.
    /// - Throws: `RetortError` 65 when its type is not among `kinds`, or it is damaged.
    static func read(_ cursor: JSONCursor, _ role: String, among kinds: [Component]) throws -> Part {
        let type = try cursor.member("type")
        let name = try type.string()
        guard let kind = kinds.first(where: { $0.name == name }) else {
            throw type.failure(
                "the \(role) \(name.quoted()) is not known",
                help: EditDistance.suggestion(for: name, among: kinds.map(\.name)))
        }
        return try kind.make(cursor)
    }
}

/// What a component looks for: a string, or the matches of a regular expression. `{"String": …}` or `{"Regex": …}`.
enum TextPattern {
    case string([UInt8])
    case pattern(Pattern)

    /// - Throws: `RetortError` 65, 69 when PCRE2 is missing.
    init(_ cursor: JSONCursor) throws {
        try cursor.expectKeys(["String", "Regex"])
        if let string = try cursor.optional("String") {
            self = .string(Array(try string.string().utf8))
        } else {
            let regex = try cursor.member("Regex")
            self = .pattern(try Pattern(regex.string(), at: regex))
        }
    }

    /// `text` with every occurrence replaced.
    /// - Throws: `RetortError` 65 when that is too long, or a pattern exceeds its limits.
    func replace(in text: [UInt8], with content: [UInt8]) throws -> [UInt8] {
        switch self {
        case .string(let string): return try replace(StringMatcher(string: string), in: text, with: content)
        case .pattern(let pattern): return try replace(pattern, in: text, with: content)
        }
    }

    private func replace(_ matcher: some TextMatcher, in text: [UInt8], with content: [UInt8]) throws -> [UInt8] {
        try text.withUnsafeBufferPointer { bytes in
            var result: [UInt8] = []
            var end = 0
            try matcher.forEachMatch(in: bytes) { match in
                result += bytes[end..<match.lowerBound]
                result += content
                end = match.upperBound
                try TokenizerLimit.check(textBytes: result.count)
            }
            guard end > 0 || !result.isEmpty else { return text }
            result += bytes[end...]
            return result
        }
    }
}
