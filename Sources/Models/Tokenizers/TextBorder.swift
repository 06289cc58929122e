/// Where a place in a text is among the text's tokens.
struct TextBorder: Equatable {
    /// The tokens before this number end at the place or before it.
    var before: Int
    /// The tokens from this number on begin at the place or behind it. Tokens between the two straddle it.
    var after: Int

    init(_ exact: Int) { (before, after) = (exact, exact) }

    init(before: Int, after: Int) { (self.before, self.after) = (before, after) }

    /// The place is between two tokens.
    var isExact: Bool { before == after }
}

extension Tokenizer {
    /// The ids of a text, exactly those of `encode(_:addSpecialTokens: false)`, and where places in it are among them.
    ///
    /// The text is encoded once, as a whole. Added tokens cut it into stretches that do not depend on each other; where a place is
    /// inside a stretch, what stands before it there is encoded once more. When those ids are the beginning of the stretch's ids, the
    /// place lies between two tokens. When they are not, a token straddles it (or the text before it is split in another way when
    /// nothing follows): then `before` counts the ids that both have in common from the front, `after` leaves those that the rest
    /// has in common with the stretch from the back.
    /// - Parameter places: UTF-8 offsets in the text, between characters, ascending.
    func encode(_ text: String, places: [Int]) throws -> (ids: [Int32], borders: [TextBorder]) {
        try withScratch(text) { bytes, scratch in
            var ids: [Int32] = []
            ids.reserveCapacity(bytes.count / 3 + 8)
            var borders: [TextBorder] = []
            borders.reserveCapacity(places.count)
            try rawTokens.forEachPart(of: bytes) { part in
                let start = ids.count
                switch part {
                case .token(let id, let range):
                    while borders.count < places.count, places[borders.count] < range.upperBound {
                        let isInside = places[borders.count] > range.lowerBound
                        borders.append(TextBorder(before: start, after: isInside ? start + 1 : start))
                    }
                    ids.append(id)
                case .text(let range):
                    let stretch = TextSlice(bytes: bytes, beginsText: true)[range]
                    try append(stretch, to: &ids, scratch)
                    while borders.count < places.count, places[borders.count] < range.upperBound {
                        let place = places[borders.count] - range.lowerBound
                        borders.append(try border(stretch, place, ids[start...], scratch))
                    }
                }
            }
            while borders.count < places.count { borders.append(TextBorder(ids.count)) }
            return (ids, borders)
        }
    }

    /// - Parameter ids: those of `stretch`, a slice of all.
    private func border(
        _ stretch: TextSlice, _ place: Int, _ ids: ArraySlice<Int32>, _ scratch: EncodingScratch
    ) throws -> TextBorder {
        guard place > 0 else { return TextBorder(ids.startIndex) }
        var head: [Int32] = []
        try append(stretch[0..<place], to: &head, scratch)
        let common = zip(head, ids).prefix { $0 == $1 }.count
        guard common < head.count else { return TextBorder(ids.startIndex + common) }
        var tail: [Int32] = []
        try append(stretch[place..<stretch.bytes.count], to: &tail, scratch)
        let shared = zip(tail.reversed(), ids.reversed()).prefix { $0 == $1 }.count
        // One token at least straddles the place. It may look like the tail's first: SentencePiece puts a space in front of a text, and so
        // the tail gets the one that the head ends with.
        let after = max(ids.endIndex - min(shared, ids.count - common), ids.startIndex + common + 1)
        return TextBorder(before: ids.startIndex + common, after: min(after, ids.endIndex))
    }
}
