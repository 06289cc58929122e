import Foundation
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Predictions over a vocabulary as language models have them.
enum SamplePredictions {
    /// How ids and probabilities belong together.
    enum Ids {
        /// Any class may be any rank: what costs the most.
        case anywhere
        /// Frequent tokens have low ids, as in vocabularies made by merging; each context prefers some of its own.
        case byFrequency
    }

    /// Logits `[classes]`: ln p falls with the logarithm of the rank, with noise.
    static func logits(_ classes: Int, _ ids: Ids, slope: Double, seed: UInt64, row: Int) -> [Double] {
        let philox = Philox(seed: seed, stream: UInt64(row) + 1)
        func uniform(_ at: Int) -> Double { (Double(philox.word(UInt64(at))) + 0.5) / 0x1p32 }
        switch ids {
        case .anywhere:
            // A shuffled rank: ids are drawn without looking at frequency.
            let order = philox.permutation(classes)
            return order.map { -slope * log(Double($0) + 1.5) }
        case .byFrequency:
            return (0..<classes).map { id in
                // A logistic deviate: some rare tokens become likely.
                let u = uniform(id)
                return -0.7 * slope * log(Double(id) + 30) + 1.1 * log(u / (1 - u))
            }
        }
    }

    static func row(_ logits: [Double], keeping k: Int) -> KeptRow {
        let order = logits.indices.sorted { logits[$0] > logits[$1] }
        let top = logits[order[0]]
        let kept = order.prefix(k).sorted()
        let rest = order.dropFirst(k)
        let sums = RestMass.rates.map { rate in log(rest.reduce(0) { $0 + exp(rate * (logits[$1] - top)) }) }
        return KeptRow(
            ids: kept.map(Int32.init), depths: kept.map { top - logits[$0] },
            rest: rest.isEmpty ? nil : RestMass(logSums: sums, classes: rest.count))
    }
}

@Suite("What a teacher's cache stores")
struct TeacherCacheFormatTests {
    private func identity(_ classes: Int, k: Int, bits: Int = 8) -> CacheIdentity {
        let digest = String(repeating: "0a", count: 32)
        return CacheIdentity(
            teacher: digest, tokenizer: "none", vocabulary: classes, kept: .top(k), bits: bits, config: [:])
    }

    private func decoded(_ record: CacheRecord, _ identity: CacheIdentity) throws -> (CacheRecord, bytes: Int) {
        let (format, address) = (identity.format, CacheAddress([1, 2], identity: identity.digest))
        var (writing, reading) = (RecordModels(identity), RecordModels(identity))
        let bytes = record.bytes(at: address, of: identity, &writing)
        let head = try #require(CacheRecord.Head(Array(bytes[..<format.headSize]), format))
        let payload = Array(bytes[format.headSize...])
        #expect(head.matches(payload, format) && head.address == address)
        return (try #require(CacheRecord(payload, head, of: identity, &reading)), bytes.count)
    }

    @Test("bits and numbers of any size come back, the likely ones in less than a bit")
    func rangeCoder() throws {
        let philox = Philox(seed: 5, stream: 1)
        let numbers = (0..<4000).map { Int(philox.word(UInt64($0)) >> (2 + $0 % 30)) }
        var (encoder, numbersModel, rare) = (RangeEncoder(), NumberModel(), AdaptiveBit())
        for number in numbers {
            numbersModel.encode(number, &encoder)
            encoder.encode(number == numbers[0] ? 1 : 0, &rare)
            encoder.encode(number & 7, bits: 3)
        }
        let bytes = encoder.finish()
        var (decoder, again, rareAgain) = (RangeDecoder(bytes[...]), NumberModel(), AdaptiveBit())
        for number in numbers {
            let found = again.decode(&decoder)
            let bit = decoder.decode(&rareAgain)
            let low = decoder.decode(bits: 3)
            guard found == number, bit == (number == numbers[0] ? 1 : 0), low == number & 7 else {
                Issue.record("\(number) came back as \(found), \(bit), \(low)")
                return
            }
        }
        #expect(decoder.isAtEnd && decoder.missing <= RangeDecoder.mostMissing)
        // Nothing but zeros, and carries through a run of 255s.
        for share in [0, 1, 2, 255, 256] {
            var (encoder, model) = (RangeEncoder(), AdaptiveBit())
            let bits = (0..<2000).map { Int(philox.word(UInt64($0)) % 257) < share ? 1 : 0 }
            for bit in bits { encoder.encode(bit, &model) }
            let bytes = encoder.finish()
            var (decoder, again) = (RangeDecoder(bytes[...]), AdaptiveBit())
            #expect(bits == bits.map { _ in decoder.decode(&again) }, "\(share)")
            if share < 2 {
                #expect(bytes.count < 40, "\(bytes.count) bytes for 2000 bits of which \(share) in 257 are 1")
            }
        }
    }

    @Test("classes come back exactly, probabilities within the stated error, and a second time unchanged")
    func roundTrip() throws {
        for (classes, k) in [(2, 1), (7, 7), (300, 50), (5000, 17)] {
            let identity = identity(classes, k: k)
            let rows = (0..<6).map {
                SamplePredictions.row(
                    SamplePredictions.logits(classes, .anywhere, slope: Double(1 + $0 % 3 * 2), seed: 3, row: $0),
                    keeping: k)
            }
            let record = CacheRecord(length: 10, places: [0, 1, 2, 5, 7, 8], rows: rows)
            let found = try decoded(record, identity).0
            #expect(found.places == record.places && found.length == 10)
            for (was, now) in zip(rows, found.rows) {
                #expect(was.ids == now.ids)
                let symbols = identity.scale.symbols(was.depths)
                #expect(now.likeliest == was.likeliest)
                for (symbol, (depth, stored)) in zip(symbols, zip(was.depths, now.depths)) {
                    let bound = identity.scale.error(symbol)
                    #expect(abs(depth - stored) <= bound + 1e-9, "\(depth) became \(stored)")
                }
                #expect((was.rest == nil) == (now.rest == nil))
                for (sum, stored) in zip(was.rest?.logSums ?? [], now.rest?.logSums ?? []) {
                    #expect(abs(sum - stored) <= identity.scale.step / 2 + 1e-9, "\(sum) became \(stored)")
                }
            }
            #expect(try decoded(found, identity).0 == found)
        }
    }

    @Test("50 of 151936 classes in at most 120 bytes a token, texts of 20 tokens too", arguments: [1.0, 1.5, 2.5])
    func size(_ slope: Double) throws {
        let classes = 151_936
        let identity = identity(classes, k: 50)
        for (ids, most) in [(SamplePredictions.Ids.anywhere, 120.0), (.byFrequency, 120)] {
            let rows = (0..<24).map {
                SamplePredictions.row(
                    SamplePredictions.logits(classes, ids, slope: slope, seed: 1, row: $0), keeping: 50)
            }
            // A text of 240 tokens.
            let all = (0..<10).flatMap { _ in rows }
            let bytes = try decoded(CacheRecord(length: 241, places: Array(0..<240), rows: all), identity).bytes
            let texts = shortTexts(rows, classes)
            let short = try bytesPerRow(texts, identity)
            var first = identity
            first.format = .separate
            let before = try bytesPerRow(texts, first)
            print(
                "slope \(slope), ids \(ids): \(Double(bytes) / 240) bytes a token of 240, \(short) of 20, \(before) in the first "
                    + "format; the rest has \(rows.reduce(0) { $0 + $1.residual(at: 1) } / 24)")
            #expect(short <= 120 && short < before - 2)
            #expect(Double(bytes) / 240 <= most)
        }
    }

    /// Texts of 20 tokens, 1200 together, made of a few predictions, of which the classes are others each time.
    private func shortTexts(_ rows: [KeptRow], _ classes: Int) -> [CacheRecord] {
        let philox = Philox(seed: 8, stream: 1)
        func row(_ token: Int) -> KeptRow {
            var row = rows[Int(philox.integer(UInt64(token * 64), below: UInt32(rows.count)))]
            for place in row.ids.indices {
                // Each moves by less than the distance to the next.
                let next = place + 1 < row.ids.count ? row.ids[place + 1] : Int32(classes)
                let room = UInt32(next - row.ids[place])
                row.ids[place] += Int32(philox.integer(UInt64(token * 64 + place + 1), below: room))
            }
            return row
        }
        return (0..<60).map { text in
            CacheRecord(length: 21, places: Array(0..<20), rows: (0..<20).map { row(text * 20 + $0) })
        }
    }

    /// Writes texts, reads them again, the last first, and compares them with what each one by itself would have become.
    /// - Returns: bytes a row, heads and all.
    private func bytesPerRow(_ texts: [CacheRecord], _ identity: CacheIdentity) throws -> Double {
        let path = try ScratchFolder().path("cache")
        let writer = try Self.cache(path, identity)
        for (number, text) in texts.enumerated() { try writer.add(text, at: writer.cache.address([Int32(number)])) }
        try writer.finish()
        let cache = try TeacherCache(path)
        #expect(cache.identity.format == identity.format)
        for (number, text) in texts.enumerated().reversed() {
            let found = try #require(try cache.record(cache.address([Int32(number)])))
            #expect(found.rows.map(\.ids) == text.rows.map(\.ids))
            #expect(try decoded(text, identity).0 == found)
        }
        return Double(cache.bytes) / Double(texts.reduce(0) { $0 + $1.rows.count })
    }

    /// A writer of a cache in the format that its identity names.
    private static func cache(_ path: String, _ identity: CacheIdentity) throws -> TeacherCacheWriter {
        try Folder.createWithParents(path)
        try AtomicFile.write(identity.json.text(.pretty) + "\n", to: TeacherCache.description(in: path))
        return try TeacherCacheWriter(path, identity: identity)
    }

    /// What the first version wrote, by an encoder of its own (Python), with a head as docs/CACHE.md has it.
    @Test("a cache of the first format is read, and goes on in it")
    func firstFormat() throws {
        let folder = try ScratchFolder()
        var identity = identity(300, k: 5)
        identity.format = .separate
        #expect(identity.json.text().contains("\"retort-teacher-cache-1\""))
        let payload: [UInt8] = [
            0xc5, 0x07, 0xde, 0x23, 0x82, 0x32, 0x49, 0x67, 0xeb, 0x9e, 0xdc, 0x6c, 0xe5, 0x8d, 0x22, 0x78, 0xcc, 0xa3,
            0x07, 0xba, 0x49, 0x04, 0x5c, 0x0e, 0xfa, 0x0a, 0xde, 0x64, 0x89, 0x36, 0x85, 0x29, 0x9b, 0x3d, 0x43, 0x79,
            0xad, 0xc6, 0x6e, 0x08, 0x6d, 0xae, 0x7b, 0x0e, 0x40,
        ]
        func sum(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
            var hash = ContentHash()
            hash.update(bytes)
            return Array(hash.bytes.prefix(count))
        }
        let text: [Int32] = [7, 8, 9, 10, 11, 12]
        var head: [UInt8] = [45, 0, 0, 0, 6, 0, 0, 0, 3, 0, 0, 0]
        head += CacheAddress(text, identity: identity.digest).bytes
        head += sum(head + payload, 8)
        head += sum(head, 4)
        let path = folder.path("cache")
        var shard = Array("RTKDCACH".utf8)
        shard += [1, 0, 0, 0]
        shard += identity.digest + head + payload
        try folder.write(shard, to: "cache/shard-00000.kd")
        try AtomicFile.write(identity.json.text(.pretty) + "\n", to: TeacherCache.description(in: path))

        func check(_ cache: TeacherCache) throws {
            let record = try #require(try cache.record(cache.address(text)))
            #expect(record.length == 6 && record.places == [0, 2, 3])
            #expect(record.rows.map(\.ids) == [[3, 17, 40, 41, 250], [0, 17, 41, 100, 299], [1, 2, 3, 4, 5]])
            let depths = [
                [0, 0.384073753, 1.359192294, 0.221796384, 44.361419556],
                [3.465517249, 0.031311195, 0, 1.104045384, 0.06274542],
                [0.286312863, 0.253989587, 0, 12.15860603, 0.031311195],
            ]
            let rest = [
                [-9.404410407, -2.139967525, 1.679753915, 3.683364636],
                [-11.623160407, -2.921217525, 1.414128915, 3.550552136],
                [12.095589593, -2.139967525, 1.679753915, 3.745864636],
            ]
            for (row, (depth, sums)) in zip(record.rows, zip(depths, rest)) {
                #expect(zip(row.depths, depth).allSatisfy { abs($0 - $1) < 1e-8 }, "\(row.depths)")
                let found = row.rest?.logSums ?? []
                #expect(found.count == 4 && zip(found, sums).allSatisfy { abs($0 - $1) < 1e-8 }, "\(found)")
            }
        }
        try check(TeacherCache(path))
        // What is added now, by a program whose own format is another, is as the rest.
        let row = SamplePredictions.row(SamplePredictions.logits(300, .anywhere, slope: 2, seed: 1, row: 0), keeping: 5)
        let writer = try TeacherCacheWriter(path, identity: self.identity(300, k: 5))
        #expect(writer.identity.format == .separate && writer.has(writer.cache.address(text), rows: 3))
        for name: Int32 in [1, 2] {
            try writer.add(CacheRecord(length: 2, places: [0], rows: [row]), at: writer.cache.address([name, 1]))
        }
        try writer.finish()
        let cache = try TeacherCache(path)
        try check(cache)
        #expect(cache.count == 3)
        let found = try [Int32(1), 2].map { try #require(try cache.record(cache.address([$0, 1]))) }
        #expect(found[0] == found[1] && found[0].rows[0].ids == row.ids)
        #expect(try Array(contents(of: path)["shard-00000.kd"] ?? Data()).starts(with: shard))
    }

    @Test("a writer goes on with what the records before it taught, whenever it was stopped")
    func goesOn() throws {
        let folder = try ScratchFolder()
        let identity = identity(300, k: 5)
        let rows = (0..<30).map {
            SamplePredictions.row(
                SamplePredictions.logits(300, .byFrequency, slope: 2, seed: 1, row: $0), keeping: 5)
        }
        // The fourteenth text is the first that teaches nobody: 13 of 20 rows are 260.
        let texts = (0..<30).map { text in
            CacheRecord(length: 21, places: Array(0..<20), rows: (0..<20).map { rows[(text * 7 + $0 * $0) % 30] })
        }
        func write(_ path: String, stops: Set<Int>) throws {
            var writer = try TeacherCacheWriter(path, identity: identity)
            for (number, text) in texts.enumerated() {
                if stops.contains(number) {
                    try writer.finish()
                    writer = try TeacherCacheWriter(path, identity: identity)
                }
                try writer.add(text, at: writer.cache.address([Int32(number)]))
            }
            try writer.finish()
        }
        try write(folder.path("one"), stops: [])
        let whole = try contents(of: folder.path("one"))
        try write(folder.path("two"), stops: [1, 2, 7, 12, 13, 14, 29])
        #expect(try contents(of: folder.path("two")) == whole)
        let cache = try TeacherCache(folder.path("two"))
        for number in [20, 3, 13, 0, 12, 29, 14] {
            let found = try #require(try cache.record(cache.address([Int32(number)])))
            #expect(found.rows.map(\.ids) == texts[number].rows.map(\.ids), "\(number)")
        }
        // A record that teaches is wanted for those behind it.
        let path = folder.path("two/shard-00000.kd")
        var bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        bytes[CacheShard.headSize + CacheFormat.chained.headSize + 3] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let damaged = try TeacherCache(folder.path("two"))
        let error = thrown(RetortError.self) { _ = try damaged.record(damaged.address([29])) }
        #expect(error?.exit == .badData && error?.why.contains("byte \(CacheShard.headSize)") == true)
    }

    @Test("the rest's mass at other temperatures is between its neighbours as it is in truth")
    func otherTemperatures() {
        let logits = SamplePredictions.logits(20_000, .byFrequency, slope: 1.5, seed: 9, row: 0)
        let row = SamplePredictions.row(logits, keeping: 50)
        let kept = Set(row.ids.map(Int.init))
        let top = logits.max() ?? 0
        for (temperature, bound) in [
            (0.3, 1.5), (0.5, 0), (0.7, 0.05), (1, 0), (1.5, 0.02), (2, 0), (3, 0.01), (4, 0), (8, 0.01), (20, 0.01),
        ] {
            let truth = log(
                logits.indices.reduce(0) { kept.contains($1) ? $0 : $0 + exp((logits[$1] - top) / temperature) })
            let found = row.rest?.logSum(at: temperature) ?? 0
            #expect(abs(found - truth) <= bound + 1e-9, "T = \(temperature): \(found), in truth \(truth)")
        }
    }

    @Test("a damaged shard is refused with its place, wherever it is damaged")
    func damage() throws {
        let folder = try ScratchFolder()
        let identity = identity(300, k: 5)
        let writer = try TeacherCacheWriter(folder.path("cache"), identity: identity)
        let texts: [[Int32]] = [[1, 2, 3], [4, 5, 6, 7], [8, 9]]
        for text in texts {
            let rows = (0..<(text.count - 1)).map {
                SamplePredictions.row(
                    SamplePredictions.logits(300, .anywhere, slope: 2, seed: UInt64(text[0]), row: $0), keeping: 5)
            }
            try writer.add(
                CacheRecord(length: text.count, places: Array(rows.indices), rows: rows), at: writer.cache.address(text)
            )
        }
        try writer.finish()
        let path = folder.path("cache/shard-00000.kd")
        let whole = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        func read() throws {
            let cache = try TeacherCache(folder.path("cache"))
            for text in texts {
                let record = try cache.record(cache.address(text))
                guard record?.rows.count == text.count - 1 else { throw RetortError.badData("lost") }
            }
        }
        try read()
        for cut in 0..<whole.count {
            try Data(whole[..<cut]).write(to: URL(fileURLWithPath: path))
            let error = thrown(RetortError.self) { try read() }
            #expect(
                error?.exit == .badData, "cut to \(cut) of \(whole.count) bytes: \(error.map { "\($0)" } ?? "read")")
        }
        for place in whole.indices {
            for bit in [0, 3, 7] {
                var bytes = whole
                bytes[place] ^= 1 << UInt8(bit)
                try Data(bytes).write(to: URL(fileURLWithPath: path))
                let error = thrown(RetortError.self) { try read() }
                #expect(error?.exit == .badData, "bit \(bit) of byte \(place): \(error.map { "\($0)" } ?? "read")")
            }
        }
        try Data(whole + [0]).write(to: URL(fileURLWithPath: path))
        #expect(thrown(RetortError.self) { try read() }?.exit == .badData)
    }

    @Test("records with right sums and lying contents are refused")
    func lies() throws {
        let identity = identity(300, k: 5)
        let philox = Philox(seed: 2, stream: 2)
        for trial in 0..<400 {
            let payload = (0..<(trial % 60)).map { UInt8(truncatingIfNeeded: philox.word(UInt64(trial * 64 + $0))) }
            let address = CacheAddress([1], identity: identity.digest)
            let (tokens, rows) = (2 + trial % 50, trial % 40)
            let head = CacheRecord.Head.make(
                payload, tokens: tokens, rows: min(rows, tokens - 1), address: address, identity.format)
            let read = try #require(CacheRecord.Head(head, identity.format))
            var models = RecordModels(identity)
            // Whatever comes of it, it has what it says and nothing beyond the vocabulary.
            if let record = CacheRecord(payload, read, of: identity, &models) {
                #expect(record.rows.count == read.rows)
                #expect(record.rows.allSatisfy { $0.ids.allSatisfy { $0 >= 0 && $0 < 300 } && $0.ids.count <= 5 })
            }
        }
        // What another cache wrote, of more classes or with more of them kept.
        for (classes, k) in [(400, 5), (300, 6)] {
            let other = self.identity(classes, k: k)
            let logits = (0..<classes).map { Double($0) / 10 }
            let record = CacheRecord(length: 2, places: [0], rows: [SamplePredictions.row(logits, keeping: k)])
            let format = other.format
            func models(_ identity: CacheIdentity) -> RecordModels { RecordModels(identity) }
            var (writing, own, foreign) = (models(other), models(other), models(identity))
            let bytes = record.bytes(at: CacheAddress([1], identity: other.digest), of: other, &writing)
            let head = try #require(CacheRecord.Head(Array(bytes[..<format.headSize]), format))
            let payload = Array(bytes[format.headSize...])
            #expect(CacheRecord(payload, head, of: other, &own) != nil)
            #expect(CacheRecord(payload, head, of: identity, &foreign) == nil)
        }
        for text in ["{}", "[]", "{\"format\": \"other\"}", identity.json.text().replacing("300", with: "0")] {
            let folder = try ScratchFolder()
            try folder.write(text, to: "cache.json")
            #expect(thrown(RetortError.self) { _ = try TeacherCache(folder.path) }?.exit == .badData, "\(text)")
        }
        let empty = try ScratchFolder()
        #expect(thrown(RetortError.self) { _ = try TeacherCache(empty.path) }?.exit == .missingInput)
    }

    @Test("a writer that was killed goes on behind the last whole record; another identity is refused")
    func resume() throws {
        let folder = try ScratchFolder()
        let identity = identity(300, k: 5)
        let row = SamplePredictions.row(SamplePredictions.logits(300, .anywhere, slope: 2, seed: 1, row: 0), keeping: 5)
        func fill(_ names: [Int32]) throws -> [Bool] {
            // Shards of one record each.
            let writer = try TeacherCacheWriter(folder.path("cache"), identity: identity, shardBytes: 60)
            let there = names.map { writer.has(writer.cache.address([$0, 1]), rows: 1) }
            for (name, isThere) in zip(names, there) where !isThere {
                try writer.add(CacheRecord(length: 2, places: [0], rows: [row]), at: writer.cache.address([name, 1]))
            }
            try writer.finish()
            return there
        }
        #expect(try fill([1, 2, 3]) == [false, false, false])
        let whole = try contents(of: folder.path("cache"))
        #expect(whole.count == 4)
        let last = folder.path("cache/shard-00002.kd")
        try Data(try #require(whole["shard-00002.kd"]).dropLast(3)).write(to: URL(fileURLWithPath: last))
        #expect(try fill([1, 2, 3]) == [true, true, false])
        #expect(try contents(of: folder.path("cache")) == whole)
        #expect(try TeacherCache(folder.path("cache")).count == 3)

        // Of two that write at once the second would write all records once more.
        let first = try TeacherCacheWriter(folder.path("cache"), identity: identity)
        let second = thrown(RetortError.self) { _ = try TeacherCacheWriter(folder.path("cache"), identity: identity) }
        #expect(
            second?.exit == .cannotCreate && second?.what.contains("in use") == true, "\(String(describing: second))")
        try first.finish()
        #expect(try fill([1, 2, 3]) == [true, true, true])

        let other = self.identity(300, k: 6)
        let error = thrown(RetortError.self) { _ = try TeacherCacheWriter(folder.path("cache"), identity: other) }
        #expect(
            error?.exit == .cannotCreate && error?.why.contains("5 likeliest") == true, "\(String(describing: error))")
        try folder.write("mine", to: "full/notes.txt")
        let full = thrown(RetortError.self) { _ = try TeacherCacheWriter(folder.path("full"), identity: identity) }
        #expect(full?.exit == .cannotCreate)
        #expect(try contents(of: folder.path("cache")) == whole)
    }
}
