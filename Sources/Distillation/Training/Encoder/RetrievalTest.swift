import RetortData
import RetortModels
import RetortRuntime
import RetortSupport

/// What a retriever is measured on: each query of some rows once, every passage of all of them to be searched.
struct RetrievalTest: Sendable {
    let queries: [RetrievalQuery]
    /// Every passage, once.
    let pool: [Int32]

    /// - Parameter texts: gets those of the rows that are new.
    /// - Throws: what reading the rows throws; `RetortError` 73, 74.
    init(_ rows: RowStream<RankedTexts.Row>, in texts: TextSetBuilder) throws {
        var all: [RetrievalQuery] = []
        try rows.forEach { all.append(try RetrievalQuery($0, in: texts)) }
        queries = RetrievalQuery.merged(all)
        pool = queries.flatMap(\.passages).distinct
    }

    var summary: String {
        "\(NumberFormat.grouped(queries.count)) queries to find among \(NumberFormat.grouped(pool.count)) passages"
    }

    /// - Parameter teacher: to compare with; nil for the teacher itself, or where there is none.
    func metrics(_ model: AnsweringEncoder, teacher: TeacherAnswers?) throws -> [Metric: Double] {
        var (metrics, queries, passages) = try ranking(model)
        guard let teacher else { return metrics }
        let width = model.width
        func product(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> Double {
            zip(a, b).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        }
        let pairs = Self.pairs(self.queries.count, pool.count)
        let own = pairs.map { query, passage in
            product(
                queries[(query * width)..<((query + 1) * width)],
                passages[(passage * width)..<((passage + 1) * width)])
        }
        let theirs = pairs.map { query, passage in
            product(teacher.row(self.queries[query].text)[...], teacher.row(pool[passage])[...])
        }
        metrics[.teacherSpearman] = SentenceSimilarity.spearman(own, theirs) ?? .nan
        return metrics
    }

    /// All pairs of query and passage, or as many of them as are affordable, always the same.
    static func pairs(_ queries: Int, _ passages: Int, most: Int = 20_000) -> [(query: Int, passage: Int)] {
        let count = queries * passages
        guard count > most else { return (0..<count).map { ($0 / passages, $0 % passages) } }
        let random = Philox(seed: 0, stream: Philox.stream("retrieval/pairs"))
        guard let bound = UInt32(exactly: count) else {
            return (0..<UInt64(most)).map {
                (
                    Int(random.integer(2 * $0, below: UInt32(queries))),
                    Int(random.integer(2 * $0 + 1, below: UInt32(passages)))
                )
            }
        }
        return (0..<UInt64(most)).map { number in
            let place = Int(random.integer(number, below: bound))
            return (place / passages, place % passages)
        }
    }

    /// Scores on the device at one time.
    private static let scoresAtOnce = 1 << 22

    /// Every passage of the pool ranked for every query of the test.
    /// - Returns: also the vectors, row-major.
    func ranking(_ model: AnsweringEncoder) throws -> (
        metrics: [Metric: Double], queries: [Float], passages: [Float]
    ) {
        let (device, width) = (model.device, model.width)
        let vectors = try model.answers(queries.map(\.text)).values
        let passages = try model.answers(pool).values
        let table = try Tensor(passages, [pool.count, width], on: device).transposed(0, 1)
        var sums: (recall: Double, ndcg: Double, reciprocal: Double) = (0, 0, 0)
        let part = max(1, Self.scoresAtOnce / pool.count)
        for start in stride(from: 0, to: queries.count, by: part) {
            let rows = start..<min(queries.count, start + part)
            let own = Array(vectors[(rows.lowerBound * width)..<(rows.upperBound * width)])
            let scores = try Autograd.withoutGradients {
                try Tensor(own, [rows.count, width], on: device).matmul(table).values()
            }
            for row in rows {
                let query = queries[row]
                let relevant = Set(zip(query.passages, query.isRelevant).filter(\.1).map(\.0))
                let first = (row - start) * pool.count
                let order = (first..<(first + pool.count)).sorted { (-scores[$0], $0) < (-scores[$1], $1) }.prefix(10)
                let hits = order.map { relevant.contains(pool[$0 - first]) }
                sums.recall += RankingEvaluation.recall(hits, relevant.count, at: 10)
                sums.ndcg += RankingEvaluation.ndcg(hits, relevant.count, at: 10)
                sums.reciprocal += hits.firstIndex(of: true).map { 1 / Double($0 + 1) } ?? 0
            }
        }
        let count = Double(queries.count)
        return (
            [.recall10: sums.recall / count, .ndcg10: sums.ndcg / count, .mrr10: sums.reciprocal / count], vectors,
            passages
        )
    }
}
