import RetortData

/// A query with its passages, texts by their numbers.
struct RetrievalQuery: Sendable {
    let text: Int32
    let passages: [Int32]
    let isRelevant: [Bool]
    /// A teacher's of the passages; empty where the file has none.
    let scores: [Float]

    init(text: Int32, passages: [Int32], isRelevant: [Bool], scores: [Float]) {
        (self.text, self.passages, self.isRelevant, self.scores) = (text, passages, isRelevant, scores)
    }

    /// - Parameter texts: gets those of the row that are new.
    /// - Throws: `RetortError` 73, 74.
    init(_ row: RankedTexts.Row, in texts: TextSetBuilder) throws {
        text = try texts.number(of: [row.query])
        passages = try row.passages.map { try texts.number(of: [$0]) }
        isRelevant = row.labels.map { $0 > 0 }
        scores = (row.scores ?? []).map { Float($0) }
    }

    /// The texts that are relevant for each query's text.
    static func answers(_ queries: [RetrievalQuery]) -> [Int32: Set<Int32>] {
        queries.reduce(into: [:]) { answers, query in
            answers[query.text, default: []].formUnion(zip(query.passages, query.isRelevant).filter(\.1).map(\.0))
        }
    }

    /// Rows of one query as one: what is relevant in one of them is not a miss in another.
    static func merged(_ queries: [RetrievalQuery]) -> [RetrievalQuery] {
        let answers = answers(queries)
        var places: [Int32: Int] = [:]
        return queries.reduce(into: []) { merged, query in
            let relevant = answers[query.text] ?? []
            var passages = query.passages
            if let place = places[query.text] {
                passages = merged[place].passages + passages
                merged[place] = RetrievalQuery(
                    text: query.text, passages: passages, isRelevant: passages.map(relevant.contains), scores: [])
            } else {
                places[query.text] = merged.count
                merged.append(
                    RetrievalQuery(
                        text: query.text, passages: passages, isRelevant: passages.map(relevant.contains),
                        scores: query.scores))
            }
        }
    }
}
