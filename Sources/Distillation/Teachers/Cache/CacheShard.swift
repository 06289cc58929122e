import RetortSupport

/// One file of a cache: a head of 28 bytes (magic, format, the cache's identity), then records, each with a head of its own. The heads are the
/// index: they are read when a cache is opened, payloads when they are needed, those of the first few before any.
struct CacheShard: Sendable {
    static let magic = Array("RTKDCACH".utf8)
    static let headSize = 28

    let file: InputFile
    /// Offsets of heads, in the order of the file.
    private(set) var records: [(head: CacheRecord.Head, offset: Int)] = []
    /// Where whole records end: less than the file's size where the last one was cut off.
    private(set) var end = CacheShard.headSize
    private let chains = ModelChains()

    static func head(_ identity: [UInt8], _ format: CacheFormat) -> [UInt8] {
        magic + UInt32(format.rawValue).littleEndianBytes + identity
    }
    static func name(_ number: Int) -> String {
        let digits = String(number)
        return "shard-" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits + ".kd"
    }

    /// - Throws: `RetortError` 65, with the place, for what is no shard of this cache; 66, 74.
    init(_ path: String, identity: [UInt8], _ format: CacheFormat) throws {
        file = try InputFile(path: path)
        let place = RetortError.Location(file: path)
        guard file.size >= Self.headSize else {
            end = 0
            return
        }
        let head = try file.read(offset: 0, count: Self.headSize)
        guard head.starts(with: Self.magic), head.uint32(at: 8) == UInt32(format.rawValue) else {
            throw RetortError.badData(
                "not a shard of a teacher's cache", at: place, why: "its first bytes say otherwise")
        }
        guard Array(head[12...]) == identity else {
            throw RetortError.badData(
                "the shard belongs to another cache", at: place, why: "its identity is not that of cache.json",
                help: "Keep the files of a cache together, or make it again with `retort cache`.")
        }
        while end < file.size {
            guard end + format.headSize <= file.size else { return }
            guard let head = CacheRecord.Head(try file.read(offset: end, count: format.headSize), format) else {
                throw Self.damaged(path, at: end)
            }
            let next = end + format.headSize + head.bytes
            guard next <= file.size else { return }
            records.append((head, end))
            end = next
        }
    }

    /// Whether the last record was cut off.
    var isCut: Bool { end < file.size || file.size < Self.headSize }

    /// - Throws: `RetortError` 65, with the place, where the payload is not what was written.
    func record(_ index: Int, of identity: CacheIdentity) throws -> CacheRecord {
        var models = try chain(before: index, of: identity).models
        return try record(index, of: identity, &models)
    }

    /// The models of the record behind the last.
    /// - Throws: `RetortError` 65, with the place, where one of those that teach them is not what was written.
    func nextModels(of identity: CacheIdentity) throws -> ModelChain {
        try chain(before: records.count, of: identity)
    }

    private func chain(before index: Int, of identity: CacheIdentity) throws -> ModelChain {
        try chains.chain(before: index, of: identity) { number, models in
            try record(number, of: identity, &models).rows.count
        }
    }

    private func record(_ index: Int, of identity: CacheIdentity, _ models: inout RecordModels) throws -> CacheRecord {
        let (head, offset) = records[index]
        let payload = try file.read(offset: offset + identity.format.headSize, count: head.bytes)
        guard head.matches(payload, identity.format), let record = CacheRecord(payload, head, of: identity, &models)
        else { throw Self.damaged(file.path, at: offset) }
        return record
    }

    private static func damaged(_ path: String, at offset: Int) -> RetortError {
        RetortError.badData(
            "a record of the cache is damaged", at: RetortError.Location(file: path), why: "the one at byte \(offset)",
            help: "Delete this file: `retort cache` makes what is missing again.")
    }
}
