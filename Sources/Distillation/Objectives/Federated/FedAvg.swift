import RetortKernels
import RetortRuntime
import RetortSupport

/// Federated averaging: w = Σ nᵢ·wᵢ / Σ nᵢ over clients with nᵢ examples each. McMahan et al. 2017 (arXiv:1602.05629).
public enum FedAvg {
    /// - `clients`: arrays of one shape, e.g. whole parameter arenas of clients of one architecture.
    /// - `examples`: of each client; at least one is positive.
    /// - `mean`: gets the weighted mean; not one of `clients`.
    /// - Throws: `RetortError` 70 when counts differ: a bug of the caller.
    public static func average(_ clients: [View], examples: [Int], into mean: View, on device: ComputeDevice) throws {
        let total = examples.reduce(0, +)
        guard !clients.isEmpty, clients.count == examples.count, total > 0, examples.allSatisfy({ $0 >= 0 }) else {
            throw RetortError.internalBug("an average of \(clients.count) clients with \(examples) examples")
        }
        for (i, (client, n)) in zip(clients, examples).enumerated() {
            try add(client, share: share(n, of: total), into: mean, isFirst: i == 0, on: device)
        }
    }

    /// One client's part of the mean, so that no more than one client needs to be there at a time. The order of the clients is that of
    /// the sum: the same order gives the same bits.
    static func add(_ client: View, share: Float, into mean: View, isFirst: Bool, on device: ComputeDevice) throws {
        try run(Scale(share), .init(x: client, y: Output(mean, isFirst ? .write : .accumulate)), on: device)
    }

    static func share(_ examples: Int, of total: Int) -> Float { Float(Double(examples) / Double(total)) }
}
