import Foundation
import RetortModels
import RetortRuntime
import TestSupport
import Testing

@testable import RetortData
@testable import RetortDistillation

/// Rankings and their metrics against a reference that sorts in double, one user after the other.
@Suite("Ranking")
struct RankingTests {
    private static let (users, items, dimension) = (7, 41, 3)

    private struct Sample {
        let split: InteractionSplit
        let tables: EmbeddingTables
        let scores: [[Float]]

        init(_ backend: TestBackend, bias: Bool) throws {
            let device = try backend.device()
            let random = Philox(seed: 5, stream: Philox.stream("ranking"))
            // Quarters: products and sums are exact, so that ties are ties on every device.
            func quarters(_ first: UInt64, _ count: Int) -> [Float] {
                (0..<count).map { (random.uniform(first + UInt64($0), -8, 8)).rounded() / 4 }
            }
            let user = quarters(0, RankingTests.users * RankingTests.dimension)
            let item = quarters(1000, RankingTests.items * RankingTests.dimension)
            let biases = quarters(2000, RankingTests.items)
            tables = EmbeddingTables(
                users: try Tensor(user, [RankingTests.users, RankingTests.dimension], on: device),
                items: try Tensor(item, [RankingTests.items, RankingTests.dimension], on: device),
                itemBias: bias ? try Tensor(biases, [RankingTests.items, 1], on: device) : nil)
            scores = (0..<RankingTests.users).map { u in
                (0..<RankingTests.items).map { i in
                    (0..<RankingTests.dimension).reduce(bias ? biases[i] : 0) {
                        $0 + user[u * RankingTests.dimension + $1] * item[i * RankingTests.dimension + $1]
                    }
                }
            }
            var (train, test): ([(Int32, Int32)], [(Int32, Int32)]) = ([], [])
            for u in 0..<RankingTests.users {
                for i in 0..<RankingTests.items {
                    let number = random.uniform(UInt64(3000 + u * RankingTests.items + i))
                    // User 2 has nothing to predict, user 3 nothing to learn from, user 4 all but one to learn from.
                    if u == 4 ? i != 17 : u != 3 && number < 0.3 {
                        train.append((Int32(u), Int32(i)))
                    } else if u == 4 || u != 2 && number > 0.8 {
                        test.append((Int32(u), Int32(i)))
                    }
                }
            }
            split = InteractionSplit(
                users: (0..<RankingTests.users).map(String.init), items: (0..<RankingTests.items).map(String.init),
                train: PositiveLists(train.map { (user: $0.0, item: $0.1) }, users: RankingTests.users),
                test: PositiveLists(test.map { (user: $0.0, item: $0.1) }, users: RankingTests.users))
        }

        /// All items that the user has not taken, best first; equal ones in their order.
        func ranking(_ user: Int, excluding: Bool = true) -> [Int32] {
            (0..<Int32(RankingTests.items)).filter { !excluding || !split.train[user].contains($0) }
                .sorted { (scores[user][Int($0)], $1) > (scores[user][Int($1)], $0) }
        }
    }

    @Test("the best items, ties in order, without what was taken", arguments: TestBackend.available, [false, true])
    func top(_ backend: TestBackend, _ bias: Bool) throws {
        let sample = try Sample(backend, bias: bias)
        let task = RecommenderTask(sample.split)
        let device = try backend.device()
        let all = try sample.tables.topItems(12, of: task, on: device)
        let untaken = try sample.tables.topItems(12, of: task, excludingPositives: true, on: device)
        for user in 0..<Self.users {
            #expect(all[user] == Array(sample.ranking(user, excluding: false).prefix(12)), "user \(user)")
            let left = sample.ranking(user)
            #expect(Array(untaken[user].prefix(left.count)) == Array(left.prefix(12)), "user \(user)")
        }
    }

    @Test("recall and NDCG are those of a naive reference", arguments: TestBackend.available, [false, true])
    func metrics(_ backend: TestBackend, _ bias: Bool) throws {
        let sample = try Sample(backend, bias: bias)
        let evaluation = try RankingEvaluation(sample.tables, sample.split, on: try backend.device())
        let measured = [0, 1, 4, 5, 6]
        #expect(sample.split.testUsers == measured)
        for (k, recall, ndcg) in [(10, Metric.recall10, Metric.ndcg10), (20, .recall20, .ndcg20)] {
            var (recalls, gains): ([Double], [Double]) = ([], [])
            for user in measured {
                let relevant = Array(sample.split.test[user])
                var (hits, gain, ideal) = (0.0, 0.0, 0.0)
                for (place, item) in sample.ranking(user).prefix(k).enumerated() where relevant.contains(item) {
                    hits += 1
                    gain += log(2) / log(Double(place) + 2)
                }
                for place in 0..<min(k, relevant.count) { ideal += log(2) / log(Double(place) + 2) }
                recalls.append(hits / Double(relevant.count))
                gains.append(gain / ideal)
            }
            #expect(abs(evaluation[recall] - Float64Reference.mean(recalls)) < 1e-12)
            #expect(abs(evaluation[ndcg] - Float64Reference.mean(gains)) < 1e-12)
            // The one item that is left for user 4 is found.
            #expect(recalls[2] == 1 && gains[2] == 1)
        }
        #expect(evaluation[.recall10] < evaluation[.recall20] && evaluation[.recall10] > 0)
    }

    @Test("values by hand")
    func byHand() {
        // Hits at ranks 1 and 3 of three relevant items.
        let hits = [true, false, true, false]
        #expect(
            RankingEvaluation.recall(hits, 3, at: 2) == 1.0 / 3 && RankingEvaluation.recall(hits, 3, at: 4) == 2.0 / 3)
        let ideal = 1 + 1 / log2(3.0) + 0.5
        #expect(abs(RankingEvaluation.ndcg(hits, 3, at: 4) - 1.5 / ideal) < 1e-15)
        #expect(abs(RankingEvaluation.ndcg(hits, 3, at: 2) - 1 / (1 + 1 / log2(3.0))) < 1e-15)
        #expect(RankingEvaluation.ndcg([true, true], 2, at: 10) == 1)
    }

    @Test("what is drawn as not taken is never taken, and everything else is as likely")
    func unobserved() {
        let taken: [Int32] = [0, 3, 4, 8, 9]
        let lists = PositiveLists(taken.map { (user: 1, item: $0) }, users: 3)
        let unobserved = UnobservedItems(lists, items: 10, seed: 1, purpose: "test")
        var counts = [Int](repeating: 0, count: 10)
        for number in 0..<10_000 { counts[Int(unobserved.draw(1, number: UInt64(number)))] += 1 }
        for item in 0..<10 {
            // Five standard deviations of a binomial with p = 1/5.
            let wanted = taken.contains(Int32(item)) ? 0...0 : 1800...2200
            #expect(wanted.contains(counts[item]), "\(item): \(counts[item])")
        }
        #expect(Set((0..<400).map { unobserved.draw(0, number: $0) }).count == 10)
        #expect(unobserved.draw(1, number: 7) == unobserved.draw(1, number: 7))
    }

    @Test("items are drawn by rank, without replacement, anew in each epoch")
    func byRank() {
        let ranking: [[Int32]] = [[5, 6, 7, 8]]
        let sampler = RankSampler(ranking, sharpness: 1, seed: 3, purpose: "test")
        let weights = (1...4).map { exp(-Double($0)) }
        let total = weights.reduce(0, +)
        var first = [Double](repeating: 0, count: 4)
        var second = [Double](repeating: 0, count: 4)
        let epochs = 20_000
        for epoch in 0..<epochs {
            sampler.begin(epoch: epoch)
            let drawn = sampler.draw(0, 2)
            #expect(drawn.count == 2 && drawn[0] != drawn[1] && drawn == sampler.draw(0, 2))
            #expect(sampler.ranked(0, 2) == drawn.sorted())
            first[Int(drawn[0]) - 5] += 1 / Double(epochs)
            second[Int(drawn[1]) - 5] += 1 / Double(epochs)
        }
        for i in 0..<4 {
            let expected = weights[i] / total
            let then = (0..<4).filter { $0 != i }.reduce(0.0) {
                $0 + weights[$1] / total * weights[i] / (total - weights[$1])
            }
            #expect(abs(first[i] - expected) < 5 * (expected / Double(epochs)).squareRoot(), "\(first)")
            #expect(abs(second[i] - then) < 5 * (then / Double(epochs)).squareRoot(), "\(second)")
        }
    }

    @Test("subsets have no number twice and no favourite")
    func subsets() {
        let random = Philox(seed: 2, stream: Philox.stream("subsets"))
        var counts = [Int](repeating: 0, count: 6)
        for block in 0..<6000 {
            let subset = random.subset(4, below: 6, block: UInt64(block))
            #expect(subset.count == 4 && Set(subset).count == 4)
            for number in subset { counts[number] += 1 }
        }
        for count in counts { #expect((3800...4200).contains(count), "\(counts)") }
        #expect(random.subset(3, below: 3, block: 1) == [0, 1, 2])
    }
}
