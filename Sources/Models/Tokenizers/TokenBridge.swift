import RetortSupport

/// Texts in the tokens of one tokenizer, read again by another: what a student and a teacher with vocabularies of their own are compared by.
///
/// The same bytes are cut in both ways; where both have a border, a group ends: the fewest tokens of either that write the same text.
public struct TokenBridge: Sendable {
    /// Tokens of both that write the same bytes, by their places in the text.
    public struct Group: Sendable, Equatable {
        public let source: Range<Int>
        public let target: Range<Int>

        public init(source: Range<Int>, target: Range<Int>) {
            self.source = source
            self.target = target
        }
    }

    public struct Translation: Sendable {
        /// The text in the other's tokens, with those that it puts around a text.
        public let tokens: [Int32]
        /// In order. Tokens that write nothing (the beginning or the end of a text) are in none, nor is what comes behind a place at which the
        /// other tokenizer writes another text than it read.
        public let groups: [Group]
    }

    let source: Tokenizer
    let target: Tokenizer
    let sourcePieces: TokenPieces
    let targetPieces: TokenPieces
    /// The tokens that both vocabularies have; the source is the student.
    public let shared: SharedVocabulary
    /// Whether both cut every text alike: each id writes the same.
    public let isIdentity: Bool

    /// - Throws: `RetortError` 65, 69 for a tokenizer that cannot encode.
    public init(from source: Tokenizer, to target: Tokenizer) throws {
        self.source = source
        self.target = target
        let (sourcePieces, targetPieces) = (try TokenPieces(source), try TokenPieces(target))
        (self.sourcePieces, self.targetPieces) = (sourcePieces, targetPieces)
        isIdentity = sourcePieces == targetPieces
        shared = SharedVocabulary(source, sourcePieces, target, targetPieces)
    }

    /// Ids of both, the largest + 1.
    public var limits: (source: Int, target: Int) { (source.idLimit, target.idLimit) }

    /// Tokens of both.
    public var sizes: (source: Int, target: Int) { (source.vocabularySize, target.vocabularySize) }

    /// - Parameter ids: of one text, in the source's tokens.
    /// - Throws: `RetortError` 65 for a text that the other tokenizer cannot read.
    public func translate(_ ids: some Sequence<Int32>) throws -> Translation {
        let pieces = try sourcePieces.written(Array(ids), by: source)
        let bytes = Array(pieces.joined())
        // What a model wrote may end in the middle of a character.
        let text = bytes[..<(UTF8Check.firstInvalidOffset(in: bytes) ?? bytes.count)]
        let tokens = try target.encode(String(decoding: text, as: UTF8.self), addSpecialTokens: true).ids
        let others = try targetPieces.written(tokens, by: target)
        return Translation(tokens: tokens, groups: Self.groups(pieces, others, within: text))
    }

    /// - Parameter text: what the source wrote; groups end where the target wrote another.
    static func groups(_ source: [[UInt8]], _ target: [[UInt8]], within text: ArraySlice<UInt8>) -> [Group] {
        let written = target.joined()
        let agreed = zip(text, written).prefix { $0 == $1 }.count
        var groups: [Group] = []
        var (s, t, sourceEnd, targetEnd) = (0, 0, 0, 0)
        var (firstSource, firstTarget) = (0, 0)
        while true {
            // The next token that writes something, on the side that is behind; both where they are at one place.
            let isBorder = sourceEnd == targetEnd
            if isBorder {
                while s < source.count, source[s].isEmpty { s += 1 }
                while t < target.count, target[t].isEmpty { t += 1 }
                (firstSource, firstTarget) = (s, t)
            }
            guard s < source.count || !(isBorder || sourceEnd < targetEnd),
                t < target.count || !(isBorder || targetEnd < sourceEnd)
            else { return groups }
            if isBorder || sourceEnd < targetEnd {
                sourceEnd += source[s].count
                s += 1
            }
            if isBorder || targetEnd < sourceEnd {
                guard t < target.count else { return groups }
                targetEnd += target[t].count
                t += 1
            }
            guard min(sourceEnd, targetEnd) <= agreed else { return groups }
            if sourceEnd == targetEnd { groups.append(Group(source: firstSource..<s, target: firstTarget..<t)) }
        }
    }
}

/// What each token of a vocabulary writes inside a text.
struct TokenPieces: Sendable, Equatable {
    private let pieces: [[UInt8]]
    /// Added tokens, and those with a role.
    private let markers: Set<Int32>

    /// Whether each id writes the same.
    static func == (a: TokenPieces, b: TokenPieces) -> Bool { a.pieces == b.pieces }

    init(_ tokenizer: Tokenizer) throws {
        let roles = ["bos", "eos", "pad", "cls", "sep", "mask"].compactMap { tokenizer.special($0)?.id }
        // What it puts around a text, where nothing says which role that has.
        let silent = Set(roles).union(try tokenizer.encode("").ids)
        let added = Set(tokenizer.addedTokens.map(\.id))
        markers = added.union(silent)
        pieces = (0..<Int32(tokenizer.idLimit)).map { id in
            guard !silent.contains(id), let token = tokenizer.token(id) else { return [] }
            return added.contains(id) ? Array(token.utf8) : Self.bytes(token, kind: tokenizer.kind)
        }
    }

    /// What each token of a text writes. Some tokenizers put a space before a text, which its first token then does not write.
    func written(_ ids: [Int32], by tokenizer: Tokenizer) throws -> [[UInt8]] {
        var written = ids.map(bytes)
        if let first = written.firstIndex(where: { !$0.isEmpty }) {
            let alone = Array(try tokenizer.decode([ids[first]]).utf8)
            if written[first] == [UInt8(ascii: " ")] + alone { written[first] = alone }
        }
        return written
    }

    /// Whether a token stands in a text for something else than what it writes.
    func isMarker(_ id: Int32) -> Bool { markers.contains(id) }

    /// Nothing for a token that stands for no text, or that there is none of.
    func bytes(_ id: Int32) -> [UInt8] { pieces.indices.contains(Int(id)) ? pieces[Int(id)] : [] }

    private static func bytes(_ token: String, kind: String) -> [UInt8] {
        let bytes = Array(token.utf8)
        switch kind {
        case "byte-level BPE": return ByteAlphabet.unspell(bytes)
        case "WordPiece": return token.hasPrefix("##") ? Array(bytes.dropFirst(2)) : [UInt8(ascii: " ")] + bytes
        default:
            if let byte = ByteFallbackDecoder.byte(bytes) { return [byte] }
            return Array(token.replacing("\u{2581}", with: " ").utf8)
        }
    }
}
