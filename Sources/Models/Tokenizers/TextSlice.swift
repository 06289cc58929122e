typealias Bytes = UnsafeBufferPointer<UInt8>

/// A stretch of text on its way from the input to the model: valid UTF-8, borrowed for the duration of a call.
struct TextSlice {
    let bytes: Bytes
    /// True when nothing of the input stands before it.
    let beginsText: Bool

    subscript(range: Range<Int>) -> TextSlice {
        TextSlice(bytes: Bytes(rebasing: bytes[range]), beginsText: beginsText && range.lowerBound == 0)
    }
}

extension Bytes {
    /// The scalar that begins at `position` and its length in bytes. The text must be valid UTF-8.
    @inline(__always)
    func scalar(at position: Int) -> (scalar: Unicode.Scalar, length: Int) {
        let first = UInt32(self[position])
        if first < 0x80 { return (Unicode.Scalar(UInt8(first)), 1) }
        let length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
        var value = first & (0x7F >> UInt32(length))
        for offset in 1..<length { value = value << 6 | UInt32(self[position + offset] & 0x3F) }
        return (Unicode.Scalar(value) ?? "\u{FFFD}", length)
    }

    /// True when no byte is above 127.
    var isASCII: Bool { firstIndex(ofByteAtLeast: 0x80, from: 0) == nil }

    /// The first position from `start` on whose byte is at least `least`, which is 0x80 or more.
    func firstIndex(ofByteAtLeast least: UInt8, from start: Int) -> Int? {
        var position = start
        let raw = UnsafeRawBufferPointer(self)
        while position < count {
            // Most text is plain ASCII: eight bytes at a time.
            if count - position >= 8,
                raw.loadUnaligned(fromByteOffset: position, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
            {
                position += 8
                continue
            }
            if self[position] >= least { return position }
            position += 1
        }
        return nil
    }
}

extension [UInt8] {
    mutating func append(_ scalar: Unicode.Scalar) {
        if scalar.value < 0x80 {
            append(UInt8(scalar.value))
        } else if let units = UTF8.encode(scalar) {
            append(contentsOf: units)
        }
    }

    /// Calls `body` with each scalar. The text must be valid UTF-8.
    func forEachScalar(_ body: (Unicode.Scalar) -> Void) {
        withUnsafeBufferPointer { bytes in
            var position = 0
            while position < bytes.count {
                let (scalar, length) = bytes.scalar(at: position)
                body(scalar)
                position += length
            }
        }
    }

    /// The text with every occurrence of `pattern`, from left to right, replaced. An empty pattern occurs nowhere.
    func replacing(_ pattern: [UInt8], with content: [UInt8]) -> [UInt8] {
        guard let first = pattern.first else { return self }
        var result: [UInt8] = []
        result.reserveCapacity(count)
        var position = 0
        while position < count {
            if self[position] == first, count - position >= pattern.count,
                self[position..<position + pattern.count].elementsEqual(pattern)
            {
                result += content
                position += pattern.count
            } else {
                result.append(self[position])
                position += 1
            }
        }
        return result
    }
}
