import Foundation

/// Text that looks like English prose and is the same everywhere: words of syllables, as often as Zipf's law has it, in sentences and
/// paragraphs.
enum BenchText {
    /// Different words that a text draws from.
    private static let wordCount = 20_000
    private static let onsets = [
        "", "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr", "ch", "sh", "th",
        "pl", "br",
    ]
    private static let vowels = ["a", "e", "i", "o", "u", "ea", "ou", "ai"]
    private static let codas = ["", "", "", "n", "r", "s", "t", "l", "d", "m", "ng", "nd", "ck"]

    /// ASCII text of so many bytes.
    static func prose(_ bytes: Int) -> String {
        var random = BenchRandom()
        let words = vocabulary(&random)
        var text: [UInt8] = []
        text.reserveCapacity(bytes + 256)
        var sentences = 0
        while text.count < bytes {
            let length = 4 + random.integer(below: 18)
            for place in 0..<length {
                var word = words[rank(&random)]
                if place == 0 { word[0] -= 0x20 }
                text += word
                if place == length - 1 { break }
                text += random.integer(below: 10) == 0 ? [UInt8(ascii: ","), UInt8(ascii: " ")] : [UInt8(ascii: " ")]
            }
            sentences += 1
            text.append(UInt8(ascii: random.integer(below: 8) == 0 ? "?" : "."))
            text += sentences % 7 == 0 ? [UInt8(ascii: "\n"), UInt8(ascii: "\n")] : [UInt8(ascii: " ")]
        }
        return String(decoding: text.prefix(bytes), as: UTF8.self)
    }

    /// The words of a text in lower case, each with the space before it, and how often they come: most frequent first.
    static func words(of text: String) -> [(bytes: [UInt8], count: Int)] {
        var counts: [[UInt8]: Int] = [:]
        for word in text.utf8.split(whereSeparator: { !isLetter($0) }) {
            let key = [UInt8(ascii: " ")] + word.map { $0 | 0x20 }
            counts[key, default: 0] += 1
        }
        return counts.sorted { a, b in
            a.value != b.value ? a.value > b.value : a.key.lexicographicallyPrecedes(b.key)
        }.map { (bytes: $0.key, count: $0.value) }
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) }

    /// Frequent words are short.
    private static func vocabulary(_ random: inout BenchRandom) -> [[UInt8]] {
        (0..<wordCount).map { place -> [UInt8] in
            let syllables = 1 + random.integer(below: place < 100 ? 1 : place < 2000 ? 2 : 4)
            var word: [UInt8] = []
            for _ in 0..<syllables {
                for parts in [onsets, vowels, codas] { word += parts[random.integer(below: parts.count)].utf8 }
            }
            return word
        }
    }

    /// Rank r with a probability in proportion to 1 / r, from 0.
    private static func rank(_ random: inout BenchRandom) -> Int {
        let share = Double(random.next() >> 11) * 0x1p-53
        return min(wordCount - 1, Int(pow(Double(wordCount), share)) - 1)
    }
}
