/// ROUGE-L (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"): what share of the words of two texts is in their longest
/// common subsequence. Words are runs of a–z and 0–9 after lower-casing, without stemming, as the Python package `rouge_score` has them;
/// its numbers come out.
public struct RougeL: Sendable, Equatable {
    /// Of the prediction's words.
    public let precision: Double
    /// Of the reference's words.
    public let recall: Double
    /// Their harmonic mean, 0 where nothing is shared.
    public let f: Double

    public init(_ prediction: String, reference: String) {
        var numbers: [String: Int32] = [:]
        func words(_ text: String) -> [Int32] {
            Self.words(text).map { word in
                let number = numbers[word] ?? Int32(numbers.count)
                numbers[word] = number
                return number
            }
        }
        let (left, right) = (words(prediction), words(reference))
        let common = Double(Self.longestCommonSubsequence(left, right))
        precision = left.isEmpty ? 0 : common / Double(left.count)
        recall = right.isEmpty ? 0 : common / Double(right.count)
        f = common == 0 ? 0 : 2 * precision * recall / (precision + recall)
    }

    static func words(_ text: String) -> [String] {
        text.lowercased().utf8.split { !(0x61...0x7A).contains($0) && !(0x30...0x39).contains($0) }
            .map { String(decoding: $0, as: UTF8.self) }
    }

    /// Its length; time `a.count · b.count`, memory that of the shorter one.
    static func longestCommonSubsequence(_ a: [Int32], _ b: [Int32]) -> Int {
        let (long, short) = a.count < b.count ? (b, a) : (a, b)
        var row = [Int](repeating: 0, count: short.count + 1)
        for word in long {
            var diagonal = 0
            for (index, other) in short.enumerated() {
                let above = row[index + 1]
                row[index + 1] = word == other ? diagonal + 1 : max(above, row[index])
                diagonal = above
            }
        }
        return row[short.count]
    }
}
