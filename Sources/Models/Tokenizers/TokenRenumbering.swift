/// Texts in one tokenizer's ids, read in another's that cuts texts alike and counts its tokens otherwise: token by token.
///
/// A token that the other does not know is read as what it writes, in the other's tokens; one that writes nothing (a mark of the one's own) is
/// not read. A text that begins with what the one tokenizer puts in front of texts begins with what the other puts there.
public struct TokenRenumbering: Sendable {
    public let shared: SharedVocabulary
    /// Whether each token of the one is one of the other.
    public let knowsAll: Bool
    /// Whether texts have as many tokens in both, too: each is read as one token.
    public let isOneToOne: Bool
    /// Of each of the one's ids its tokens in `readings`.
    private let ends: [Int]
    private let readings: [Int32]
    private let fronts: (own: [Int32], other: [Int32])

    /// - Throws: `RetortError` 65 for a token that the other tokenizer cannot read.
    public init(_ bridge: TokenBridge) throws {
        let shared = bridge.shared
        self.shared = shared
        let (source, target) = (bridge.source, bridge.target)
        let bytes = Self.bytes(bridge)
        var (ends, readings): ([Int], [Int32]) = ([0], [])
        var knowsAll = true
        for id in 0..<Int32(source.idLimit) {
            if let other = shared.teacherID(of: id) {
                readings.append(other)
            } else if source.token(id) != nil {
                knowsAll = false
                readings += try Self.reading(bridge.sourcePieces.bytes(id), target, bridge.targetPieces, bytes)
            }
            ends.append(readings.count)
        }
        (self.ends, self.readings) = (ends, readings)
        let fronts = (own: try Self.front(source), other: try Self.front(target))
        self.fronts = fronts
        self.knowsAll = knowsAll
        isOneToOne = knowsAll && fronts.own.map { shared.teacherID(of: $0) } == fronts.other
    }

    /// - Parameter ids: of one text from its beginning.
    /// - Returns: the other's tokens; and of each token that was given the place of the last of its own, or of the last before it where it is
    ///   not read; −1 where nothing stands before it.
    public func read(_ ids: some Collection<Int32>) -> (tokens: [Int32], places: [Int32]) {
        var (tokens, places): ([Int32], [Int32]) = ([], [])
        places.reserveCapacity(ids.count)
        var rest = ids[...]
        if ids.starts(with: fronts.own), fronts.own.isEmpty ? !begins(ids, with: fronts.other) : true {
            rest = rest.dropFirst(fronts.own.count)
            tokens = fronts.other
            let last = fronts.own.count - 1
            places = (0...max(0, last)).prefix(fronts.own.count).map {
                Int32($0 == last ? tokens.count - 1 : min($0, tokens.count - 1))
            }
        }
        for id in rest {
            tokens += reading(id)
            places.append(Int32(tokens.count - 1))
        }
        return (tokens, places)
    }

    private func reading(_ id: Int32) -> ArraySlice<Int32> {
        ends.indices.dropLast().contains(Int(id)) ? readings[ends[Int(id)]..<ends[Int(id) + 1]] : []
    }

    private func begins(_ ids: some Collection<Int32>, with front: [Int32]) -> Bool {
        ids.prefix(front.count).flatMap(reading).starts(with: front)
    }

    /// What a tokenizer puts in front of a text.
    private static func front(_ tokenizer: Tokenizer) throws -> [Int32] {
        let (whole, bare) = (
            try tokenizer.encode("a").ids, try tokenizer.encode("a", addSpecialTokens: false).ids
        )
        let start = (0...max(0, whole.count - bare.count)).first { whole[$0...].starts(with: bare) }
        return Array(whole.prefix(start ?? 0))
    }

    /// The target's tokens of one byte.
    private static func bytes(_ bridge: TokenBridge) -> [UInt8: Int32] {
        var found: [UInt8: Int32] = [:]
        for id in (0..<Int32(bridge.target.idLimit)).reversed() {
            let piece = bridge.targetPieces.bytes(id)
            if piece.count == 1 { found[piece[0]] = id }
        }
        return found
    }

    /// What writes these bytes, as the target would cut them; byte by byte where it would write something else, such as a space in front.
    private static func reading(
        _ piece: [UInt8], _ target: Tokenizer, _ pieces: TokenPieces, _ bytes: [UInt8: Int32]
    ) throws -> [Int32] {
        guard !piece.isEmpty else { return [] }
        if let text = String(validating: piece, as: UTF8.self) {
            let ids = try target.encode(text, addSpecialTokens: false).ids
            if ids.flatMap(pieces.bytes) == piece { return ids }
        }
        let single = piece.compactMap { bytes[$0] }
        return single.count == piece.count ? single : []
    }
}
