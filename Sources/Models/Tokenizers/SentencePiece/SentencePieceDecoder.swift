import RetortSupport

/// Pieces back to a text as SentencePiece does it: `▁` to spaces, the first away when it was put in front, byte pieces to characters (one
/// U+FFFD for each byte that belongs to none), control pieces to nothing.
struct SentencePieceDecoder: TokenDecoder {
    private let vocabulary: Vocabulary
    private let types: [SentencePieceFile.PieceType]
    /// Control and unknown pieces that are added tokens: a decoded text has them as they are, unless special tokens are left out.
    private let shown: Set<[UInt8]>
    private let unknownSurface: [UInt8]
    /// Whether spaces at the beginning are none of the text: no matter how many, or the first only.
    private let dropsFirstSpace: Bool
    private let dropsAllSpaces: Bool
    private let denormalizer: SentencePieceNormalizer?

    init(_ file: SentencePieceFile, shown: [String]) {
        vocabulary = file.vocabulary
        types = file.pieces.map(\.type)
        self.shown = Set(shown.map { Array($0.utf8) })
        unknownSurface = Array(file.unknownSurface.utf8)
        dropsAllSpaces = file.normalizer.removesExtraSpaces
        dropsFirstSpace = file.normalizer.addsDummyPrefix || dropsAllSpaces
        denormalizer = file.denormalizer.flatMap { $0.map == nil ? nil : SentencePieceNormalizer(spec: $0) }
    }

    func decode(_ tokens: [[UInt8]]) throws -> [[UInt8]] {
        var text: [UInt8] = []
        var bytes: [UInt8] = []
        var isBeginning = true
        var droppedSpace = false
        for token in tokens {
            let type = token.withUnsafeBufferPointer { vocabulary.find($0) }.map { types[Int($0)] }
            if type == .byte, let byte = ByteFallbackDecoder.byte(token) {
                bytes.append(byte)
                continue
            }
            Self.append(&bytes, to: &text)
            if droppedSpace || !text.isEmpty { isBeginning = false }
            droppedSpace = false
            switch type {
            case nil: text += token
            case .control: if shown.contains(token) { text += token }
            case .unknown: text += shown.contains(token) ? token : unknownSurface
            default:
                var rest = token[...]
                if isBeginning, dropsFirstSpace, rest.starts(with: SentencePieceNormalizer.space) {
                    rest = rest.dropFirst(SentencePieceNormalizer.space.count)
                    droppedSpace = !dropsAllSpaces
                }
                text += Array(rest).replacing(SentencePieceNormalizer.space, with: [UInt8(ascii: " ")])
            }
        }
        Self.append(&bytes, to: &text)
        try denormalizer?.normalize(&text)
        return [text]
    }

    /// Character by character.
    private static func append(_ bytes: inout [UInt8], to text: inout [UInt8]) {
        var position = 0
        while position < bytes.count {
            let first = bytes[position]
            let length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
            let character = Array(bytes[position..<min(position + length, bytes.count)])
            if character.count == length, UTF8Check.firstInvalidOffset(in: character) == nil {
                text += character
                position += length
            } else {
                text += "\u{FFFD}".utf8
                position += 1
            }
        }
        bytes.removeAll()
    }
}
