import RetortSupport

/// A file's content from front to back, whether it is plain or compressed (its first bytes say which, not its name), in pieces of a
/// megabyte.
///
/// Compressed data cannot be read by number; who wants that has what comes out of them put into a store, while a plain file stays where it is.
final class ContentReader {
    private enum Source {
        case plain(InputFile)
        case gzip(GzipStream)
        case zstd(ZstdStream)
    }

    let path: String
    private let source: Source
    /// Bytes of the file as it is.
    private let size: Int
    private let limits: TextOptions.Limits
    private let store: SpilledArrayWriter<UInt8>?
    /// Where in the store the content begins.
    private let start: Int
    private var position = 0
    private var hash = ContentHash()

    static let blockBytes = 1 << 20

    /// - Parameters:
    ///   - limits: what compressed content may be.
    ///   - store: gets compressed content; nil: nobody reads it again.
    /// - Throws: exit 66 when it is not there, 65 when it is not a regular file, 69 when it is compressed and the library for it is
    ///   not installed, 74 on I/O errors.
    init(path: String, limits: TextOptions.Limits, store: SpilledArrayWriter<UInt8>? = nil) throws(RetortError) {
        let file = try InputFile(path: path)
        self.path = path
        self.limits = limits
        self.store = store
        size = file.size
        start = store?.count ?? 0
        let head = try file.read(offset: 0, count: min(4, file.size))
        if head.starts(with: [0x1F, 0x8B]) {
            source = .gzip(try GzipStream(file))
        } else if head == [0x28, 0xB5, 0x2F, 0xFD] {
            source = .zstd(try ZstdStream(file))
        } else {
            source = .plain(file)
        }
        try Self.checkKind(head, path)
    }

    /// Formats that people have and that are not read.
    private static func checkKind(_ head: [UInt8], _ path: String) throws(RetortError) {
        let kinds: [(magic: [UInt8], name: String, help: String)] = [
            (
                Array("PAR1".utf8), "a Parquet file",
                "Write it as JSON lines, in Python: pandas.read_parquet(\"in.parquet\").to_json(\"out.jsonl\", "
                    + "orient=\"records\", lines=True)."
            ),
            (Array("PK\u{3}\u{4}".utf8), "a ZIP archive", "Unpack it."),
            ([0xFD, 0x37, 0x7A, 0x58], "compressed with xz", "Decompress it with `xz -d`; gzip and zstd are read."),
            (Array("BZh".utf8), "compressed with bzip2", "Decompress it with `bzip2 -d`; gzip and zstd are read."),
            ([0xFF, 0xFE], "UTF-16 text", "Save the file as UTF-8."),
            ([0xFE, 0xFF], "UTF-16 text", "Save the file as UTF-8."),
        ]
        guard let kind = kinds.first(where: { head.starts(with: $0.magic) }) else { return }
        throw .badData(
            "\(path.quoted(limit: 200)) cannot be read as text", at: RetortError.Location(file: path),
            why: "it is \(kind.name)", help: kind.help)
    }

    /// The next megabyte, less at the end, nothing after it.
    /// - Throws: exit 65 for damaged compression and content beyond the limits; 73 and 74 when the store finds no room, 74 on I/O errors.
    func next() throws(RetortError) -> [UInt8] {
        let block = try read()
        hash.update(block)
        position += block.count
        guard !isPlain, !block.isEmpty else { return block }
        try checkSize()
        try store?.append(block)
        return block
    }

    /// A few kilobytes can become terabytes (a "decompression bomb"), and nothing in them says so beforehand.
    private func checkSize() throws(RetortError) {
        let (usual, overflow) = size.multipliedReportingOverflow(by: limits.decompressionRatio)
        let why: String
        if position > limits.decompressedBytes {
            why = "its content goes on beyond \(NumberFormat.bytes(limits.decompressedBytes)), which is the limit"
        } else if position > limits.anyRatioBytes, !overflow, position > usual {
            why =
                "its \(NumberFormat.bytes(size)) have become \(NumberFormat.bytes(position)) and go on; no more than "
                + "\(limits.decompressionRatio) times the bytes are taken for text"
        } else {
            return
        }
        throw .badData(
            "\(path.quoted(limit: 200)) is too large to be read compressed", at: RetortError.Location(file: path),
            why: why, help: "Decompress the file if it is to be so large: a plain one may have any size.")
    }

    private var isPlain: Bool {
        if case .plain = source { return true }
        return false
    }

    private func read() throws(RetortError) -> [UInt8] {
        if case .plain(let file) = source {
            return try file.read(offset: position, count: min(Self.blockBytes, file.size - position))
        }
        var received = 0
        var block: [UInt8] = try Allocation.array(count: Self.blockBytes, of: path) { (buffer) throws(RetortError) in
            let raw = UnsafeMutableRawBufferPointer(buffer)
            switch source {
            case .plain: break
            case .gzip(let stream): received = try stream.read(into: raw)
            case .zstd(let stream): received = try stream.read(into: raw)
            }
        }
        if received < block.count { block.removeLast(block.count - received) }
        return block
    }

    /// What was read, to be read again at any place; of compressed content, where the store has it.
    var content: StoredContent {
        if case .plain(let file) = source { return .file(file) }
        return .store(start)
    }

    /// SHA-256 of what was read.
    var digest: String { hash.hexadecimal }
}

/// Where the content of a file is read at any place.
enum StoredContent: Sendable {
    case file(InputFile)
    /// Decompressed, in the store of its source, from this place on.
    case store(Int)
}
