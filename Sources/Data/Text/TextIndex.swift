import RetortSupport

/// The pass over the files of a source: finds the records, checks each, keeps where it is.
struct TextIndex {
    private let options: TextOptions
    private var format: TextFormat?
    private var summary = TextSource.Summary()
    private var files: [TextSource.File] = []
    private var entries: [TextSource.Entry] = []
    private var hash = ContentHash()
    private var arrays = 0
    /// The content of those files that are compressed.
    private let store = SpilledArrayWriter<UInt8>()

    init(_ options: TextOptions) {
        self.options = options
        format = options.format
    }

    /// - Throws: as `TextSource.open`.
    mutating func add(_ path: String) throws(RetortError) {
        let reader = try ContentReader(path: path, limits: options.limits, store: store)
        let first = entries.count
        var window = try ScanWindow(reader)
        if window.hasByteOrderMark { summary.byteOrderMarks += 1 }
        switch format {
        case .lines, .promptLines: try addLines(window)
        case .paragraphs:
            var scanner = ParagraphScanner(window, limit: options.limits.recordBytes)
            try addAll(&scanner, path)
            count(scanner.lines)
        case .document:
            var scanner = DocumentScanner(window, limit: options.limits.documentBytes)
            try addAll(&scanner, path)
        default: try addObjects(&window)
        }
        files.append(TextSource.File(path: path, content: reader.content, first: first))
        hash.update(Array(reader.digest.utf8))
    }

    /// JSON lines, or an array.
    private mutating func addObjects(_ window: inout ScanWindow) throws(RetortError) {
        let first = try window.firstCharacter()
        if first == UInt8(ascii: "[") {
            arrays += 1
            var scanner = ArrayScanner(window, limit: options.limits.recordBytes)
            return try addAll(&scanner, window.path)
        }
        if let first, first != UInt8(ascii: "{"), format == nil {
            let head = Array(window.bytes[window.start...].prefix(200))
            throw .badData(
                "the format of \(window.path.quoted(limit: 200)) cannot be told",
                at: RetortError.Location(file: window.path, line: 1, column: 1),
                why: "it is neither JSON lines nor a JSON array\n" + SourcePosition(offset: 0, in: head).excerpt,
                help: "For plain text name the format: lines, prompt-lines, paragraphs or document.")
        }
        try addLines(window)
    }

    private mutating func addLines(_ window: ScanWindow) throws(RetortError) {
        var scanner = LineScanner(window, limit: options.limits.recordBytes)
        try addAll(&scanner, window.path)
        count(scanner)
    }

    private mutating func count(_ lines: LineScanner) {
        summary.blankLines += lines.blankLines
        if lines.hasCarriageReturns { summary.carriageReturns += 1 }
    }

    private mutating func addAll(_ scanner: inout some RecordScanner, _ path: String) throws(RetortError) {
        while let found = try scanner.next() {
            try detectFormat(found, path)
            do throws(RetortError) {
                try add(found, path)
            } catch {
                guard options.onBadLine == .skip, error.exit == .badData else { throw error }
                summary.leaveOut(error)
            }
        }
    }

    /// The first record that is an object says what all are. Where it says nothing, no record can be called bad, or good.
    private mutating func detectFormat(_ found: FoundRecord, _ path: String) throws(RetortError) {
        guard format == nil, found.failure == nil,
            let cursor = try? JSONCursor.parse(
                found.bytes, file: path, limits: RecordReader.limits(options.limits), origin: found.origin),
            case .object = cursor.value
        else { return }
        format = try RecordReader.detect(cursor, fields: options.fields)
    }

    private mutating func add(_ found: FoundRecord, _ path: String) throws(RetortError) {
        if let failure = found.failure { throw failure }
        guard let line = Int32(exactly: found.origin.line), let column = Int32(exactly: found.origin.column),
            let length = Int32(exactly: found.length)
        else {
            throw .badData(
                "\(path.quoted(limit: 200)) is too long", at: RetortError.Location(file: path),
                why: "lines and columns are counted up to \(Int32.max)", help: "Cut it into several files.")
        }
        // Of a record without a format it is known that it is no object, and that is what any JSON format says.
        let reader = RecordReader(format: format ?? .text, fields: options.fields, keep: options.keep)
        _ = try reader.record(found.bytes, file: path, found.origin, options.limits)
        entries.append(TextSource.Entry(offset: found.offset, length: length, line: line, column: column))
    }

    /// - Throws: exit 65 when no record was found, 74 when decompressed content did not reach the disk.
    mutating func finish() throws(RetortError) -> TextSource {
        guard let format, !entries.isEmpty else {
            let path = files.first?.path ?? ""
            throw .badData(
                files.count == 1 ? "\(path.quoted(limit: 200)) has no records" : "the files have no records",
                at: RetortError.Location(file: path),
                why: summary.badRecords == 0
                    ? arrays > 0 ? "its JSON array has no elements" : "there is nothing but white space"
                    : "\(summary.badRecords) were left out:\n" + summary.reasons.joined(separator: "\n"))
        }
        summary.records = entries.count
        summary.digest = hash.hexadecimal
        return TextSource(
            RecordReader(format: format, fields: options.fields, keep: options.keep), options.limits, summary, files,
            try store.finish(), entries)
    }
}

extension RetortError {
    /// For a list: where, what and why, without the excerpt.
    var inOneLine: String {
        var text = what
        if let reason = why.split(separator: "\n").first { text += ": " + reason }
        guard let location, let line = location.line else { return text.displayable }
        return "\(location.file):\(line):\(location.column ?? 1): \(text)".displayable
    }
}
