import RetortSupport

/// A text as SentencePiece cuts it: characters by its map, spaces as `▁`, at most one in a row where that is asked for, one in front (or
/// behind) that the text does not have. User-defined pieces go through as they are.
struct SentencePieceNormalizer: Normalizer {
    let spec: SentencePieceFile.NormalizerSpec
    var treatsSpaceAsSuffix = false
    /// The space in front stands only where a text begins, not behind added tokens.
    var prefixesOnlyBeginning = false
    var userDefined = ByteTrie()

    static let space: [UInt8] = Array("\u{2581}".utf8)

    func normalize(_ text: inout [UInt8]) throws { try normalize(&text, beginsText: true) }

    func normalize(_ text: inout [UInt8], beginsText: Bool) throws {
        let addsSpace = spec.addsDummyPrefix && (beginsText || !prefixesOnlyBeginning)
        let space = spec.escapesSpaces ? Self.space : [Self.blank]
        let removes = spec.removesExtraSpaces
        text = try text.withUnsafeBufferPointer { bytes in
            var position = 0
            while removes, position < bytes.count {
                var end = position
                guard next(bytes, &end, { $0.count == 1 && $0[0] == Self.blank }) else { break }
                position = end
            }
            guard position < bytes.count else { return [] }
            var result: [UInt8] = []
            result.reserveCapacity(bytes.count + bytes.count / 2 + 8)
            if addsSpace, !treatsSpaceAsSuffix { result += space }
            var followsSpace = removes
            while position < bytes.count {
                next(bytes, &position) { part in
                    for byte in part {
                        if byte != Self.blank {
                            result.append(byte)
                            followsSpace = false
                        } else if !followsSpace {
                            result += space
                        }
                    }
                    // Spaces inside of what one character becomes stay; only those at its beginning are of a row.
                    if let last = part.last { followsSpace = removes && (last == Self.blank) }
                }
                try TokenizerLimit.check(textBytes: result.count)
            }
            if removes {
                while result.suffix(space.count).elementsEqual(space) { result.removeLast(space.count) }
            }
            if addsSpace, treatsSpaceAsSuffix { result += space }
            return result
        }
    }

    private static let blank = UInt8(ascii: " ")

    /// Lends `body` what the user-defined piece, the longest key or the character at `position` becomes, and moves behind it.
    @inline(__always)
    @discardableResult
    private func next<Result>(_ bytes: Bytes, _ position: inout Int, _ body: (Bytes) -> Result) -> Result {
        let start = position
        if userDefined.begins(bytes[start]), let match = userDefined.longestMatch(in: bytes, from: start) {
            position = match.end
        } else if let map = spec.map, let match = map.longestMatch(in: bytes, from: start) {
            position = match.end
            return map.withReplacement(match, body)
        } else {
            position = start + bytes.scalar(at: start).length
        }
        return body(Bytes(rebasing: bytes[start..<position]))
    }
}
