import RetortRuntime

/// Who holds which training rows: a public set and a private shard for each client. Every row is in exactly one of them, no shard is
/// empty, rows are in ascending order. A function of the labels and the seed alone.
///
/// Label skew by Dirichlet(alpha) (Hsu et al. 2019, arXiv:1909.06335; FedDF's experiments): for each class the clients' shares of its
/// rows are drawn, so a small alpha gives most of a class to few clients and a large one the same mixture to all. A client that would
/// have nothing takes a row of the largest shard.
struct FederatedShards {
    let publicRows: [Int32]
    let clients: [[Int32]]

    /// - Precondition: at least as many private rows as clients.
    init(labels: [Int32], classes: Int, clients count: Int, alpha: Double, publicRows publicCount: Int, seed: UInt64) {
        precondition(count > 0 && labels.count - publicCount >= count, "\(count) clients, \(labels.count) rows")
        let order = Philox(seed: seed, stream: Philox.stream("public")).permutation(labels.count)
        publicRows = order.prefix(publicCount).sorted()
        var ofClass = [[Int32]](repeating: [], count: classes)
        for row in order.dropFirst(publicCount) { ofClass[Int(labels[Int(row)])].append(row) }

        var shards = [[Int32]](repeating: [], count: count)
        let draws = Philox(seed: seed, stream: Philox.stream("dirichlet"))
        for (label, rows) in ofClass.enumerated() {
            let shares = draws.dirichlet(UInt64(label), alpha: alpha, count: count)
            var (begin, sum) = (0, 0.0)
            for client in 0..<count {
                sum += shares[client]
                let end = client == count - 1 ? rows.count : min(rows.count, Int(sum * Double(rows.count)))
                shards[client] += rows[begin..<max(begin, end)]
                begin = max(begin, end)
            }
        }
        for client in 0..<count where shards[client].isEmpty {
            let largest = (0..<count).reduce(0) { shards[$1].count > shards[$0].count ? $1 : $0 }
            shards[client].append(shards[largest].removeLast())
        }
        clients = shards.map { $0.sorted() }
    }
}
