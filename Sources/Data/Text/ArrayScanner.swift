import RetortSupport

/// The objects of a JSON array that is the whole file. Finds where each ends by its braces and strings; what is in it is checked by who
/// parses it.
struct ArrayScanner: RecordScanner {
    private enum State {
        case beforeArray
        /// Behind `[`: an element or the end.
        case beforeFirst
        /// Behind an element: a comma or the end.
        case afterElement
        case done
    }

    private var window: ScanWindow
    private let limit: Int
    private var state = State.beforeArray
    /// Where in the window the next byte to look at is.
    private var position: Int
    private var line = 1
    private var column = 1

    init(_ window: ScanWindow, limit: Int) {
        self.window = window
        self.limit = limit
        position = window.start
    }

    mutating func next() throws(RetortError) -> FoundRecord? {
        switch state {
        case .done: return nil
        case .beforeArray:
            try require("[", "a JSON array")
            state = .beforeFirst
            if try skipSpace() == UInt8(ascii: "]") { return try end() }
        case .beforeFirst, .afterElement:
            switch try skipSpace() {
            case UInt8(ascii: ","): take(UInt8(ascii: ","))
            case UInt8(ascii: "]"): return try end()
            default: throw try failure("',' or ']' is expected here")
            }
        }
        guard try skipSpace() == UInt8(ascii: "{") else { throw try failure("an object is expected here") }
        state = .afterElement
        return try object()
    }

    /// Nothing but space may follow.
    private mutating func end() throws(RetortError) -> FoundRecord? {
        take(UInt8(ascii: "]"))
        guard try skipSpace() == nil else { throw try failure("there is text after the end of the array") }
        state = .done
        return nil
    }

    private mutating func object() throws(RetortError) -> FoundRecord {
        window.start = position
        let origin = SourceOrigin(line: line, column: column)
        var depth = 0
        var isInString = false
        var isEscaped = false
        while let byte = try current() {
            take(byte)
            guard position - window.start <= limit else {
                throw .badData(
                    "an object of \(window.path.quoted(limit: 200)) is too long",
                    at: RetortError.Location(file: window.path, line: origin.line, column: origin.column),
                    why: "the limit is \(NumberFormat.bytes(limit))",
                    help: "Perhaps a quote or a brace is missing in it.")
            }
            if isInString {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isInString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isInString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth == 0 {
                    return FoundRecord(
                        offset: window.startOffset, origin: origin, bytes: Array(window.bytes[window.start..<position]))
                }
            default: break
            }
        }
        let head = Array(window.bytes[window.start...].prefix(200))
        let place = SourcePosition(offset: 0, in: head, origin: origin)
        throw malformed(place, "the object that begins here does not end")
    }

    /// The next byte, read on for where needed; nil at the end.
    @inline(__always)
    private mutating func current() throws(RetortError) -> UInt8? {
        while position == window.bytes.count {
            if window.isAtEnd { return nil }
            position -= try window.more()
        }
        return window.bytes[position]
    }

    @inline(__always)
    private mutating func take(_ byte: UInt8) {
        position += 1
        if byte == UInt8(ascii: "\n") {
            line += 1
            column = 1
        } else if byte & 0xC0 != 0x80 {
            column += 1
        }
    }

    /// Passes over white space.
    /// - Returns: the byte after it; nil at the end.
    private mutating func skipSpace() throws(RetortError) -> UInt8? {
        while let byte = try current() {
            switch byte {
            case 0x20, 0x0A, 0x0D, 0x09: take(byte)
            default: return byte
            }
            window.start = position
        }
        return nil
    }

    private mutating func require(_ character: Unicode.Scalar, _ what: String) throws(RetortError) {
        let byte = UInt8(ascii: character)
        guard try skipSpace() == byte else { throw try failure("\(what) is expected here") }
        take(byte)
    }

    private mutating func failure(_ why: String) throws(RetortError) -> RetortError {
        // What is there already is enough for an excerpt.
        let origin = SourceOrigin(line: line, column: column)
        let isAtEnd = try current() == nil
        let rest = Array(window.bytes[position...].prefix(200))
        let place = SourcePosition(offset: 0, in: rest, origin: origin)
        return isAtEnd
            ? malformed(place, "the text ends where more is expected", help: "Perhaps an incomplete download.")
            : malformed(place, why)
    }

    private func malformed(_ place: SourcePosition, _ why: String, help: String = "") -> RetortError {
        .badData(
            "\(window.path.quoted(limit: 200)) is not valid JSON", at: place.location(in: window.path),
            why: why + "\n" + place.excerpt, help: help)
    }
}
