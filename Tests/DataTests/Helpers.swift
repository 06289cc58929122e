import Glibc
import RetortSupport
import Testing

/// The goldens: the folder `RETORT_GOLDEN` names, else the small ones committed beside the tests.
enum Golden {
    static let folder: String = {
        if let folder = getenv("RETORT_GOLDEN") { return String(cString: folder) }
        let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        return "/" + tests + "/Fixtures"
    }()

    /// A golden file that is only in the full set; nil where it is not.
    static func optional(_ name: String) -> String? {
        let path = folder + "/" + name
        return access(path, R_OK) == 0 ? path : nil
    }
}

/// The error `body` throws; records an issue when it throws none.
func error(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> RetortError? {
    do {
        try body()
        Issue.record("no error was thrown", sourceLocation: sourceLocation)
        return nil
    } catch let error as RetortError {
        return error
    } catch {
        Issue.record("another error: \(error)", sourceLocation: sourceLocation)
        return nil
    }
}

/// A fresh path for one file, removed at the end.
final class TemporaryFile {
    let path: String

    init(_ content: [UInt8]? = nil) throws {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        path = base + "/retort-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        if let content { try AtomicFile.write(content, to: path) }
    }

    convenience init(_ text: String) throws { try self.init(Array(text.utf8)) }

    deinit { unlink(path) }
}

/// A gzip file of stored (uncompressed) blocks: enough to be read as one, without a compressor.
func gzip(_ content: [UInt8]) -> [UInt8] {
    var file: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]
    var start = 0
    repeat {
        let block = content[start..<min(content.count, start + 65_535)]
        start += block.count
        file.append(start == content.count ? 1 : 0)
        for word in [UInt16(block.count), ~UInt16(block.count)] { file += [UInt8(word & 0xFF), UInt8(word >> 8)] }
        file += block
    } while start < content.count
    var crc: UInt32 = 0xFFFF_FFFF
    for byte in content {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
    for word in [~crc, UInt32(content.count)] {
        file += (0..<4).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
    }
    return file
}
