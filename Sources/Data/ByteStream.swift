import RetortSupport

/// A file read from front to back, whether it is plain or compressed with gzip: its first two bytes say which, not its
/// name.
final class ByteStream {
    private enum Source {
        case plain(InputFile)
        case gzip(GzipStream)
    }

    let path: String
    /// Bytes of content handed out so far: where the next one is.
    private(set) var position = 0
    /// The largest content the file can have: its own bytes, or what gzip could make of them at most.
    let largestSize: Int
    /// True where `largestSize` is the size.
    let isPlain: Bool
    private let source: Source

    /// - Throws: exit 66 when it is not there, 65 when it is not a regular file, 69 when it is compressed and zlib is not
    ///   installed, 74 on I/O errors.
    init(path: String) throws(RetortError) {
        let file = try InputFile(path: path)
        self.path = path
        isPlain = try file.read(offset: 0, count: min(2, file.size)) != [0x1F, 0x8B]
        if isPlain {
            source = .plain(file)
            largestSize = file.size
        } else {
            source = .gzip(try GzipStream(file))
            largestSize = file.size.multipliedReportingOverflow(by: GzipStream.largestRatio).partialValue
        }
    }

    /// Fills `buffer` with what comes next.
    /// - Throws: exit 65 when the content ends before, or its compression is damaged; 74 on I/O errors.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(RetortError) {
        switch source {
        case .plain(let file): try file.read(into: buffer, offset: position)
        case .gzip(let stream):
            let received = try stream.read(into: buffer)
            guard received == buffer.count else {
                throw failure(
                    "it ends at byte \(position + received) of its content; \(position + buffer.count) are needed",
                    help: "Perhaps an incomplete download.")
            }
        }
        position += buffer.count
    }

    /// The next `count` bytes. Throws as `read(into:)`, and exit 65 when the memory cannot be had.
    func read(_ count: Int) throws(RetortError) -> [UInt8] {
        try Allocation.array(count: count, of: path) { (buffer) throws(RetortError) in
            try read(into: UnsafeMutableRawBufferPointer(buffer))
        }
    }

    /// - Throws: exit 65 when anything follows, or the checksum of compressed content is wrong.
    func requireEnd() throws(RetortError) {
        let isMore: Bool
        switch source {
        case .plain(let file): isMore = position < file.size
        case .gzip(let stream):
            var next: UInt8 = 0
            isMore = try withUnsafeMutableBytes(of: &next) { (byte) throws(RetortError) in
                try stream.read(into: byte) > 0
            }
        }
        guard !isMore else {
            throw failure("it goes on after byte \(position), where its header says it ends")
        }
    }

    func failure(_ why: String, help: String = "") -> RetortError {
        .badData(
            "\(path.quoted(limit: 200)) is malformed", at: RetortError.Location(file: path), why: why, help: help)
    }
}
