/// How likely the next bit is a 0, learned from those before: fast at first, then slowly.
struct AdaptiveBit {
    // Small: a cache has many of them.
    private var share: UInt16 = 1 << 14
    private var seen: UInt8 = 0

    /// Probability of a 0 in units of 2⁻¹⁵.
    var zero: UInt32 { UInt32(share) }

    mutating func learn(_ bit: Int) {
        // The share of zeros among what was seen, with half a count of each beforehand; never quite certain.
        let target: Int32 = bit == 0 ? 32768 - 32 : 32
        share = UInt16(Int32(share) + (target - Int32(share)) / (Int32(seen) + 2))
        if seen < 96 { seen += 1 }
    }
}

/// Binary arithmetic coding (range coder with carry, as in LZMA): a bit that was expected with probability p costs −log₂ p bits.
struct RangeEncoder {
    private var low: UInt64 = 0
    private var range: UInt32 = .max
    /// The byte that a carry may still change, and how many 255s wait behind it.
    private var pending: UInt8 = 0
    private var waiting = 0
    private var isFirst = true
    private(set) var bytes: [UInt8] = []

    mutating func encode(_ bit: Int, _ model: inout AdaptiveBit) {
        let bound = (range >> 15) * model.zero
        if bit == 0 {
            range = bound
        } else {
            low += UInt64(bound)
            range -= bound
        }
        model.learn(bit)
        normalize()
    }

    /// The lowest `count` bits of a number, the highest first, each as likely 0 as 1.
    mutating func encode(_ value: Int, bits count: Int) {
        for place in stride(from: count - 1, through: 0, by: -1) {
            range >>= 1
            if value >> place & 1 == 1 { low += UInt64(range) }
            normalize()
        }
    }

    private mutating func normalize() {
        while range < 1 << 24 {
            shift()
            range <<= 8
        }
    }

    private mutating func shift() {
        if low < 0xFF00_0000 || low > 0xFFFF_FFFF {
            let carry = UInt8(truncatingIfNeeded: low >> 32)
            // The first byte is always 0 and not written.
            if !isFirst { bytes.append(pending &+ carry) }
            isFirst = false
            for _ in 0..<waiting { bytes.append(0xFF &+ carry) }
            waiting = 0
            pending = UInt8(truncatingIfNeeded: low >> 24)
        } else {
            waiting += 1
        }
        low = (low & 0x00FF_FFFF) << 8
    }

    /// All bytes; nothing may be encoded afterwards.
    mutating func finish() -> [UInt8] {
        // Any number of the range will do; the last of those that end with 24 zeros is in it, for it has 2²⁴ at least.
        low = ((low + UInt64(range) - 1) >> 24) << 24
        for _ in 0..<5 { shift() }
        // A decoder takes zeros for what is missing.
        for _ in 0..<RangeDecoder.mostMissing where bytes.last == 0 { bytes.removeLast() }
        return bytes
    }
}

/// Reads what `RangeEncoder` wrote, with the same models in the same order.
struct RangeDecoder {
    private let bytes: ArraySlice<UInt8>
    private var place: Int
    private var range: UInt32 = .max
    private var code: UInt32 = 0

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        place = bytes.startIndex
        for _ in 0..<4 { code = code << 8 | next() }
    }

    /// Bytes that were asked for beyond the end: more than `mostMissing` where the stream was cut off.
    private(set) var missing = 0
    static let mostMissing = 4
    /// Whether every byte was looked at.
    var isAtEnd: Bool { place >= bytes.endIndex }

    private mutating func next() -> UInt32 {
        guard place < bytes.endIndex else {
            missing += 1
            return 0
        }
        defer { place += 1 }
        return UInt32(bytes[place])
    }

    mutating func decode(_ model: inout AdaptiveBit) -> Int {
        let bound = (range >> 15) * model.zero
        let bit: Int
        if code < bound {
            range = bound
            bit = 0
        } else {
            code -= bound
            range -= bound
            bit = 1
        }
        model.learn(bit)
        normalize()
        return bit
    }

    mutating func decode(bits count: Int) -> Int {
        var value = 0
        for _ in 0..<count {
            range >>= 1
            let bit = code >= range ? 1 : 0
            if bit == 1 { code -= range }
            value = value << 1 | bit
            normalize()
        }
        return value
    }

    private mutating func normalize() {
        while range < 1 << 24 {
            code = code << 8 | next()
            range <<= 8
        }
    }
}
