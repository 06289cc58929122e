/// BERT's basic clean-up, in its order: control characters out, spaces made plain, ideographs set apart, accents off,
/// lower case.
struct BertNormalizer: Normalizer {
    let cleansText: Bool
    let separatesIdeographs: Bool
    let stripsAccents: Bool
    let lowercases: Bool

    func normalize(_ text: inout [UInt8]) throws {
        if text.withUnsafeBufferPointer(\.isASCII) { return normalizeASCII(&text) }
        if cleansText || separatesIdeographs {
            var result: [UInt8] = []
            result.reserveCapacity(text.count + text.count / 4)
            text.forEachScalar { scalar in
                if cleansText {
                    if scalar.isLineOrTab { return result.append(UInt8(ascii: " ")) }
                    if scalar.value == 0xFFFD || scalar.isControl { return }
                    if scalar.isSpace { return result.append(UInt8(ascii: " ")) }
                }
                if separatesIdeographs, scalar.isChinese {
                    result.append(UInt8(ascii: " "))
                    result.append(scalar)
                    result.append(UInt8(ascii: " "))
                } else {
                    result.append(scalar)
                }
            }
            text = result
        }
        if stripsAccents {
            try UnicodeNormalizer(form: .nfd).normalize(&text)
            try ScalarNormalizer(isASCIIUnchanged: true) { scalar, result in
                if !scalar.isNonspacingMark { result.append(scalar) }
            }.normalize(&text)
        }
        if lowercases { try ScalarNormalizer.lowercase.normalize(&text) }
    }

    /// The same for most texts, byte by byte.
    private func normalizeASCII(_ text: inout [UInt8]) {
        var end = 0
        text.withUnsafeMutableBufferPointer { bytes in
            for index in 0..<bytes.count {
                var byte = bytes[index]
                if cleansText {
                    if byte == 0x09 || byte == 0x0A || byte == 0x0D { byte = 0x20 }
                    if byte < 0x20 || byte == 0x7F { continue }
                }
                if lowercases, (0x41...0x5A).contains(byte) { byte += 0x20 }
                bytes[end] = byte
                end += 1
            }
        }
        text.removeLast(text.count - end)
    }
}

extension Unicode.Scalar {
    /// Controls that BERT takes for spaces.
    fileprivate var isLineOrTab: Bool { value == 0x09 || value == 0x0A || value == 0x0D }
}
