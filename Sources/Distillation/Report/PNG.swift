import Foundation

/// A small picture with transparency as a PNG file (RFC 2083), its data stored without compression: what every browser reads, without
/// a library to write it.
enum PNG {
    /// - `pixels`: `[height, width, 4]`, red, green, blue and opacity.
    static func file(_ pixels: [UInt8], height: Int, width: Int) -> Data {
        precondition(pixels.count == height * width * 4, "\(pixels.count) bytes for \(height) x \(width)")
        var lines: [UInt8] = []
        lines.reserveCapacity(pixels.count + height)
        for y in 0..<height {
            lines.append(0)
            lines += pixels[(y * width * 4)..<((y + 1) * width * 4)]
        }
        // 8 bits, colour with opacity, not interlaced.
        let header = big(UInt32(height), before: big(UInt32(width))) + [8, 6, 0, 0, 0]
        return Data(
            [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A] + chunk("IHDR", header) + chunk("IDAT", zlib(lines))
                + chunk("IEND", []))
    }

    private static func big(_ value: UInt32, before bytes: [UInt8] = []) -> [UInt8] {
        bytes + (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
    }

    private static func chunk(_ name: String, _ content: [UInt8]) -> [UInt8] {
        let body = Array(name.utf8) + content
        return big(UInt32(content.count)) + body + big(crc(body))
    }

    /// Stored blocks of at most 65535 bytes in zlib's wrapping.
    private static func zlib(_ bytes: [UInt8]) -> [UInt8] {
        var stream: [UInt8] = [0x78, 0x01]
        var (a, b): (UInt32, UInt32) = (1, 0)
        for start in stride(from: 0, to: max(1, bytes.count), by: 65_535) {
            let block = bytes[start..<min(bytes.count, start + 65_535)]
            stream.append(start + block.count == bytes.count ? 1 : 0)
            for word in [UInt16(block.count), ~UInt16(block.count)] {
                stream += [UInt8(word & 0xFF), UInt8(word >> 8)]
            }
            stream += block
            for byte in block {
                a = (a + UInt32(byte)) % 65_521
                b = (b + a) % 65_521
            }
        }
        return big(b << 16 | a, before: stream)
    }

    private static func crc(_ bytes: [UInt8]) -> UInt32 {
        var crc: UInt32 = 0xFFFF_FFFF
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
        return ~crc
    }
}
