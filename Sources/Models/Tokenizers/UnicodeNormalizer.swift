import Foundation

/// Unicode normalization forms (Unicode Standard Annex 15), of Unicode 9 as in the reference implementation: characters that came later
/// stay as they are and where they are.
struct UnicodeNormalizer: Normalizer {
    enum Form: String, CaseIterable, Sendable { case nfc = "NFC", nfd = "NFD", nfkc = "NFKC", nfkd = "NFKD" }

    let form: Form

    /// The lead byte of the first character that the form may change or that may join the one before it: U+0300 for composition,
    /// beyond ASCII for the others.
    private var firstLead: UInt8 { form == .nfc ? 0xCC : 0x80 }

    func normalize(_ text: inout [UInt8]) throws {
        guard let start = text.withUnsafeBufferPointer({ $0.firstIndex(ofByteAtLeast: firstLead, from: 0) }) else {
            return
        }
        var result: [UInt8] = []
        result.reserveCapacity(text.count + 64)
        var done = 0
        var next: Int? = start
        while let found = next {
            // From the character before, which may be joined, to the next of ASCII, which joins nothing before it.
            var begin = found
            if begin > done {
                begin -= 1
                while begin > done, text[begin] & 0xC0 == 0x80 { begin -= 1 }
            }
            var end = found
            while end < text.count, text[end] >= 0x80 { end += 1 }
            result += text[done..<begin]
            append(text[begin..<end], to: &result)
            done = end
            next = text.withUnsafeBufferPointer { $0.firstIndex(ofByteAtLeast: firstLead, from: end) }
        }
        result += text[done...]
        text = result
    }

    /// Characters that are two marks in every form; Foundation puts them in order before it takes them apart.
    private static let marksOfMarks: [Unicode.Scalar: [Unicode.Scalar]] = [
        "\u{344}": ["\u{308}", "\u{301}"], "\u{F73}": ["\u{F71}", "\u{F72}"], "\u{F75}": ["\u{F71}", "\u{F74}"],
        "\u{F81}": ["\u{F71}", "\u{F80}"],
    ]

    private func append(_ text: ArraySlice<UInt8>, to result: inout [UInt8]) {
        var known = String.UnicodeScalarView()
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            if let parts = Self.marksOfMarks[scalar] {
                known.append(contentsOf: parts)
            } else if scalar.isOfUnicode(upTo: 9) {
                known.append(scalar)
            } else {
                result += normalized(String(known)).utf8
                result.append(scalar)
                known.removeAll()
            }
        }
        result += normalized(String(known)).utf8
    }

    private func normalized(_ text: String) -> String {
        switch form {
        case .nfc: text.precomposedStringWithCanonicalMapping
        case .nfd: text.decomposedStringWithCanonicalMapping
        case .nfkc: text.precomposedStringWithCompatibilityMapping
        case .nfkd: text.decomposedStringWithCompatibilityMapping
        }
    }
}
