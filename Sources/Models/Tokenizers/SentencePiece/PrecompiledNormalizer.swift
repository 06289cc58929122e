import Foundation
import RetortSupport

/// SentencePiece's character map as tokenizer.json has it (`Precompiled`), and as Hugging Face's library applies it. That is not what
/// SentencePiece does with the same map, which takes the longest key at each place (`SentencePieceNormalizer`):
///
/// - the text is cut into grapheme clusters. One of less than six bytes that a key *begins* becomes, as a whole, what the *shortest* such
///   key becomes, and what else was in the cluster is gone; in other clusters each character becomes what the shortest key in it does;
/// - so keys of several characters do nothing in clusters of six bytes or more, nor across clusters.
struct PrecompiledNormalizer: Normalizer {
    let map: CharacterMap
    /// Of each ASCII character that stands alone, whether it stays.
    private let staysASCII: [Bool]

    /// Bytes from which a cluster is taken character by character.
    private static let longCluster = 6

    init(map: CharacterMap) {
        self.map = map
        staysASCII = (0..<128).map { byte in
            [UInt8(byte)].withUnsafeBufferPointer { map.shortestMatch(in: $0, from: 0, to: 1) == nil }
        }
    }

    /// - Throws: `RetortError` 65 when it is damaged.
    init(_ cursor: JSONCursor) throws {
        try cursor.expectKeys(["type", "precompiled_charsmap"])
        let member = try cursor.member("precompiled_charsmap")
        guard let blob = Data(base64Encoded: try member.string()) else { throw member.failure("it is not base64") }
        do throws(CharacterMap.Refusal) {
            self.init(map: try CharacterMap(Array(blob)[...]))
        } catch {
            throw member.failure("at byte \(error.offset) of what it encodes: \(error.why)")
        }
    }

    func normalize(_ text: inout [UInt8]) throws {
        var result: [UInt8] = []
        result.reserveCapacity(text.count + 16)
        try text.withUnsafeBufferPointer { bytes in
            var position = 0
            while position < bytes.count {
                let byte = bytes[position]
                if byte < 0x80, isCut(bytes, position + 1) {
                    // A cluster by itself.
                    if staysASCII[Int(byte)] {
                        result.append(byte)
                    } else {
                        append(bytes, position..<position + 1, to: &result)
                    }
                    position += 1
                } else {
                    var end = position + 1
                    while !isCut(bytes, end) { end += 1 }
                    for cluster in String(decoding: bytes[position..<end], as: UTF8.self) {
                        let next = position + cluster.utf8.count
                        append(bytes, position..<next, to: &result)
                        position = next
                    }
                }
                // A map from outside may make a thousand bytes of one.
                try TokenizerLimit.check(textBytes: result.count)
            }
        }
        text = result
    }

    /// Two ASCII characters are never of one cluster, but CR LF.
    @inline(__always)
    private func isCut(_ bytes: Bytes, _ position: Int) -> Bool {
        guard position < bytes.count else { return true }
        return bytes[position] < 0x80 && bytes[position - 1] < 0x80
            && !(bytes[position] == 0x0A && bytes[position - 1] == 0x0D)
    }

    private func append(_ bytes: Bytes, _ cluster: Range<Int>, to result: inout [UInt8]) {
        if cluster.count < Self.longCluster,
            let match = map.shortestMatch(in: bytes, from: cluster.lowerBound, to: cluster.upperBound)
        {
            map.withReplacement(match) { result += $0 }
            return
        }
        var position = cluster.lowerBound
        while position < cluster.upperBound {
            let end = position + bytes.scalar(at: position).length
            if let match = map.shortestMatch(in: bytes, from: position, to: end) {
                map.withReplacement(match) { result += $0 }
            } else {
                result += bytes[position..<end]
            }
            position = end
        }
    }
}
