import RetortSupport

/// Whether two tokenizers cut texts into the same tokens, whatever ids these have: found by letting both encode the same texts.
public struct TokenAgreement: Sendable {
    /// Tokens that were compared: the source's, but for marks that the target does not know.
    public private(set) var tokens = 0
    /// Of these, the ones that the target has too, and cuts alike.
    public private(set) var same = 0
    /// The first piece of text for which both have all tokens, and which they cut in different ways nevertheless, or which the target
    /// writes otherwise: tokens with | between them. nil: there is none.
    public private(set) var difference: (source: String, target: String)?

    public init() {}

    public static func + (a: TokenAgreement, b: TokenAgreement) -> TokenAgreement {
        var sum = a
        sum.tokens += b.tokens
        sum.same += b.same
        sum.difference = a.difference ?? b.difference
        return sum
    }

    /// Of one text.
    /// - `ids`: in the source's tokens; what they write is encoded anew, by both. Marks that the source alone has stand in no text: what
    ///   is between them is compared, a text each.
    /// - Throws: `RetortError` 65 for a text that a tokenizer cannot read.
    public init(_ bridge: TokenBridge, of ids: [Int32]) throws {
        let texts = ids.split { bridge.shared.teacherID(of: $0) == nil && bridge.sourcePieces.isMarker($0) }
        for text in texts { try add(Array(text), bridge) }
    }

    private mutating func add(_ ids: [Int32], _ bridge: TokenBridge) throws {
        let (source, target, shared) = (bridge.source, bridge.target, bridge.shared)
        let text = String(decoding: Array(try bridge.sourcePieces.written(ids, by: source).joined()), as: UTF8.self)
        let (ours, theirs) = (
            try source.encode(text, addSpecialTokens: false).ids, try target.encode(text, addSpecialTokens: false).ids
        )
        let written = try bridge.sourcePieces.written(ours, by: source)
        let groups = TokenBridge.groups(
            written, try bridge.targetPieces.written(theirs, by: target), within: Array(written.joined())[...])
        for group in groups {
            let (own, other) = (ours[group.source], theirs[group.target])
            tokens += own.count
            if own.count == 1, other.count == 1, shared.teacherID(of: own[own.startIndex]) == other.first {
                same += 1
            } else if difference == nil, own.allSatisfy({ shared.teacherID(of: $0) != nil }),
                other.allSatisfy(shared.knows(teacherID:))
            {
                difference = (Self.words(own, source), Self.words(other, target))
            }
        }
        // What the target writes otherwise is in no group.
        let end = groups.last?.source.upperBound ?? 0
        let rest = ours[end...].filter { !bridge.sourcePieces.bytes($0).isEmpty }
        // A token that wrote a space in front of the text writes nothing.
        guard let first = rest.first, written[end...].contains(where: { !$0.isEmpty }) else { return }
        tokens += rest.count
        let other = theirs[(groups.last?.target.upperBound ?? 0)...].prefix(3)
        if difference == nil { difference = (Self.words([first], source), Self.words(other, target)) }
    }

    private static func words(_ ids: some Collection<Int32>, _ tokenizer: Tokenizer) -> String {
        ids.isEmpty ? "nothing" : ids.map { tokenizer.token($0) ?? "?" }.joined(separator: "|").quoted()
    }
}
