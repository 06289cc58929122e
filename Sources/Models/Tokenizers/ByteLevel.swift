import RetortSupport

/// GPT-2's alphabet: every byte as one printable character, so that any text is spelled with 256 symbols. (Radford et al.,
/// "Language models are unsupervised multitask learners", 2019.)
enum ByteAlphabet {
    /// The character of each byte: itself where it is printable Latin-1, else the next from U+0100 on.
    static let scalars: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (0..<256).map { (byte: UInt32) in
            let isPrintable =
                (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte)
            defer { if !isPrintable { next += 1 } }
            return Unicode.Scalar(isPrintable ? byte : next) ?? "\u{FFFD}"
        }
    }()

    /// The byte of a character; nil for one that is not in the alphabet.
    static func byte(_ scalar: Unicode.Scalar) -> UInt8? {
        scalar.value < bytes.count ? bytes[Int(scalar.value)].map { $0 } : nil
    }

    private static let bytes: [UInt8?] = {
        var table = [UInt8?](repeating: nil, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { table[Int(scalar.value)] = UInt8(byte) }
        return table
    }()

    /// `text` spelled in the alphabet.
    static func spell(_ text: Bytes) -> [UInt8] {
        var spelled: [UInt8] = []
        spelled.reserveCapacity(text.count + text.count / 4)
        for byte in text { spelled.append(scalars[Int(byte)]) }
        return spelled
    }

    /// The bytes that a token stands for: its own when a character of it is not in the alphabet.
    static func unspell(_ token: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        var isSpelled = true
        token.forEachScalar {
            if let byte = byte($0) { text.append(byte) } else { isSpelled = false }
        }
        return isSpelled ? text : token
    }
}

/// GPT-2's splitting into words and its spelling in bytes.
struct ByteLevelPreTokenizer: PreTokenizer {
    /// Contractions, then runs of letters, digits and others, each with one space before it, then spaces.
    static let words = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    let addsPrefixSpace: Bool
    let pattern: Pattern?
    /// False when the model reads bytes itself.
    var spells = true

    func split(_ text: TextSlice, _ emit: (TextSlice) throws -> Void) throws {
        guard addsPrefixSpace, text.bytes.first != UInt8(ascii: " ") else { return try splitWords(text, emit) }
        try ([UInt8(ascii: " ")] + text.bytes).withUnsafeBufferPointer {
            try splitWords(TextSlice(bytes: $0, beginsText: text.beginsText), emit)
        }
    }

    private func splitWords(_ text: TextSlice, _ emit: (TextSlice) throws -> Void) throws {
        guard let pattern else { return try spell(text, emit) }
        try SplitBehavior.isolated.split(text, at: pattern) { try spell($0, emit) }
    }

    private func spell(_ text: TextSlice, _ emit: (TextSlice) throws -> Void) throws {
        guard spells else { return try emit(text) }
        try TokenizerLimit.check(textBytes: 2 * text.bytes.count)
        try ByteAlphabet.spell(text.bytes).withUnsafeBufferPointer {
            try emit(TextSlice(bytes: $0, beginsText: text.beginsText))
        }
    }
}
