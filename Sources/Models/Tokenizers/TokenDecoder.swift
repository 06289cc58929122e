import RetortSupport

/// Turns tokens back into text. Works on UTF-8 bytes: a String would take "e" and a following accent for one.
protocol TokenDecoder: Sendable {
    /// Rewrites the tokens; put one after the other they are the text.
    func decode(_ tokens: [[UInt8]]) throws -> [[UInt8]]
}

struct DecoderSequence: TokenDecoder {
    let parts: [any TokenDecoder]

    func decode(_ tokens: [[UInt8]]) throws -> [[UInt8]] {
        try parts.reduce(tokens) { try $1.decode($0) }
    }
}

/// Characters of the byte alphabet back to bytes; what is not UTF-8 then becomes U+FFFD.
struct ByteLevelDecoder: TokenDecoder {
    func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
        let bytes = tokens.flatMap(ByteAlphabet.unspell)
        return [Array(String(decoding: bytes, as: UTF8.self).utf8)]
    }
}

/// Joins word pieces: those with the mark go on with the word, others begin one after a space.
struct WordPieceDecoder: TokenDecoder {
    let prefix: [UInt8]
    /// Closes up punctuation and English contractions.
    let cleansUp: Bool

    private static let cleanUps = [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
        (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ].map { (Array($0.0.utf8), Array($0.1.utf8)) }

    func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
        tokens.enumerated().map { index, token in
            var token = token
            if index > 0 {
                if token.starts(with: prefix) {
                    token.removeFirst(prefix.count)
                } else {
                    token.insert(UInt8(ascii: " "), at: 0)
                }
            }
            if cleansUp { for (before, after) in Self.cleanUps { token = token.replacing(before, with: after) } }
            return token
        }
    }
}

/// `▁` back to spaces, those of the first token away when one was put in front.
struct MetaspaceDecoder: TokenDecoder {
    let metaspace: Metaspace

    func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
        tokens.enumerated().map { index, token in
            var text: [UInt8] = []
            token.forEachScalar { scalar in
                if scalar != metaspace.replacement {
                    text.append(scalar)
                } else if index > 0 || metaspace.prepending == .never {
                    text.append(UInt8(ascii: " "))
                }
            }
            return text
        }
    }
}

/// Runs of `<0x00>` … `<0xFF>` back to the text they spell; one U+FFFD a byte where that is not UTF-8.
struct ByteFallbackDecoder: TokenDecoder {
    func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
        var result: [[UInt8]] = []
        var bytes: [UInt8] = []
        func flush() {
            guard !bytes.isEmpty else { return }
            if UTF8Check.firstInvalidOffset(in: bytes) == nil {
                result.append(bytes)
            } else {
                result += [[UInt8]](repeating: Array("\u{FFFD}".utf8), count: bytes.count)
            }
            bytes.removeAll()
        }
        for token in tokens {
            if let byte = Self.byte(token) {
                bytes.append(byte)
            } else {
                flush()
                result.append(token)
            }
        }
        flush()
        return result
    }

    /// `<0x00>` to `<0xFF>`.
    static func name(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return Array("<0x".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)], UInt8(ascii: ">")]
    }

    /// The byte that a token spells; nil for another token.
    static func byte(_ token: [UInt8]) -> UInt8? {
        guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">") else { return nil }
        return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
    }
}

struct FuseDecoder: TokenDecoder {
    func decode(_ tokens: [[UInt8]]) -> [[UInt8]] { [tokens.flatMap { $0 }] }
}

/// Takes at most `start` and `stop` occurrences of a character away from the ends of every token.
struct StripDecoder: TokenDecoder {
    let content: [UInt8]
    let start: Int
    let stop: Int

    func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
        tokens.map { token in
            var rest = token[...]
            var left = start
            while left > 0, rest.starts(with: content) {
                rest = rest.dropFirst(content.count)
                left -= 1
            }
            left = stop
            while left > 0, rest.count >= content.count, rest.suffix(content.count).elementsEqual(content) {
                rest = rest.dropLast(content.count)
                left -= 1
            }
            return Array(rest)
        }
    }
}

struct ReplaceDecoder: TokenDecoder {
    let pattern: TextPattern
    let content: [UInt8]

    func decode(_ tokens: [[UInt8]]) throws -> [[UInt8]] {
        try tokens.map { try pattern.replace(in: $0, with: content) }
    }
}

/// Ends of words, marked by a suffix, back to spaces.
struct SuffixDecoder: TokenDecoder {
    let suffix: [UInt8]

    func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
        tokens.enumerated().map { index, token in
            token.replacing(suffix, with: index == tokens.count - 1 ? [] : [UInt8(ascii: " ")])
        }
    }
}
