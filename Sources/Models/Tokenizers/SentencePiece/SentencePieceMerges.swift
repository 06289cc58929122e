import RetortSupport

/// SentencePiece's byte-pair encoding in terms of merges: any two neighbours whose texts put together are a piece may be merged, the pair of the
/// highest score first, of equals the leftmost. So of each piece every cut into two symbols is a merge, of the rank of its score.
enum SentencePieceMerges {
    /// Merges of one file.
    private static let mostMerges = 1 << 22

    /// - Throws: `RetortError` 65 when it has too many merges.
    static func model(_ file: SentencePieceFile) throws -> BytePairModel {
        let isSymbol = file.pieces.map { $0.type == .normal || $0.type == .unused }
        var alphabet = BytePairModel.PieceAlphabet(
            unknown: file.unknown, firstVirtual: Int32(file.vocabulary.idLimit), userDefined: file.userDefined,
            byteFallback: file.byteIDs, isUnused: file.pieces.map { $0.type == .unused })
        for (id, piece) in file.pieces.enumerated() where isSymbol[id] {
            let scalars = piece.text.unicodeScalars
            if let scalar = scalars.first, scalars.count == 1 { alphabet.add(scalar, id: Int32(id)) }
        }
        let ranks = ranks(file, isSymbol)
        var merges: [(left: Int32, right: Int32, rank: UInt32, result: Int32)] = []
        for (id, piece) in file.pieces.enumerated() where isSymbol[id] {
            let text = Array(piece.text.utf8)
            var error: RetortError?
            text.withUnsafeBufferPointer { bytes in
                let first = bytes.scalar(at: 0).length
                var cut = first
                while cut < bytes.count, error == nil {
                    let next = cut + bytes.scalar(at: cut).length
                    if let left = symbol(bytes, 0..<cut, isCharacter: cut == first, file, isSymbol, &alphabet),
                        let right = symbol(
                            bytes, cut..<bytes.count, isCharacter: next == bytes.count, file, isSymbol, &alphabet)
                    {
                        merges.append((left, right, ranks[id], Int32(id)))
                        if merges.count > mostMerges { error = tooMany(file) }
                    }
                    cut = next
                }
            }
            if let error { throw error }
        }
        var table = MergeTable(capacity: merges.count)
        for merge in merges { table.add(merge.left, merge.right, rank: merge.rank, result: merge.result) }
        table.sharesRanks = true
        return BytePairModel(
            vocabulary: file.vocabulary, merges: table, rankCount: Int(ranks.max() ?? 0) + 1,
            alphabet: .pieces(alphabet),
            unknown: nil, fusesUnknown: true, ignoresMerges: false)
    }

    private static func tooMany(_ file: SentencePieceFile) -> RetortError {
        .badData(
            "\(file.file.quoted(limit: 200)) is too large a model", at: .init(file: file.file),
            why: "its pieces can be put together in more than \(mostMerges) ways, the limit")
    }

    /// 0 for the highest score. (0 is higher than −0 there.)
    private static func ranks(_ file: SentencePieceFile, _ isSymbol: [Bool]) -> [UInt32] {
        let order = file.pieces.indices.filter { isSymbol[$0] }.sorted {
            !file.pieces[$0].score.isTotallyOrdered(belowOrEqualTo: file.pieces[$1].score)
        }
        var ranks = [UInt32](repeating: 0, count: file.pieces.count)
        var rank: UInt32 = 0
        for (place, id) in order.enumerated() {
            if place > 0, file.pieces[id].score.bitPattern != file.pieces[order[place - 1]].score.bitPattern {
                rank += 1
            }
            ranks[id] = rank
        }
        return ranks
    }

    /// What stands for a part of a piece while a text is merged; nil when nothing can. A character is a symbol also where it is no piece.
    private static func symbol(
        _ bytes: Bytes, _ range: Range<Int>, isCharacter: Bool, _ file: SentencePieceFile, _ isSymbol: [Bool],
        _ alphabet: inout BytePairModel.PieceAlphabet
    ) -> Int32? {
        let part = Bytes(rebasing: bytes[range])
        let id = file.vocabulary.find(part)
        if isCharacter {
            // A user-defined piece is never part of another symbol.
            if let id, file.pieces[Int(id)].type == .userDefined { return nil }
            return alphabet.id(of: part.scalar(at: 0).scalar)
        }
        guard let id, isSymbol[Int(id)] else { return nil }
        return id
    }
}
