import Foundation
import RetortData
import RetortModels
import RetortRuntime

/// How well a recommender predicts what users took next: every item ranked for every user of the test, except what he is known to have taken.
public struct RankingEvaluation: Sendable {
    public static let metrics: [Metric] = [.recall10, .recall20, .ndcg10, .ndcg20]

    private var values: [Metric: Double] = [:]

    public subscript(metric: Metric) -> Double { values[metric] ?? .nan }

    /// Measures embeddings against a split.
    public init(_ tables: EmbeddingTables, _ split: InteractionSplit, on device: Device) throws {
        let users = split.testUsers
        let count = min(20, split.items.count)
        let ranking = ItemRanking(
            users: users.map(Int32.init), items: split.items.count, excluded: split.train, on: device)
        self.init(try ranking.top(count, of: tables), relevant: users.map { split.test[$0] })
    }

    /// - Parameters:
    ///   - rankings: each user's items, best first.
    ///   - relevant: what each user took, ascending; never empty.
    init(_ rankings: [[Int32]], relevant: [ArraySlice<Int32>]) {
        let hits = zip(rankings, relevant).map { ranking, relevant in
            let wanted = Set(relevant)
            return ranking.map { wanted.contains($0) }
        }
        for (metric, k) in [(Metric.recall10, 10), (.recall20, 20)] {
            values[metric] = Self.mean(zip(hits, relevant).map { Self.recall($0, $1.count, at: k) })
        }
        for (metric, k) in [(Metric.ndcg10, 10), (.ndcg20, 20)] {
            values[metric] = Self.mean(zip(hits, relevant).map { Self.ndcg($0, $1.count, at: k) })
        }
    }

    /// Hits among the first k, divided by everything relevant.
    static func recall(_ hits: [Bool], _ relevant: Int, at k: Int) -> Double {
        Double(hits.prefix(k).count { $0 }) / Double(relevant)
    }

    /// Σ 1 / log₂(1 + rank) over the hits among the first k, ranks from 1, divided by its largest possible value (Järvelin & Kekäläinen 2002).
    static func ndcg(_ hits: [Bool], _ relevant: Int, at k: Int) -> Double {
        func discount(_ rank: Int) -> Double { 1 / log2(Double(rank + 2)) }
        let gained = hits.prefix(k).enumerated().reduce(0.0) { $0 + ($1.element ? discount($1.offset) : 0) }
        return gained / (0..<min(k, relevant)).reduce(0.0) { $0 + discount($1) }
    }

    private static func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(1, values.count)) }
}

/// What tables show of a recommender: how it ranks, how large it is, how long a user's ranking takes.
func rankingMetrics(_ model: any RecommenderModel, _ split: InteractionSplit, on device: Device) throws -> [Metric:
    Double]
{
    model.setTraining(false)
    let tables = try RecommenderRun.constant(model)
    let evaluation = try RankingEvaluation(tables, split, on: device)
    var metrics: [Metric: Double] = [
        .parameters: Double(model.parameterCount), .bytes: Double(model.parameterCount * 4),
        .latency: try rankingLatency(tables, on: device),
    ]
    for metric in RankingEvaluation.metrics { metrics[metric] = evaluation[metric] }
    return metrics
}

/// Median time in microseconds of ranking all items for one user: his scores with every item, enqueued and waited for.
func rankingLatency(_ tables: EmbeddingTables, on device: Device) throws -> Double {
    try medianMicroseconds(on: device) { _ = try Autograd.withoutGradients { try tables.scores(ofAllItems: [0]) } }
}
