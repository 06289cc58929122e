import RetortModels
import RetortRuntime

/// A batch of the student's tokens as a teacher reads it that cuts texts alike and counts its tokens otherwise.
struct RenumberedBatch {
    let tokens: TokenBatch
    /// Of each of the student's places, row-major, the teacher's place with the same text before it, 0 where there is none; nil: the same.
    private let places: [Int32]?
    /// Row-major, by the student's places: the teacher has read something there; nil: everywhere.
    let isRead: [Bool]?

    /// - Parameter longest: tokens that the teacher can read of a text; what comes behind them is not read.
    init(_ batch: LanguageBatch, _ renumbering: TokenRenumbering, longest: Int) throws {
        let texts = batch.texts
        let readings = texts.map { renumbering.read($0.tokens) }
        guard !zip(texts, readings).allSatisfy({ $1.places.elementsEqual(0..<Int32($0.tokens.count)) }) else {
            // Padding is nobody's token.
            var ids = [Int32](repeating: 0, count: batch.tokens.count)
            for (text, reading) in zip(texts, readings) { ids.replaceSubrange(text.range, with: reading.tokens) }
            tokens = try TokenBatch(ids, rows: batch.rows, valid: batch.valid, documents: batch.documents)
            (places, isRead) = (nil, nil)
            return
        }
        var rows = [[Token]](repeating: [], count: batch.rows)
        var found = [(row: Int, place: Int)?](repeating: nil, count: batch.tokens.count)
        for (text, reading) in zip(texts, readings) {
            let row = text.range.lowerBound / batch.length
            let (start, count) = (rows[row].count, min(longest, reading.tokens.count))
            for (place, own) in zip(text.range, reading.places) where own >= 0 && own < Int32(count) {
                found[place] = (row, start + Int(own))
            }
            let document = batch.documents?[text.range.lowerBound] ?? 0
            rows[row] += reading.tokens.prefix(count).map { Token(id: $0, document: document) }
        }
        let length = max(1, rows.map(\.count).max() ?? 1)
        let filled = rows.flatMap { row in
            row + [Token](repeating: Token(id: 0, document: -1), count: length - row.count)
        }
        tokens = try TokenBatch(
            filled.map(\.id), rows: batch.rows, valid: filled.map { $0.document >= 0 },
            documents: batch.documents == nil ? nil : filled.map(\.document))
        places = found.map { place in place.map { Int32($0.row * length + $0.place) } ?? 0 }
        isRead = found.map { $0 != nil }
    }

    private struct Token {
        let id: Int32
        /// −1 for padding.
        let document: Int32
    }

    /// The teacher's places for some of the student's, row-major numbers of them; nil: all.
    func places(of chosen: [Int32]?) -> [Int32]? {
        guard let places else { return chosen }
        return chosen.map { $0.map { places[Int($0)] } } ?? places
    }
}
