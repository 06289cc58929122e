import RetortSupport

/// Runs of lines between blank ones.
struct ParagraphScanner: RecordScanner {
    private(set) var lines: LineScanner
    private let path: String
    private let limit: Int
    /// The next lines belong to a paragraph that was too long.
    private var mustPass = false

    init(_ window: ScanWindow, limit: Int) {
        lines = LineScanner(window, limit: limit)
        path = window.path
        self.limit = limit
    }

    mutating func next() throws(RetortError) -> FoundRecord? {
        if mustPass {
            mustPass = false
            while let line = try lines.nextLine(), line.failure != nil || !LineScanner.isBlank(line.bytes) {}
        }
        guard let first = try lines.next() else { return nil }
        if first.failure != nil { return first }
        var bytes = first.bytes
        // What the file has between two lines (LF or CR LF) is a line feed here; the record's length there is not that of the text.
        var end = first.offset + first.bytes.count
        while let line = try lines.nextLine(), line.failure != nil || !LineScanner.isBlank(line.bytes) {
            if line.failure != nil {
                mustPass = true
                return line
            }
            bytes.append(UInt8(ascii: "\n"))
            bytes += line.bytes
            end = line.offset + line.bytes.count
            guard end - first.offset <= limit else { return tooLong(first) }
        }
        return FoundRecord(offset: first.offset, origin: first.origin, bytes: bytes, length: end - first.offset)
    }

    private mutating func tooLong(_ first: FoundRecord) -> FoundRecord {
        mustPass = true
        let place = SourcePosition(offset: 0, in: first.bytes, origin: first.origin)
        let failure = RetortError.badData(
            "a paragraph is too long", at: place.location(in: path),
            why: "the limit is \(NumberFormat.bytes(limit))\n" + place.excerpt,
            help: "Paragraphs end at a blank line; are there any?")
        return FoundRecord(offset: first.offset, origin: first.origin, bytes: [], failure: failure)
    }
}

/// The whole file as one record.
struct DocumentScanner: RecordScanner {
    private var window: ScanWindow
    private let limit: Int
    private var isDone = false

    init(_ window: ScanWindow, limit: Int) {
        self.window = window
        self.limit = limit
    }

    mutating func next() throws(RetortError) -> FoundRecord? {
        guard !isDone else { return nil }
        isDone = true
        let first = window.startOffset
        // `more` moves the record to the front; it stays the same one.
        repeat {
            guard window.bytes.count - window.start <= limit else {
                throw .badData(
                    "\(window.path.quoted(limit: 200)) is too large to be one record",
                    at: RetortError.Location(file: window.path), why: "the limit is \(NumberFormat.bytes(limit))",
                    help: "Use the format lines or paragraphs, or cut the file into several.")
            }
            try window.more()
        } while !window.isAtEnd
        guard window.start < window.bytes.count else { return nil }
        return FoundRecord(offset: first, origin: .start, bytes: Array(window.bytes[window.start...]))
    }
}
