import RetortSupport

/// What a Jinja template says, apart from how it is laid out: quotes, spaces inside tags, `.name` or `['name']`, white space that the
/// tags take with them (`-`, and the trimming of block lines that Hugging Face switches on). Read to be recognized, never run.
enum TemplateShape {
    /// The identity of a template's shape, in hexadecimal; nil for a text that is no template.
    static func digest(_ template: String) -> String? {
        var reader = Reader(Array(template.utf8))
        guard let shape = reader.shape() else { return nil }
        return ContentHash.hexadecimal(of: shape)
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0
        var result: [UInt8] = []

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        mutating func shape() -> [UInt8]? {
            while position < bytes.count {
                let tag = nextTag() ?? bytes.count
                addText(position..<tag)
                position = tag
                if tag < bytes.count {
                    guard readTag() else { return nil }
                }
            }
            return result
        }

        /// Where the next `{{`, `{%` or `{#` is.
        private func nextTag() -> Int? {
            var index = position
            while index + 1 < bytes.count {
                if bytes[index] == UInt8(ascii: "{"), "{%#".utf8.contains(bytes[index + 1]) { return index }
                index += 1
            }
            return nil
        }

        /// Text between tags, without what the tag after it takes away.
        private mutating func addText(_ range: Range<Int>) {
            var end = range.upperBound
            if end + 2 < bytes.count, bytes[end + 2] == UInt8(ascii: "-") {
                while end > range.lowerBound, isSpace(bytes[end - 1]) { end -= 1 }
            } else if end + 1 < bytes.count, bytes[end + 1] != UInt8(ascii: "{"),
                !(end + 2 < bytes.count && bytes[end + 2] == UInt8(ascii: "+"))
            {
                // Spaces before a block tag that begins its line.
                var start = end
                while start > range.lowerBound, bytes[start - 1] == 0x20 || bytes[start - 1] == 0x09 { start -= 1 }
                if start == 0 || bytes[start - 1] == UInt8(ascii: "\n") { end = start }
            }
            add(UInt8(ascii: "T"), bytes[range.lowerBound..<end])
        }

        private mutating func add(_ kind: UInt8, _ content: some Collection<UInt8>) {
            guard !content.isEmpty else { return }
            result.append(kind)
            result += "\(content.count):".utf8
            result += content
        }

        private mutating func readTag() -> Bool {
            let kind = bytes[position + 1]
            position += 2
            if position < bytes.count, bytes[position] == UInt8(ascii: "-") || bytes[position] == UInt8(ascii: "+") {
                position += 1
            }
            let close = kind == UInt8(ascii: "{") ? UInt8(ascii: "}") : kind
            if kind == UInt8(ascii: "#") {
                while position < bytes.count, !closes(close, at: position) { position += 1 }
            } else {
                result.append(kind)
                while position < bytes.count, !closes(close, at: position),
                    !(bytes[position] == UInt8(ascii: "-") && closes(close, at: position + 1))
                {
                    guard readWord() else { return false }
                }
                result.append(UInt8(ascii: "}"))
            }
            guard position < bytes.count else { return false }
            let trims = bytes[position] == UInt8(ascii: "-")
            position += trims ? 3 : 2
            if trims {
                while position < bytes.count, isSpace(bytes[position]) { position += 1 }
            } else if kind != UInt8(ascii: "{"), position < bytes.count, bytes[position] == UInt8(ascii: "\n") {
                position += 1
            }
            return true
        }

        private func closes(_ close: UInt8, at index: Int) -> Bool {
            index + 1 < bytes.count && bytes[index] == close && bytes[index + 1] == UInt8(ascii: "}")
        }

        /// A word of an expression: name, number, string, operator; white space is passed over.
        private mutating func readWord() -> Bool {
            let byte = bytes[position]
            if isSpace(byte) {
                position += 1
            } else if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
                return readString(byte)
            } else if isName(byte) {
                let start = position
                while position < bytes.count, isName(bytes[position]) { position += 1 }
                add(UInt8(ascii: "N"), bytes[start..<position])
            } else if byte == UInt8(ascii: "."), let end = memberEnd() {
                // a.b is a['b'], unless it is called.
                add(UInt8(ascii: "O"), "[".utf8)
                add(UInt8(ascii: "S"), bytes[position + 1..<end])
                add(UInt8(ascii: "O"), "]".utf8)
                position = end
            } else {
                add(UInt8(ascii: "O"), CollectionOfOne(byte))
                position += 1
            }
            return true
        }

        private func memberEnd() -> Int? {
            var end = position + 1
            while end < bytes.count, isName(bytes[end]) { end += 1 }
            guard end > position + 1, !(0x30...0x39).contains(bytes[position + 1]) else { return nil }
            return end < bytes.count && bytes[end] == UInt8(ascii: "(") ? nil : end
        }

        private mutating func readString(_ quote: UInt8) -> Bool {
            position += 1
            var content: [UInt8] = []
            while position < bytes.count, bytes[position] != quote {
                if bytes[position] == UInt8(ascii: "\\"), position + 1 < bytes.count {
                    position += 1
                    switch bytes[position] {
                    case UInt8(ascii: "n"): content.append(0x0A)
                    case UInt8(ascii: "t"): content.append(0x09)
                    case UInt8(ascii: "r"): content.append(0x0D)
                    case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "\\"): content.append(bytes[position])
                    default: content += [UInt8(ascii: "\\"), bytes[position]]
                    }
                } else {
                    content.append(bytes[position])
                }
                position += 1
            }
            guard position < bytes.count else { return false }
            position += 1
            result.append(UInt8(ascii: "S"))
            result += "\(content.count):".utf8
            result += content
            return true
        }

        private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

        private func isName(_ byte: UInt8) -> Bool {
            byte == UInt8(ascii: "_") || (0x30...0x39).contains(byte)
                || (0x41...0x5A).contains(byte & 0xDF) && byte < 0x80 || byte >= 0x80
        }
    }
}
