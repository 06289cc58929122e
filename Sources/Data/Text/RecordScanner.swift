import RetortSupport

/// A record found in a file: where it is, and its bytes.
struct FoundRecord {
    /// Bytes from the beginning of the content.
    let offset: Int
    let origin: SourceOrigin
    let bytes: [UInt8]
    /// Bytes that it takes in the content: more than it has where the ends of lines were made one kind.
    let length: Int
    /// Why it cannot be read, when that shows already.
    let failure: RetortError?

    init(
        offset: Int, origin: SourceOrigin, bytes: [UInt8], length: Int? = nil, failure: RetortError? = nil
    ) {
        self.offset = offset
        self.origin = origin
        self.bytes = bytes
        self.length = length ?? bytes.count
        self.failure = failure
    }
}

/// Cuts a file into records without looking into them.
protocol RecordScanner {
    /// The next record; nil after the last.
    /// - Throws: exit 65 when what follows cannot be cut, 74 on I/O errors.
    mutating func next() throws(RetortError) -> FoundRecord?
}

/// The part of a file that a scanner looks at. Grows at the end as the file is read; what is done with goes away at the front.
struct ScanWindow {
    private let reader: ContentReader
    private(set) var bytes: [UInt8] = []
    /// Where in `bytes` the scanner's record begins.
    var start = 0
    /// Where in the content `bytes` begins.
    private var offset = 0
    private(set) var isAtEnd = false
    /// The file begins with a byte order mark, which is passed over.
    private(set) var hasByteOrderMark = false

    init(_ reader: ContentReader) throws(RetortError) {
        self.reader = reader
        try more()
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
            hasByteOrderMark = true
            start = 3
        }
    }

    var path: String { reader.path }

    /// The first byte that is not white space; nil when there is none, or none for a long way.
    mutating func firstCharacter() throws(RetortError) -> UInt8? {
        while true {
            if let byte = bytes[start...].first(where: { ![0x20, 0x0A, 0x0D, 0x09].contains($0) }) { return byte }
            if isAtEnd || bytes.count > 16 << 20 { return nil }
            try more()
        }
    }

    /// Where in the content the scanner's record begins.
    var startOffset: Int { offset + start }

    /// Reads on; what stands before `start` goes away, and `start` becomes 0.
    /// - Returns: how far everything moved to the front.
    @discardableResult
    mutating func more() throws(RetortError) -> Int {
        let moved = start
        bytes.removeFirst(moved)
        offset += moved
        start = 0
        let block = try reader.next()
        if block.isEmpty { isAtEnd = true } else { bytes += block }
        return moved
    }
}

/// Lines that are not blank; ended by LF or CRLF.
struct LineScanner: RecordScanner {
    private var window: ScanWindow
    private let limit: Int
    private var line = 0
    /// The window begins inside a line that was too long.
    private var mustPass = false
    private(set) var blankLines = 0
    /// A line ended with CR LF.
    private(set) var hasCarriageReturns = false

    init(_ window: ScanWindow, limit: Int) {
        self.window = window
        self.limit = limit
    }

    mutating func next() throws(RetortError) -> FoundRecord? {
        while let line = try nextLine() {
            if line.failure != nil || !Self.isBlank(line.bytes) { return line }
            blankLines += 1
        }
        return nil
    }

    /// The next line, blank or not, without its end.
    mutating func nextLine() throws(RetortError) -> FoundRecord? {
        if mustPass { try passLine() }
        var searched = window.start
        line += 1
        let origin = SourceOrigin(line: line, column: 1)
        while true {
            if let feed = window.bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                let (found, offset) = (window.bytes[window.start..<feed], window.startOffset)
                window.start = feed + 1
                return record(found, offset, origin)
            }
            searched = window.bytes.count
            guard searched - window.start <= limit + 1 else {
                let (head, offset) = (Array(window.bytes[window.start..<window.start + 200]), window.startOffset)
                // Not before the next line is asked for: an error ends the reading here.
                mustPass = true
                return tooLong(head, offset, origin)
            }
            if window.isAtEnd { break }
            searched -= try window.more()
        }
        let (found, offset) = (window.bytes[window.start...], window.startOffset)
        window.start = window.bytes.count
        return found.isEmpty ? nil : record(found, offset, origin)
    }

    private mutating func record(_ found: ArraySlice<UInt8>, _ offset: Int, _ origin: SourceOrigin) -> FoundRecord {
        let endsWithReturn = found.last == UInt8(ascii: "\r")
        if endsWithReturn { hasCarriageReturns = true }
        let bytes = found.dropLast(endsWithReturn ? 1 : 0)
        guard bytes.count <= limit else { return tooLong(Array(bytes.prefix(200)), offset, origin) }
        return FoundRecord(offset: offset, origin: origin, bytes: Array(bytes))
    }

    /// Reads over the rest of a line that is too long, without keeping it.
    private mutating func passLine() throws(RetortError) {
        mustPass = false
        while true {
            if let feed = window.bytes[window.start...].firstIndex(of: UInt8(ascii: "\n")) {
                window.start = feed + 1
                return
            }
            window.start = window.bytes.count
            if window.isAtEnd { return }
            try window.more()
        }
    }

    private func tooLong(_ head: [UInt8], _ offset: Int, _ origin: SourceOrigin) -> FoundRecord {
        let place = SourcePosition(offset: 0, in: head, origin: origin)
        let failure = RetortError.badData(
            "a line is too long", at: place.location(in: window.path),
            why: "the limit is \(NumberFormat.bytes(limit))\n" + place.excerpt,
            help: "Is it JSON without line breaks, or no text at all?")
        return FoundRecord(offset: offset, origin: origin, bytes: [], failure: failure)
    }

    static func isBlank(_ line: [UInt8]) -> Bool {
        line.allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
    }
}
