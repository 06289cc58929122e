import RetortSupport

/// Rewrites text before it is split.
protocol Normalizer: Sendable {
    /// `text` and the result are valid UTF-8.
    func normalize(_ text: inout [UInt8]) throws
    /// - Parameter beginsText: false when something of the input stands before `text`.
    func normalize(_ text: inout [UInt8], beginsText: Bool) throws
}

extension Normalizer {
    func normalize(_ text: inout [UInt8], beginsText: Bool) throws { try normalize(&text) }
}

struct NormalizerSequence: Normalizer {
    let parts: [any Normalizer]

    func normalize(_ text: inout [UInt8]) throws { try normalize(&text, beginsText: true) }

    func normalize(_ text: inout [UInt8], beginsText: Bool) throws {
        for part in parts { try part.normalize(&text, beginsText: beginsText) }
    }
}

/// Rewrites each character by itself, to none, one or several.
struct ScalarNormalizer: Normalizer {
    /// True when plain ASCII stays as it is.
    let isASCIIUnchanged: Bool
    let map: @Sendable (Unicode.Scalar, inout [UInt8]) -> Void

    func normalize(_ text: inout [UInt8]) throws {
        if isASCIIUnchanged, text.withUnsafeBufferPointer(\.isASCII) { return }
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        text.forEachScalar { map($0, &result) }
        text = result
    }

    /// The lower-case form of each character by itself (no final sigma).
    static let lowercase = ScalarNormalizer(isASCIIUnchanged: false) { scalar, result in
        if scalar.value < 0x80 {
            let byte = UInt8(scalar.value)
            result.append((0x41...0x5A).contains(byte) ? byte + 0x20 : byte)
        } else {
            result += scalar.properties.lowercaseMapping.utf8
        }
    }

    /// Without marks; those that are part of a character must have been taken apart (NFD).
    static let stripMarks = ScalarNormalizer(isASCIIUnchanged: true) { scalar, result in
        if !scalar.isMark { result.append(scalar) }
    }
}

/// Puts a string in front of a text that is not empty.
struct PrependNormalizer: Normalizer {
    let prefix: [UInt8]

    func normalize(_ text: inout [UInt8]) throws {
        if !text.isEmpty { text.insert(contentsOf: prefix, at: 0) }
    }
}

struct ReplaceNormalizer: Normalizer {
    let pattern: TextPattern
    let content: [UInt8]

    func normalize(_ text: inout [UInt8]) throws {
        text = try pattern.replace(in: text, with: content)
    }
}

/// Takes spaces away from one end or both.
struct StripNormalizer: Normalizer {
    let left: Bool
    let right: Bool

    func normalize(_ text: inout [UInt8]) throws {
        var first: Int?
        var last = 0
        text.withUnsafeBufferPointer { bytes in
            var position = 0
            while position < bytes.count {
                let (scalar, length) = bytes.scalar(at: position)
                if !scalar.isSpace {
                    if first == nil { first = position }
                    last = position + length
                }
                position += length
            }
        }
        let start = left ? first ?? text.count : 0
        let end = right ? last : text.count
        text = start < end ? Array(text[start..<end]) : []
    }
}
