import RetortSupport

/// A table as CSV or TSV in pieces of whole rows, so that it is never all in memory. What is in a piece is checked by who scans it.
struct TablePieces {
    private let file: InputFile
    private let limit: Int
    private let block: Int
    /// Bytes of the file that were read.
    private var offset = 0
    /// What was read and not yet handed out; it begins with a row.
    private var bytes: [UInt8] = []
    /// Where that row is.
    private var origin = SourceOrigin.start

    /// - Parameters:
    ///   - limit: bytes of a row; a longer one is handed out in part, for the scanner to refuse.
    ///   - block: bytes to read at once.
    /// - Throws: exit 66 when the file is not there, 65 when it is not a regular file, 74 on I/O errors.
    init(_ path: String, limit: Int, block: Int = 1 << 20) throws(RetortError) {
        file = try InputFile(path: path)
        self.limit = limit
        self.block = block
    }

    /// Some rows, and where they begin; nil at the end. A piece ends behind a row that is not empty, or with the file: whether an empty line is
    /// a row depends on what follows.
    /// - Throws: exit 65 when the file became shorter, or has nothing but empty lines for a long way; 74 on I/O errors.
    mutating func next() throws(RetortError) -> (bytes: [UInt8], origin: SourceOrigin)? {
        var (position, rowStart, end) = (0, 0, 0)
        // A quote that is doubled leaves the field and enters it again.
        var isQuoted = false
        while true {
            while position < bytes.count {
                let byte = bytes[position]
                position += 1
                if byte == UInt8(ascii: "\"") {
                    isQuoted.toggle()
                } else if byte == UInt8(ascii: "\n"), !isQuoted {
                    let row = bytes[rowStart..<(position - 1)]
                    if !row.allSatisfy({ $0 == UInt8(ascii: "\r") }) { end = position }
                    rowStart = position
                }
            }
            guard end == 0, offset < file.size else { break }
            if bytes.count - rowStart > limit + 2 { break }
            guard rowStart <= limit else {
                throw .badData(
                    "too many empty lines", at: RetortError.Location(file: file.path, line: origin.line, column: 1),
                    why: "they are more than \(NumberFormat.bytes(limit))", help: "Remove them.")
            }
            let count = min(block, file.size - offset)
            bytes += try file.read(offset: offset, count: count)
            offset += count
        }
        if end == 0 || offset == file.size { end = bytes.count }
        guard end > 0 else { return nil }
        let piece = (bytes: Array(bytes[..<end]), origin: origin)
        origin.line += piece.bytes.count { $0 == UInt8(ascii: "\n") }
        bytes.removeFirst(end)
        return piece
    }
}
