internal import CZlib
import RetortSupport

/// The content of a gzip file (RFC 1952, several members in a row included), decompressed from front to back straight
/// into the caller's memory. Checksums and lengths are verified by zlib at the end of each member.
final class GzipStream {
    private let file: InputFile
    private let stream: OpaquePointer
    /// Compressed bytes read but not yet used: `input[used...]` of what lies before `fileOffset`.
    private var input: [UInt8] = []
    private var used = 0
    private var fileOffset = 0
    private var isAtEnd = false

    private static let chunk = 1 << 18
    /// No deflate stream holds more than this many times its own bytes.
    static let largestRatio = 1032

    /// - Throws: exit 69 when zlib is not installed.
    init(_ file: InputFile) throws(RetortError) {
        if let why = czlib_load_error() {
            throw .device(
                "zlib cannot be loaded, and \(file.path.quoted(limit: 200)) is compressed: \(String(cString: why))",
                help: "Install it (Debian, Ubuntu: apt install zlib1g), or decompress the file with gunzip.")
        }
        guard let stream = czlib_open_gzip() else { throw .device("zlib cannot be started", why: "out of memory") }
        self.file = file
        self.stream = stream
    }

    deinit { czlib_close(stream) }

    /// Fills `buffer` as far as there is content.
    /// - Returns: the bytes written; fewer than `buffer.count` only at the end of the content.
    /// - Throws: exit 65 for damaged or truncated data, 74 on I/O errors.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(RetortError) -> Int {
        var done = 0
        while done < buffer.count, !isAtEnd {
            if used == input.count { try refill() }
            var (taken, made) = (input.count - used, buffer.count - done)
            let result = input.withUnsafeBytes {
                czlib_inflate(stream, $0.baseAddress! + used, &taken, buffer.baseAddress! + done, &made)
            }
            used += taken
            done += made
            switch result {
            case CZLIB_MORE: break
            case CZLIB_END: try endMember()
            case CZLIB_NO_MEMORY: throw .device("zlib has no memory left for \(file.path.quoted(limit: 200))")
            default: throw failure(String(cString: czlib_message(stream)))
            }
        }
        return done
    }

    private func refill() throws(RetortError) {
        guard fileOffset < file.size else {
            throw failure("it ends in the middle of the compressed data")
        }
        let count = min(Self.chunk, file.size - fileOffset)
        input = try file.read(offset: fileOffset, count: count)
        fileOffset += count
        used = 0
    }

    /// Another member, or the end of the file.
    private func endMember() throws(RetortError) {
        let rest = input.count - used + file.size - fileOffset
        guard rest > 0 else {
            isAtEnd = true
            return
        }
        if used == input.count { try refill() }
        guard input[used] == 0x1F, czlib_next_member(stream) else {
            throw failure("\(rest) bytes after the end of the compressed data belong to nothing")
        }
    }

    private func failure(_ why: String) -> RetortError {
        .badData(
            "\(file.path.quoted(limit: 200)) is damaged gzip data", at: RetortError.Location(file: file.path),
            why: "\(why) (near byte \(fileOffset - input.count + used) of \(file.size))",
            help: "Perhaps an incomplete download: `gzip -t` checks the file.")
    }
}
