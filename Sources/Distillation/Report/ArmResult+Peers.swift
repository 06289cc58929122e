/// Students that learn side by side are measured one by one: an arm's results hold those of its own student and, by seed, those of the
/// peers beside it. Tables and reports show each as an arm of its own.
extension ArmResult {
    /// The arm by itself and then, as `<arm>/peer-<n>`, each peer over the seeds that know it.
    /// - Parameter contracts: of each peer what it is and what it minimised, as an arm's `contract`.
    func apart(_ contracts: [[String]]) -> [ArmResult] {
        let count = seeds.map(\.peers.count).max() ?? 0
        let peers = (0..<count).map { index in
            ArmResult(
                role: Role.peer(index + 1, of: role), contract: index < contracts.count ? contracts[index] : [],
                seeds: seeds.compactMap { $0.peers.indices.contains(index) ? $0.peers[index] : nil })
        }
        var own = self
        for index in own.seeds.indices { own.seeds[index].peers = [] }
        return [own] + peers
    }
}
