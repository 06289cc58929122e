/// How a cache writes its records: `cache.json` and the head of each shard name it. A cache goes on as it began.
enum CacheFormat: Int, Sendable, CaseIterable {
    /// The models of each record begin anew.
    case separate = 1
    /// The first records of a shard teach the models of all further ones, and heads are shorter: for short texts.
    case chained = 2

    /// Of caches that begin now.
    static let current = CacheFormat.chained

    var name: String { "retort-teacher-cache-\(rawValue)" }

    /// Rows of a shard's first records whose models go on into the next record.
    var taughtRows: Int { self == .separate ? 0 : 256 }
    /// Of a number of the rest (`RestMass`): how many bits below the highest have models, and from which size on.
    var restBits: (most: Int, from: Int) { self == .separate ? (2, 2) : (4, 1) }

    // Of a record's head, in bytes.
    /// Each of two counts, of tokens and of rows.
    var countBytes: Int { self == .separate ? 4 : 3 }
    /// The sum over the payload.
    var sumBytes: Int { self == .separate ? 8 : 4 }
    var frontSize: Int { 20 + 2 * countBytes }
    var headSize: Int { frontSize + sumBytes + 4 }
}
