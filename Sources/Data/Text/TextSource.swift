import RetortSupport

/// Text records in files, read by number.
///
///     let source = try TextSource.open(["train.jsonl.zst"], TextOptions(onBadLine: .skip))
///     let record = try source.record(17)
///
/// Opening reads every file once, checks every record and keeps where each begins (24 bytes a record); a plain file is then read at that
/// place. What compressed files contain is kept in memory up to 64 MiB of all of them; more is in a file that only this process sees
/// (`ScratchFile`), and read there. Safe to use from several threads.
public final class TextSource: TextRecords {
    /// What was found.
    public struct Summary: Sendable {
        public internal(set) var records = 0
        /// Lines without text, passed over.
        public internal(set) var blankLines = 0
        /// Records that were left out.
        public internal(set) var badRecords = 0
        /// The first few of them: where and why, a line each.
        public internal(set) var reasons: [String] = []
        /// Files that begin with a byte order mark.
        public internal(set) var byteOrderMarks = 0
        /// Files with lines that end in CR LF.
        public internal(set) var carriageReturns = 0
        /// SHA-256 of all content, compressed files decompressed: the identity of the data.
        public internal(set) var digest = ""

        private static let reasonLimit = 5

        /// Counts a record that is left out, and keeps why if it is among the first few.
        public mutating func leaveOut(_ error: RetortError) {
            badRecords += 1
            if reasons.count < Self.reasonLimit { reasons.append(error.inOneLine) }
        }

        /// What is worth telling, a line each.
        public var words: [String] {
            guard badRecords > 0 else { return [] }
            return ["\(NumberFormat.grouped(badRecords)) records cannot be read and are left out"]
                + reasons.map { "  " + $0 }
        }
    }

    struct Entry {
        let offset: Int
        let length: Int32
        let line: Int32
        let column: Int32
    }

    struct File {
        let path: String
        let content: StoredContent
        /// The number of its first record.
        let first: Int
    }

    public let format: TextFormat
    public let summary: Summary
    private let files: [File]
    private let store: SpilledArray<UInt8>
    private let entries: [Entry]
    private let reader: RecordReader
    private let limits: TextOptions.Limits

    public var count: Int { entries.count }
    public var paths: [String] { files.map(\.path) }

    /// Opens one file or several, whose records follow each other. All have one format.
    /// - Throws: exit 66 when a file is not there; 65, with file:line:column, for the first record that cannot be read (unless they are
    ///   skipped), for a format that cannot be told and when there is no record; 69 for a compressed file without the library for it; 73
    ///   and 74 when much compressed content finds no room in the folder of temporary files; 74 on I/O errors; 78 for impossible options.
    public static func open(
        _ paths: [String], _ options: TextOptions = TextOptions()
    ) throws(RetortError) -> TextSource {
        try options.check()
        guard !paths.isEmpty else { throw .recipe("data.path names no file") }
        var index = TextIndex(options)
        for path in paths { try index.add(path) }
        return try index.finish()
    }

    init(
        _ reader: RecordReader, _ limits: TextOptions.Limits, _ summary: Summary, _ files: [File],
        _ store: SpilledArray<UInt8>, _ entries: [Entry]
    ) {
        format = reader.format
        self.reader = reader
        self.limits = limits
        self.summary = summary
        self.files = files
        self.store = store
        self.entries = entries
    }

    /// - Throws: exit 65 when the file is no longer what it was when it was opened, 74 on I/O errors.
    public func record(_ number: Int) throws(RetortError) -> TextRecord {
        let entry = entries[number]
        let file = file(of: number)
        let bytes: [UInt8]
        switch file.content {
        case .file(let plain): bytes = try plain.read(offset: entry.offset, count: Int(entry.length))
        case .store(let start):
            let first = start + entry.offset
            bytes = store[first..<first + Int(entry.length)]
        }
        let origin = SourceOrigin(line: Int(entry.line), column: Int(entry.column))
        return try reader.record(bytes, file: file.path, origin, limits)
    }

    /// Where a record begins.
    public func place(of number: Int) -> TextRecord.Place {
        let entry = entries[number]
        return TextRecord.Place(file: file(of: number).path, line: Int(entry.line), column: Int(entry.column))
    }

    /// The last file whose first record is not behind this one; files without records share their number with the next.
    private func file(of number: Int) -> File {
        var (low, high) = (0, files.count - 1)
        while low < high {
            let middle = (low + high + 1) / 2
            if files[middle].first <= number { low = middle } else { high = middle - 1 }
        }
        return files[low]
    }
}
