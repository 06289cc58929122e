import RetortData
import RetortKernels
import RetortModels
import RetortRuntime

extension EmbeddingTables {
    /// The `count` best items of every user of a task, best first; equal scores in the order of the items.
    func topItems(
        _ count: Int, of task: RecommenderTask, excludingPositives: Bool = false, on device: Device
    ) throws -> [[Int32]] {
        let ranking = ItemRanking(
            users: (0..<task.users).map(Int32.init), items: task.items,
            excluded: excludingPositives ? task.train : nil, on: device)
        return try ranking.top(count, of: self)
    }
}

/// Ranks all items for some users on the device, without those that each has taken already.
struct ItemRanking {
    private let device: Device
    private let items: Int
    private let excluded: PositiveLists?
    private let parts: [[Int32]]

    /// Scores on the device at one time.
    private static let scoresAtOnce = 1 << 22

    /// - Parameter excluded: what is never ranked; nil ranks everything.
    init(users: [Int32], items: Int, excluded: PositiveLists?, on device: Device) {
        self.device = device
        self.items = items
        self.excluded = excluded
        let rows = max(1, Self.scoresAtOnce / max(1, items))
        parts = stride(from: 0, to: users.count, by: rows).map {
            Array(users[$0..<min(users.count, $0 + rows)])
        }
    }

    /// `[users, count]`, best first; equal scores in the order of the items. A user who has fewer items left gets excluded ones at the end.
    func top(_ count: Int, of tables: EmbeddingTables) throws -> [[Int32]] {
        try parts.flatMap { users in
            let indices = try Autograd.withoutGradients {
                let scores = try tables.scores(ofAllItems: users)
                try exclude(users, from: scores)
                return try scores.topK(count).indices
            }
            guard device.compute.plan == nil else {
                // Without bytes nothing is ranked: any items will do, as long as those of a user differ.
                return users.map { user in (0..<Int32(count)).map { (user + $0) % Int32(items) } }
            }
            let flat: [Int32] = try device.compute.read(indices, as: Int32.self)
            return users.indices.map { Array(flat[($0 * count)..<(($0 + 1) * count)]) }
        }
    }

    /// Lowers the scores of excluded items to −∞.
    private func exclude(_ users: [Int32], from scores: Tensor) throws {
        guard let excluded else { return }
        let places = users.enumerated().flatMap { row, user in
            excluded[Int(user)].map { Int32(row * items) + $0 }
        }
        guard !places.isEmpty else { return }
        let compute = device.compute
        let lowest = try compute.empty([places.count, 1])
        try run(Fill(-.infinity), .init(y: lowest), on: compute)
        try run(
            ScatterAdd(),
            .init(
                dy: lowest, buckets: try IDBuckets(places, paddingIndex: nil, on: compute),
                table: scores.view.reshaped([scores.count, 1])), on: compute)
    }
}
