/// Where a text begins in its file when it is a part of one, a line of JSONL for example.
public struct SourceOrigin: Sendable, Equatable {
    /// Both count from 1, the column in Unicode scalars.
    public var line: Int
    public var column: Int

    /// The beginning of the file.
    public static let start = SourceOrigin(line: 1, column: 1)

    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }
}

/// Line and column of a byte in a text file, and the excerpt an error shows. Computed only when there is an error.
public struct SourcePosition: Sendable, Equatable {
    /// Counts from 1; lines end at LF.
    public let line: Int
    /// Counts from 1, in Unicode scalars.
    public let column: Int
    /// The line with a caret under the column, two lines of text; long lines are cut around the caret.
    public let excerpt: String

    /// - Parameters:
    ///   - offset: a byte offset; beyond the end means the end.
    ///   - bytes: the whole file, or the part of it that begins at `origin`; not necessarily valid UTF-8.
    ///   - origin: where the bytes begin in the file.
    public init(offset: Int, in bytes: [UInt8], origin: SourceOrigin = .start) {
        let offset = min(max(offset, 0), bytes.count)
        var line = origin.line
        var lineStart = 0
        for index in 0..<offset where bytes[index] == UInt8(ascii: "\n") {
            line += 1
            lineStart = index + 1
        }
        self.line = line
        // The first line of a part begins somewhere in a line of the file.
        let first = line == origin.line ? origin.column : 1
        self.column = first + bytes[lineStart..<offset].count { $0 & 0xC0 != 0x80 }
        self.excerpt = Self.excerpt(line: line, lineStart: lineStart, offset: offset, bytes: bytes)
    }

    /// `file:line:column` for an error.
    public func location(in file: String) -> RetortError.Location {
        RetortError.Location(file: file, line: line, column: column)
    }

    private static func excerpt(line: Int, lineStart: Int, offset: Int, bytes: [UInt8]) -> String {
        let before = 50
        let after = 30
        var start = max(lineStart, offset - before)
        // Do not begin inside a multi-byte character.
        while start < offset, start > lineStart, bytes[start] & 0xC0 == 0x80 { start += 1 }
        var end = offset
        while end < bytes.count, end - offset < after, bytes[end] != UInt8(ascii: "\n") { end += 1 }
        while end < bytes.count, bytes[end] & 0xC0 == 0x80 { end += 1 }
        if end > offset, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        let head = (start > lineStart ? "…" : "") + String(decoding: bytes[start..<offset], as: UTF8.self).displayable
        let tail = String(decoding: bytes[offset..<end], as: UTF8.self).displayable
        let isCut = end < bytes.count && bytes[end] != UInt8(ascii: "\n") && bytes[end] != UInt8(ascii: "\r")
        let number = "\(line)"
        let margin = String(repeating: " ", count: number.utf8.count)
        let indent = String(repeating: " ", count: head.unicodeScalars.count)
        return "\(number) | \(head)\(tail)\(isCut ? "…" : "")\n\(margin) | \(indent)^"
    }
}
