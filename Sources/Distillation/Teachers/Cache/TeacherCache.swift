import Dispatch
import Foundation
import RetortModels
import RetortRuntime
import RetortSupport
import Synchronization

/// A teacher's predictions read from disk: the likeliest classes of each learned token and what the others weigh together (docs/CACHE.md).
///
/// A text's record is found by what it is made of, its tokens, and by the teacher, the tokenizer and what is kept; so a cache serves any order,
/// batch, seed, temperature and device, and nothing else than what was asked of this teacher. Safe to use from several threads.
final class TeacherCache: Sendable {
    let folder: String
    let identity: CacheIdentity
    private let digest: [UInt8]
    private let shards: [CacheShard]
    /// Of each text the last record that was written.
    private let index: [CacheAddress: (shard: Int, record: Int)]

    var vocabulary: Int { identity.vocabulary }
    /// Texts.
    var count: Int { index.count }

    static func description(in folder: String) -> String { folder + "/cache.json" }
    static func shard(_ number: Int, in folder: String) -> String { folder + "/" + CacheShard.name(number) }

    /// Reads the description and the heads of all records.
    /// - Throws: `RetortError` 66 where there is no cache; 65, with file and place, for a damaged one.
    convenience init(_ folder: String) throws {
        guard FileManager.default.fileExists(atPath: Self.description(in: folder)) else {
            throw RetortError.missingInput(
                "there is no teacher's cache in \(folder.quoted(limit: 200))",
                at: RetortError.Location(file: Self.description(in: folder)),
                help: "`retort cache RECIPE` makes it")
        }
        try self.init(folder, identity: CacheIdentity(reading: Self.description(in: folder)))
        for shard in shards where shard.isCut {
            throw RetortError.badData(
                "a shard of the cache ends in the middle of a record", at: RetortError.Location(file: shard.file.path),
                why: "whole records end at byte \(shard.end) of \(shard.file.size)",
                help: "`retort cache` with the same recipe goes on from there.")
        }
    }

    /// With shards that may be cut off.
    fileprivate init(_ folder: String, identity: CacheIdentity) throws {
        self.folder = folder
        self.identity = identity
        digest = identity.digest
        var (shards, index): ([CacheShard], [CacheAddress: (shard: Int, record: Int)]) = ([], [:])
        while FileManager.default.fileExists(atPath: Self.shard(shards.count, in: folder)) {
            let shard = try CacheShard(Self.shard(shards.count, in: folder), identity: digest, identity.format)
            for (number, record) in shard.records.enumerated() {
                index[record.head.address] = (shards.count, number)
            }
            shards.append(shard)
        }
        self.shards = shards
        self.index = index
    }

    func address(_ tokens: some Sequence<Int32>) -> CacheAddress { CacheAddress(tokens, identity: digest) }

    /// Whether a text is there, with at least so many of its tokens.
    func has(_ address: CacheAddress, rows: Int) -> Bool {
        index[address].map { shards[$0.shard].records[$0.record].head.rows >= rows } ?? false
    }

    /// - Throws: `RetortError` 65 where it is damaged.
    func record(_ address: CacheAddress) throws -> CacheRecord? {
        try index[address].map { try shards[$0.shard].record($0.record, of: identity) }
    }

    /// Bytes of all shards, without a record that was cut off.
    var bytes: Int { shards.reduce(0) { $0 + $1.end } }

    /// What was kept for a batch: predictions, signals by path, and of each place the likeliest class, −1 where nothing is learned.
    /// - Parameter paths: of the signals that are wanted; the cache has them.
    /// - Throws: `RetortError` 65 for a text that is not there, whatever was in the corpus when it was checked, or whose record is damaged.
    func lesson(_ batch: LanguageBatch, capturing paths: Set<String>, on device: Device) throws -> (
        predictions: SparseTeacher, signals: [String: Tensor], likeliest: [Int32]
    ) {
        let records = try records(batch)
        let signals = try paths.map { path in (path, try states(path, batch, records, on: device)) }
        let rows = try rows(batch, records)
        return (
            try predictions(rows, on: device), Dictionary(uniqueKeysWithValues: signals),
            rows.map { $0?.likeliest ?? -1 }
        )
    }

    private typealias Found = [(text: BatchText, record: CacheRecord)]

    private func records(_ batch: LanguageBatch) throws -> Found {
        let texts = batch.texts
        let found = Mutex([Result<CacheRecord?, any Error>?](repeating: nil, count: texts.count))
        DispatchQueue.concurrentPerform(iterations: texts.count) { number in
            let result = Result { try record(address(texts[number].tokens)) }
            found.withLock { $0[number] = result }
        }
        return try zip(texts, found.withLock { $0 }).map { text, result in
            guard let record = try result?.get() else { throw missing("a text of \(text.tokens.count) tokens") }
            return (text, record)
        }
    }

    /// The vectors of one signal `[rows, length, columns]`, 0 where there is padding.
    private func states(
        _ path: String, _ batch: LanguageBatch, _ records: Found, on device: Device
    ) throws -> Tensor {
        let (kept, length) = (identity.signals, batch.tokens.count / max(1, batch.rows))
        guard let columns = kept.place(of: path, tokens: 0)?.columns else {
            throw RetortError.internalBug("the cache is asked for \(path), which it does not keep")
        }
        let size = columns * kept.dtype.size
        var bytes = [UInt8](repeating: 0, count: batch.tokens.count * size)
        for (text, record) in records {
            guard let place = kept.place(of: path, tokens: record.length)?.range,
                place.upperBound <= record.states.count
            else { throw missing("a hidden state of a text of \(text.tokens.count) tokens") }
            bytes.replaceSubrange(
                (text.range.lowerBound * size)..<(text.range.upperBound * size), with: record.states[place])
        }
        return try kept.tensor(bytes, [batch.rows, length, columns], on: device)
    }

    /// Of each place what was kept; nil where nothing is learned.
    private func rows(_ batch: LanguageBatch, _ records: Found) throws -> [KeptRow?] {
        var kept = [KeptRow?](repeating: nil, count: batch.tokens.count)
        for (text, record) in records {
            let rows = Dictionary(uniqueKeysWithValues: zip(record.places, record.rows))
            for place in text.learned {
                guard let row = rows[place] else { throw missing("a text of \(text.tokens.count) tokens") }
                kept[text.range.lowerBound + place] = row
            }
        }
        return kept
    }

    private func predictions(_ kept: [KeptRow?], on device: Device) throws -> SparseTeacher {
        let k = max(1, kept.reduce(0) { max($0, $1?.ids.count ?? 0) })
        var ids = [Int32](repeating: .max, count: kept.count * k)
        var values = [Float](repeating: 0, count: kept.count * k)
        for (place, row) in kept.enumerated() {
            guard let row else { continue }
            for j in row.ids.indices {
                ids[place * k + j] = row.ids[j]
                values[place * k + j] = Float(-row.depths[j])
            }
        }
        return try SparseTeacher(ids: ids, values: values, rows: kept.count, classes: vocabulary, on: device) {
            temperature in
            kept.map { Float($0?.rest?.logSum(at: Double(temperature)) ?? -.infinity) }
        }
    }

    /// Whether all texts of a corpus are there.
    func has(_ corpus: TokenizedCorpus) -> Bool {
        (0..<corpus.count).allSatisfy {
            let example = corpus.example($0)
            return has(address(example.tokens), rows: example.targetCount)
        }
    }

    /// Refuses a corpus of which a text is not there.
    /// - Parameter what: what the corpus is called.
    /// - Throws: `RetortError` 65.
    func check(_ corpus: TokenizedCorpus, _ what: String) throws {
        for number in 0..<corpus.count {
            let example = corpus.example(number)
            guard has(address(example.tokens), rows: example.targetCount) else {
                throw missing("example \(number) of the \(what), record \(corpus.records[number]) of its source,")
            }
        }
    }

    private func missing(_ what: String) -> RetortError {
        RetortError.badData(
            "\(what) is not in the teacher's cache", at: RetortError.Location(file: folder),
            why: "text, template, length or the choice of learned tokens have changed since it was made",
            help: "`retort cache` with this recipe adds what is missing.")
    }
}

/// Makes a cache, or goes on with one: whole records are kept whatever happens.
final class TeacherCacheWriter {
    private let folder: String
    let identity: CacheIdentity
    /// What is there already.
    let cache: TeacherCache
    private var number: Int
    private var file: AppendFile?
    /// Keeps the folder for this process.
    private let lock: AppendFile
    private var bytesOfShard: Int
    private let shardBytes: Int
    /// Of the shard that is written to.
    private var chain: ModelChain
    /// Written since it was opened.
    private(set) var written: Set<CacheAddress> = []
    /// Of records.
    private(set) var writtenBytes = 0
    private var headBytes = 0

    /// Of all shards.
    var bytes: Int { cache.bytes + headBytes + writtenBytes }

    /// Opens a folder, new or with a cache of the same identity; a record that was cut off is taken away.
    /// - Parameter shardBytes: of a file, about.
    /// - Throws: `RetortError` 73 for a folder with a cache of something else or with other files, or that another program is writing to;
    ///   65, 74.
    init(_ folder: String, identity: CacheIdentity, shardBytes: Int = 64 << 20) throws {
        var identity = identity
        let description = TeacherCache.description(in: folder)
        if FileManager.default.fileExists(atPath: description) {
            let old = try CacheIdentity(reading: description)
            identity.format = old.format
            if let difference = identity.difference(from: old) {
                throw RetortError.cannotCreate(
                    "\(folder.quoted(limit: 200)) is the cache of something else",
                    at: RetortError.Location(file: description),
                    why: difference, help: "Choose another --output; nothing in this folder was touched.")
            }
        } else {
            if Folder.exists(folder), try !Folder.names(in: folder).isEmpty {
                throw RetortError.cannotCreate(
                    "\(folder.quoted(limit: 200)) has files of something else", at: RetortError.Location(file: folder),
                    help: "Choose another --output; nothing in this folder was touched.")
            }
            try Folder.createWithParents(folder)
            try AtomicFile.write(identity.json.text(.pretty) + "\n", to: description)
        }
        lock = try AppendFile(path: description)
        guard lock.claim() else {
            throw RetortError.cannotCreate(
                "\(folder.quoted(limit: 200)) is in use", why: "another retort is writing to this cache",
                help: "Wait for it, or choose another --output; nothing in this folder was touched.")
        }
        (self.folder, self.identity, self.shardBytes) = (folder, identity, shardBytes)
        cache = try TeacherCache(folder, identity: identity)
        (number, bytesOfShard, chain) = try cache.repaired()
    }

    func has(_ address: CacheAddress, rows: Int) -> Bool { written.contains(address) || cache.has(address, rows: rows) }

    /// - Throws: `RetortError` 65 for a text that is too long, 73, 74.
    func add(_ record: CacheRecord, at address: CacheAddress) throws {
        guard record.length <= CacheRecord.Head.mostTokens else {
            throw RetortError.badData(
                "a text of \(NumberFormat.grouped(record.length)) tokens is too long for a cache",
                why: "the limit is \(NumberFormat.grouped(CacheRecord.Head.mostTokens))",
                help: "Lower data.max-length.")
        }
        if bytesOfShard >= shardBytes {
            try finishShard()
            (number, bytesOfShard, chain) = (number + 1, 0, ModelChain(identity))
        }
        var models = chain.models
        let bytes = record.bytes(at: address, of: identity, &models)
        chain.add(models, rows: record.rows.count)
        let file = try file ?? AppendFile(path: TeacherCache.shard(number, in: folder))
        self.file = file
        if bytesOfShard == 0 {
            let head = CacheShard.head(identity.digest, identity.format)
            try file.append(head)
            bytesOfShard = head.count
            headBytes += head.count
        }
        try file.append(bytes)
        bytesOfShard += bytes.count
        written.insert(address)
        writtenBytes += bytes.count
    }

    /// Ends the writing; another may write to the folder then.
    /// - Throws: `RetortError` 74.
    func finish() throws {
        try finishShard()
        try lock.close()
    }

    private func finishShard() throws {
        try file?.synchronize()
        try file?.close()
        file = nil
    }
}

extension TeacherCache {
    /// Takes the end of the last shard away where it was cut off.
    /// - Returns: where to go on: the number of the last shard, its bytes, 0 where it is to begin, and the models of its next record.
    /// - Throws: `RetortError` 65 where another shard was cut off.
    fileprivate func repaired() throws -> (number: Int, bytes: Int, chain: ModelChain) {
        guard let last = shards.last else { return (0, 0, ModelChain(identity)) }
        for shard in shards.dropLast() where shard.isCut {
            throw RetortError.badData(
                "a shard of the cache ends in the middle of a record", at: RetortError.Location(file: shard.file.path),
                why: "whole records end at byte \(shard.end) of \(shard.file.size), and another shard follows",
                help: "Delete the file and those after it: `retort cache` makes what is missing again.")
        }
        if last.isCut {
            try AtomicFile.write(try last.file.read(offset: 0, count: last.end), to: last.file.path)
        }
        return (shards.count - 1, last.end, try last.nextModels(of: identity))
    }
}
