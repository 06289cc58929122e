import Crypto

/// SHA-256, for manifests: the content of files and the identity of data, teachers and kernels.
public struct ContentHash: Sendable {
    private var hasher = SHA256()

    public init() {}

    /// Adds bytes.
    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        hasher.update(bufferPointer: bytes)
    }

    /// Adds bytes.
    public mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { hasher.update(bufferPointer: $0) }
    }

    /// The digest of everything added so far: 32 bytes.
    public var bytes: [UInt8] { Array(hasher.finalize()) }

    /// The digest of everything added so far: 64 lower-case hexadecimal digits.
    public var hexadecimal: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in hasher.finalize() {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The digest of `bytes` in hexadecimal.
    public static func hexadecimal(of bytes: [UInt8]) -> String {
        var hash = ContentHash()
        hash.update(bytes)
        return hash.hexadecimal
    }

    /// The digest of lines, with a line feed between each two, in hexadecimal; they are never all in memory.
    public static func hexadecimal(ofLines first: [String], _ further: some Sequence<String>) -> String {
        var hash = ContentHash()
        hash.update(Array(first.joined(separator: "\n").utf8))
        for line in further { hash.update([0x0A] + Array(line.utf8)) }
        return hash.hexadecimal
    }

    /// The digest of a whole file in hexadecimal, read a megabyte at a time.
    /// - Throws: exit 66 when it is not there, 65 when it is no regular file or shrinks meanwhile, 74 on I/O errors.
    public static func hexadecimal(ofFile path: String) throws(RetortError) -> String {
        let file = try InputFile(path: path)
        var hash = ContentHash()
        var offset = 0
        while offset < file.size {
            let count = min(1 << 20, file.size - offset)
            hash.update(try file.read(offset: offset, count: count))
            offset += count
        }
        return hash.hexadecimal
    }
}
