import Foundation
import RetortData
import RetortSupport
import Testing

/// A Zstandard file of stored (uncompressed) blocks: enough to be read as one, without a compressor.
/// - Parameter repeated: bytes to write as one block that stands for this many of them, four bytes a block in the file.
func zstd(_ content: [UInt8], repeating repeated: (byte: UInt8, blocks: Int)? = nil) -> [UInt8] {
    // A window of 1 MiB, no content size, no checksum.
    var file: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x50]
    func header(size: Int, kind: Int, isLast: Bool) -> [UInt8] {
        let word = size << 3 | kind << 1 | (isLast ? 1 : 0)
        return [UInt8(word & 0xFF), UInt8(word >> 8 & 0xFF), UInt8(word >> 16 & 0xFF)]
    }
    let size = 128 << 10
    for start in stride(from: 0, to: content.count, by: size) {
        let block = content[start..<min(content.count, start + size)]
        file += header(size: block.count, kind: 0, isLast: false) + block
    }
    for _ in 0..<(repeated?.blocks ?? 0) { file += header(size: size, kind: 1, isLast: false) + [repeated?.byte ?? 0] }
    return file + header(size: 0, kind: 0, isLast: true)
}

extension TextSource {
    /// Opens a file with this content.
    static func of(_ content: [UInt8], _ options: TextOptions = TextOptions()) throws -> (TextSource, TemporaryFile) {
        let file = try TemporaryFile(content)
        return (try TextSource.open([file.path], options), file)
    }

    static func of(_ content: String, _ options: TextOptions = TextOptions()) throws -> (TextSource, TemporaryFile) {
        try of(Array(content.utf8), options)
    }

    func all() throws -> [TextRecord] { try (0..<count).map { try record($0) } }
}

/// The contents of all records of a file.
func contents(_ text: String, _ options: TextOptions = TextOptions()) throws -> [TextRecord.Content] {
    let (source, file) = try TextSource.of(text, options)
    defer { withExtendedLifetime(file) {} }
    return try source.all().map(\.content)
}

/// The error that opening a file with this content gives.
func openingError(_ content: [UInt8], _ options: TextOptions = TextOptions()) -> RetortError? {
    error { _ = try TextSource.of(content, options) }
}

func openingError(_ content: String, _ options: TextOptions = TextOptions()) -> RetortError? {
    openingError(Array(content.utf8), options)
}
