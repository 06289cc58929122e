extension JSON {
    /// How `text` lays out a value.
    public enum Layout: Sendable {
        /// One line, no spaces: for JSON lines and machines.
        case compact
        /// Two spaces per level, one member or element per line: for people.
        case pretty
    }

    /// The value as JSON text, without a newline at the end. Keys keep their order; the same value always gives the same
    /// bytes. Numbers are the shortest that read back the same. Values that are not finite, which JSON cannot express,
    /// become the strings "NaN", "Infinity", "-Infinity".
    public func text(_ layout: Layout = .compact) -> String {
        String(decoding: bytes(layout), as: UTF8.self)
    }

    /// `text(_:)` as UTF-8 bytes.
    public func bytes(_ layout: Layout = .compact) -> [UInt8] {
        var writer = JSONWriter(isPretty: layout == .pretty)
        writer.write(self, level: 0)
        return writer.output
    }
}

private struct JSONWriter {
    let isPretty: Bool
    var output: [UInt8] = []

    init(isPretty: Bool) {
        self.isPretty = isPretty
    }

    mutating func write(_ value: JSON, level: Int) {
        switch value {
        case .null: append("null")
        case .bool(let flag): append(flag ? "true" : "false")
        case .int(let number): append(String(number))
        case .double(let number): write(number)
        case .string(let string): write(string)
        case .array(let elements):
            writeList(open: "[", close: "]", count: elements.count, level: level) { writer, index in
                writer.write(elements[index], level: level + 1)
            }
        case .object(let object):
            writeList(open: "{", close: "}", count: object.count, level: level) { writer, index in
                writer.write(object.members[index].key)
                writer.append(writer.isPretty ? ": " : ":")
                writer.write(object.members[index].value, level: level + 1)
            }
        }
    }

    private mutating func writeList(
        open: String, close: String, count: Int, level: Int, element: (inout JSONWriter, Int) -> Void
    ) {
        append(open)
        for index in 0..<count {
            if index > 0 { append(",") }
            newLine(level + 1)
            element(&self, index)
        }
        if count > 0 { newLine(level) }
        append(close)
    }

    private mutating func newLine(_ level: Int) {
        guard isPretty else { return }
        output.append(UInt8(ascii: "\n"))
        for _ in 0..<level { append("  ") }
    }

    private mutating func write(_ number: Double) {
        if number.isNaN {
            append("\"NaN\"")
        } else if number.isInfinite {
            append(number < 0 ? "\"-Infinity\"" : "\"Infinity\"")
        } else {
            // Swift's description is the shortest text that reads back the same, and valid JSON: 1.0, 1e-05, 5e-324.
            append(number.description)
        }
    }

    private mutating func write(_ string: String) {
        output.append(UInt8(ascii: "\""))
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": append("\\\"")
            case "\\": append("\\\\")
            case "\n": append("\\n")
            case "\r": append("\\r")
            case "\t": append("\\t")
            case "\u{8}": append("\\b")
            case "\u{C}": append("\\f")
            // Controls; and the separators that end a line in JavaScript, for text embedded in a report.
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                append("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits)
            default: output.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            }
        }
        output.append(UInt8(ascii: "\""))
    }

    private mutating func append(_ text: String) {
        output.append(contentsOf: text.utf8)
    }
}
