extension JSON {
    /// What a JSON text may cost. Exceeding a limit is an error (exit 65), found before the memory is spent.
    public struct Limits: Sendable {
        /// Bytes of the whole text.
        public var bytes: Int
        /// Arrays and objects inside each other.
        public var depth: Int
        /// Values of every kind, keys not counted.
        public var values: Int

        public init(bytes: Int = 64 << 20, depth: Int = 64, values: Int = 10_000_000) {
            self.bytes = bytes
            self.depth = depth
            self.values = values
        }
    }

    /// Parses exactly one JSON text, strictly: RFC 8259 without extensions, well-formed UTF-8 without byte order mark,
    /// no key twice (after escapes are resolved, by bytes), no lone surrogates, no number beyond the range of Double.
    /// - `file`: what errors call the text.
    /// - `origin`: where in the file the text begins.
    /// - Throws: exit 65 with file:line:column and an excerpt.
    public static func parse(
        _ bytes: [UInt8], file: String, limits: Limits = Limits(), origin: SourceOrigin = .start
    ) throws(RetortError) -> JSON {
        var parser = JSONParser(bytes: bytes, file: file, limits: limits, origin: origin)
        return try parser.document()
    }

    /// `parse(_:file:limits:)` of a string.
    public static func parse(_ text: String, file: String, limits: Limits = Limits()) throws(RetortError) -> JSON {
        try parse(Array(text.utf8), file: file, limits: limits)
    }

    /// Reads and parses a file.
    /// - Throws: exit 66 when it is not there, 65 when it is too large or not JSON, 74 on I/O errors.
    public static func read(_ path: String, limits: Limits = Limits()) throws(RetortError) -> JSON {
        try parse(InputFile.read(path, limit: limits.bytes), file: path, limits: limits)
    }
}

/// A recursive descent over bytes; the recursion is bounded by `limits.depth`.
private struct JSONParser {
    let bytes: [UInt8]
    let file: String
    let limits: JSON.Limits
    let origin: SourceOrigin
    var position = 0
    var values = 0

    init(bytes: [UInt8], file: String, limits: JSON.Limits, origin: SourceOrigin) {
        self.bytes = bytes
        self.file = file
        self.limits = limits
        self.origin = origin
    }

    mutating func document() throws(RetortError) -> JSON {
        guard bytes.count <= limits.bytes else {
            throw .badData(
                "\(file.quoted(limit: 200)) is too large", at: RetortError.Location(file: file),
                why: "it has \(NumberFormat.bytes(bytes.count)); the limit is \(NumberFormat.bytes(limits.bytes))")
        }
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
            throw failure(at: 0, "the text begins with a byte order mark", help: "Save the file as UTF-8 without BOM.")
        }
        // Once for the whole text, so that strings below are known to be valid.
        if let offset = UTF8Check.firstInvalidOffset(in: bytes) {
            throw failure(at: offset, "the text is not valid UTF-8 here", help: "Save the file as UTF-8.")
        }
        skipSpace()
        guard position < bytes.count else { throw failure(at: position, "the text is empty") }
        let value = try value(depth: 1)
        skipSpace()
        guard position == bytes.count else { throw failure(at: position, "there is text after the end of the value") }
        return value
    }

    /// The byte at `position`; 0, which JSON never allows, at the end.
    private var current: UInt8 {
        position < bytes.count ? bytes[position] : 0
    }

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x0A, 0x0D, 0x09: position += 1
            default: return
            }
        }
    }

    private mutating func value(depth: Int) throws(RetortError) -> JSON {
        values += 1
        guard values <= limits.values else {
            throw failure(at: position, "the text has more than \(limits.values) values, the limit")
        }
        switch current {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        case UInt8(ascii: "t"):
            try word("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try word("false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try word("null")
            return .null
        default: throw unexpected("a value")
        }
    }

    private mutating func word(_ word: StaticString) throws(RetortError) {
        let start = position
        for offset in 0..<word.utf8CodeUnitCount {
            guard current == word.utf8Start[offset] else {
                position = start
                throw unexpected("a value")
            }
            position += 1
        }
    }

    private mutating func array(depth: Int) throws(RetortError) -> JSON {
        try checkDepth(depth)
        position += 1
        skipSpace()
        if current == UInt8(ascii: "]") {
            position += 1
            return .array([])
        }
        var elements: [JSON] = []
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if current == UInt8(ascii: ",") {
                let comma = position
                position += 1
                skipSpace()
                if current == UInt8(ascii: "]") { throw failure(at: comma, "a comma before ']' is not allowed") }
            } else if current == UInt8(ascii: "]") {
                position += 1
                return .array(elements)
            } else {
                throw unexpected("',' or ']'")
            }
        }
    }

    private mutating func object(depth: Int) throws(RetortError) -> JSON {
        try checkDepth(depth)
        position += 1
        skipSpace()
        if current == UInt8(ascii: "}") {
            position += 1
            return .object(JSONObject())
        }
        var object = JSONObject()
        while true {
            guard current == UInt8(ascii: "\"") else { throw unexpected("a key in double quotes") }
            let keyStart = position
            let key = try string()
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw unexpected("':' after the key") }
            position += 1
            skipSpace()
            let value = try value(depth: depth + 1)
            guard object.appendIfNew(key, value) else {
                throw failure(at: keyStart, "the key \(key.quoted()) appears twice in this object")
            }
            skipSpace()
            if current == UInt8(ascii: ",") {
                let comma = position
                position += 1
                skipSpace()
                if current == UInt8(ascii: "}") { throw failure(at: comma, "a comma before '}' is not allowed") }
            } else if current == UInt8(ascii: "}") {
                position += 1
                return .object(object)
            } else {
                throw unexpected("',' or '}'")
            }
        }
    }

    private func checkDepth(_ depth: Int) throws(RetortError) {
        guard depth <= limits.depth else {
            throw failure(at: position, "arrays and objects are nested deeper than \(limits.depth), the limit")
        }
    }

    private mutating func number() throws(RetortError) -> JSON {
        let start = position
        let isNegative = current == UInt8(ascii: "-")
        if isNegative { position += 1 }
        guard isDigit(current) else { throw unexpected("a digit") }
        var integer = 0
        var isInteger = true
        if current == UInt8(ascii: "0") {
            position += 1
            if isDigit(current) { throw failure(at: start, "a number must not begin with a zero") }
            // As an integer, -0 would lose its sign.
            isInteger = !isNegative
        } else {
            while isDigit(current) {
                let digit = Int(current &- UInt8(ascii: "0"))
                let (shifted, overflow) = integer.multipliedReportingOverflow(by: 10)
                let (sum, overflowOfSum) = shifted.addingReportingOverflow(isNegative ? -digit : digit)
                if overflow || overflowOfSum { isInteger = false } else { integer = sum }
                position += 1
            }
        }
        if current == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            try digits()
        }
        if current | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            position += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
            try digits()
        }
        if isInteger { return .int(integer) }
        guard let number = DecimalText.double(in: bytes, start..<position) else {
            throw failure(at: start, "a number with more than \(DecimalText.maximumLength) characters")
        }
        guard number.isFinite else { throw failure(at: start, "the number is too large for a 64-bit float") }
        return .double(number)
    }

    private mutating func digits() throws(RetortError) {
        guard isDigit(current) else { throw unexpected("a digit") }
        while isDigit(current) { position += 1 }
    }

    private func isDigit(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }

    private mutating func string() throws(RetortError) -> String {
        let open = position
        position += 1
        let start = position
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                // Valid UTF-8: checked for the whole text, and quotes are never inside a sequence.
                let text = String(decoding: bytes[start..<position], as: UTF8.self)
                position += 1
                return text
            }
            if byte == UInt8(ascii: "\\") { return try escapedString(open: open, start: start) }
            if byte < 0x20 { throw controlCharacter(byte) }
            position += 1
        }
        throw failure(at: open, "the string that begins here does not end")
    }

    /// The slower path, entered at the first backslash.
    private mutating func escapedString(open: Int, start: Int) throws(RetortError) -> String {
        var text = Array(bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                position += 1
                return String(decoding: text, as: UTF8.self)
            }
            if byte == UInt8(ascii: "\\") {
                text.append(contentsOf: String(try escape()).utf8)
                continue
            }
            if byte < 0x20 { throw controlCharacter(byte) }
            text.append(byte)
            position += 1
        }
        throw failure(at: open, "the string that begins here does not end")
    }

    private mutating func escape() throws(RetortError) -> Unicode.Scalar {
        let start = position
        position += 1
        let letter = current
        position += 1
        switch letter {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): break
        default: throw failure(at: start, "this escape does not exist in JSON", help: "Write a backslash as \\\\.")
        }
        let unit = try hexadecimal(start)
        guard unit & 0xF800 == 0xD800 else { return Unicode.Scalar(unit) ?? "\u{FFFD}" }
        guard unit < 0xDC00, current == UInt8(ascii: "\\") else { throw loneSurrogate(start) }
        position += 1
        guard current == UInt8(ascii: "u") else { throw loneSurrogate(start) }
        position += 1
        let low = try hexadecimal(start)
        guard low & 0xFC00 == 0xDC00 else { throw loneSurrogate(start) }
        let value = 0x10000 + (UInt32(unit & 0x3FF) << 10) + UInt32(low & 0x3FF)
        return Unicode.Scalar(value) ?? "\u{FFFD}"
    }

    private mutating func hexadecimal(_ start: Int) throws(RetortError) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            let byte = current
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: throw failure(at: start, "'\\u' needs four hexadecimal digits")
            }
            unit = unit << 4 | UInt16(digit)
            position += 1
        }
        return unit
    }

    private func loneSurrogate(_ start: Int) -> RetortError {
        failure(at: start, "this escape is half of a surrogate pair")
    }

    private func controlCharacter(_ byte: UInt8) -> RetortError {
        if byte == 0x0A || byte == 0x0D {
            return failure(at: position, "a line break inside a string", help: "Close the string, or write \\n.")
        }
        return failure(at: position, "a control character inside a string", help: "Write it as an escape.")
    }

    private func unexpected(_ wanted: String) -> RetortError {
        guard position < bytes.count else {
            return failure(
                at: position, "the text ends where \(wanted) is expected", help: "Perhaps an incomplete download.")
        }
        return failure(at: position, "\(wanted) is expected here")
    }

    private func failure(at offset: Int, _ why: String, help: String = "") -> RetortError {
        let place = SourcePosition(offset: offset, in: bytes, origin: origin)
        return .badData(
            "\(file.quoted(limit: 200)) is not valid JSON", at: place.location(in: file),
            why: why + "\n" + place.excerpt, help: help)
    }
}
