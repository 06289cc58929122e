internal import CZstd
import RetortSupport

/// The content of a Zstandard file (RFC 8878, several frames in a row included), decompressed from front to back straight into the
/// caller's memory. Checksums are verified by libzstd; frames that want a window of more than 128 MiB are refused by it.
final class ZstdStream {
    private let file: InputFile
    private let stream: OpaquePointer
    /// Compressed bytes read but not yet used: `input[used...]` of what lies before `fileOffset`.
    private var input: [UInt8] = []
    private var used = 0
    private var fileOffset = 0
    private var isBetweenFrames = true
    /// The decompressor holds content for which there was no room.
    private var holdsOutput = false

    private static let chunk = 1 << 18

    /// - Throws: exit 69 when libzstd is not installed.
    init(_ file: InputFile) throws(RetortError) {
        if let why = czstd_load_error() {
            throw .device(
                "libzstd cannot be loaded, and \(file.path.quoted(limit: 200)) is compressed: \(String(cString: why))",
                help: "Install it (Debian, Ubuntu: apt install libzstd1), or decompress the file with `zstd -d`.")
        }
        guard let stream = czstd_open() else { throw .device("libzstd cannot be started", why: "out of memory") }
        self.file = file
        self.stream = stream
    }

    deinit { czstd_close(stream) }

    /// Fills `buffer` as far as there is content.
    /// - Returns: the bytes written; fewer than `buffer.count` only at the end of the content.
    /// - Throws: exit 65 for damaged or truncated data, 74 on I/O errors.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(RetortError) -> Int {
        var done = 0
        while done < buffer.count {
            if used == input.count, !holdsOutput {
                guard fileOffset < file.size else {
                    guard isBetweenFrames else { throw failure("it ends in the middle of the compressed data") }
                    return done
                }
                let count = min(Self.chunk, file.size - fileOffset)
                input = try file.read(offset: fileOffset, count: count)
                fileOffset += count
                used = 0
            }
            var (taken, made) = (input.count - used, buffer.count - done)
            let result = input.withUnsafeBytes {
                czstd_decompress(stream, $0.baseAddress! + used, &taken, buffer.baseAddress! + done, &made)
            }
            used += taken
            done += made
            guard result != CZSTD_DAMAGED else { throw failure(String(cString: czstd_message(stream))) }
            isBetweenFrames = result == CZSTD_FRAME_END
            holdsOutput = !isBetweenFrames && done == buffer.count
        }
        return done
    }

    private func failure(_ why: String) -> RetortError {
        .badData(
            "\(file.path.quoted(limit: 200)) is damaged zstd data", at: RetortError.Location(file: file.path),
            why: "\(why) (near byte \(fileOffset - input.count + used) of \(file.size))",
            help: "Perhaps an incomplete download: `zstd -t` checks the file.")
    }
}
