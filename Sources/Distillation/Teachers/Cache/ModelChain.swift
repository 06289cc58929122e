import Synchronization

/// What a record is coded with: whether a token has a row, and the rows.
struct RecordModels: Sendable {
    /// By whether the token before has a row.
    var marks = [AdaptiveBit(), AdaptiveBit()]
    var rows: RowModels

    init(_ identity: CacheIdentity) {
        rows = RowModels(identity.scale, classes: identity.vocabulary, identity.format)
    }
}

/// The models that the records of a shard begin with, one after the other: those of the first few hundred rows as the record before left them,
/// all further ones like each other, so that no more than those first records need be read for any.
struct ModelChain: Sendable {
    /// Of the next record.
    private(set) var models: RecordModels
    private var rows = 0
    private let limit: Int

    init(_ identity: CacheIdentity) {
        models = RecordModels(identity)
        limit = identity.format.taughtRows
    }

    /// Whether all further records begin alike.
    var isTaught: Bool { rows >= limit }

    /// - Parameter used: the models after the next record, which has so many rows.
    mutating func add(_ used: RecordModels, rows count: Int) {
        guard !isTaught else { return }
        models = used
        rows += count
    }
}

/// The chains in front of a shard's records, as far as they were asked for. Safe to use from several threads.
final class ModelChains: Sendable {
    private let known = Mutex<[ModelChain]>([])

    /// The chain in front of a record.
    /// - Parameter read: reads a record with models, which it changes; returns the rows.
    /// - Throws: what `read` throws.
    func chain(
        before index: Int, of identity: CacheIdentity,
        _ read: (_ index: Int, _ models: inout RecordModels) throws -> Int
    ) throws -> ModelChain {
        try known.withLock { chains in
            if chains.isEmpty { chains = [ModelChain(identity)] }
            var last = chains[chains.count - 1]
            while chains.count <= index, !last.isTaught {
                var models = last.models
                let rows = try read(chains.count - 1, &models)
                last.add(models, rows: rows)
                chains.append(last)
            }
            return chains[min(index, chains.count - 1)]
        }
    }
}
