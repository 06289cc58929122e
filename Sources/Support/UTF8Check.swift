/// Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
public enum UTF8Check {
    /// The offset of the first byte that does not belong to a well-formed sequence; nil when all is well.
    public static func firstInvalidOffset(in bytes: [UInt8]) -> Int? {
        bytes.withUnsafeBytes { buffer in
            var position = 0
            while position < buffer.count {
                if isASCIIWord(buffer, at: position) {
                    position += 8
                    continue
                }
                let length = sequenceLength(buffer, at: position)
                guard length > 0 else { return position }
                position += length
            }
            return nil
        }
    }

    /// Most files are plain ASCII: eight bytes at a time.
    @inline(__always)
    private static func isASCIIWord(_ buffer: UnsafeRawBufferPointer, at position: Int) -> Bool {
        guard buffer.count - position >= 8 else { return false }
        return buffer.loadUnaligned(fromByteOffset: position, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
    }

    /// The length of the well-formed sequence at `position`, 0 when there is none.
    private static func sequenceLength(_ buffer: UnsafeRawBufferPointer, at position: Int) -> Int {
        let lead = buffer[position]
        let length: Int
        let second: ClosedRange<UInt8>
        switch lead {
        case 0x00...0x7F: return 1
        case 0xC2...0xDF: (length, second) = (2, 0x80...0xBF)
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xE1...0xEC, 0xEE, 0xEF: (length, second) = (3, 0x80...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF1...0xF3: (length, second) = (4, 0x80...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        default: return 0
        }
        guard buffer.count - position >= length, second.contains(buffer[position + 1]) else { return 0 }
        for offset in 2..<max(length, 2) where buffer[position + offset] & 0xC0 != 0x80 { return 0 }
        return length
    }
}
