/// A fast hash of short byte strings, different in every process so that no file can be made to collide. Never stored.
enum ByteHash {
    private static let seed = UInt64.random(in: .min ... .max)
    /// An odd number to multiply keys with.
    static let multiplier = UInt64.random(in: .min ... .max) | 1

    @inline(__always)
    static func hash(_ bytes: Bytes) -> UInt64 {
        let raw = UnsafeRawBufferPointer(bytes)
        let count = raw.count
        var state = seed ^ UInt64(truncatingIfNeeded: count)
        if count >= 8 {
            var position = 0
            while position + 8 < count {
                state = mix(state ^ raw.loadUnaligned(fromByteOffset: position, as: UInt64.self))
                position += 8
            }
            // The last eight bytes, some perhaps for the second time.
            return mix(state ^ raw.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self))
        }
        if count >= 4 {
            let low = raw.loadUnaligned(fromByteOffset: 0, as: UInt32.self)
            let high = raw.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self)
            return mix(state ^ (UInt64(high) << 32 | UInt64(low)))
        }
        var word: UInt64 = 0
        for byte in raw { word = word << 8 | UInt64(byte) }
        return mix(state ^ word)
    }

    @inline(__always)
    private static func mix(_ value: UInt64) -> UInt64 {
        let (high, low) = value.multipliedFullWidth(by: 0xA076_1D64_78BD_642F)
        return (high ^ low) &+ 0x9E37_79B9_7F4A_7C15
    }
}
