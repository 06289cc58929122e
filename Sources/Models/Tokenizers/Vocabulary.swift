import RetortSupport

/// Tokens and their ids: token bytes to id by a hash table, id to token bytes by position. Ids may have gaps.
struct Vocabulary: Sendable {
    /// What a file may ask for.
    enum Limit {
        /// Tokens, and the largest id + 1.
        static let size = 1 << 22
        /// Bytes of one token.
        static let tokenBytes = 1 << 16
    }

    private var pool: [UInt8] = []
    private var places: [(start: Int32, count: Int32)] = []
    private var slots: [Int32]
    private(set) var count = 0

    /// - Parameter capacity: about how many tokens will come.
    init(capacity: Int) {
        var size = 64
        while size < 2 * min(capacity, Limit.size) { size *= 2 }
        slots = [Int32](repeating: -1, count: size)
        places.reserveCapacity(min(capacity, Limit.size))
    }

    /// The largest id + 1.
    var idLimit: Int { places.count }

    /// Why a token cannot be added; nil when it was.
    enum Refusal: Error {
        case idOutOfRange
        case tooLong
        case idTaken(by: String)
        case tokenTaken(Int32)
    }

    mutating func add(_ token: String, id: Int) throws(Refusal) {
        guard (0..<Limit.size).contains(id) else { throw .idOutOfRange }
        let bytes = Array(token.utf8)
        guard bytes.count <= Limit.tokenBytes, pool.count + bytes.count < Int(Int32.max) else { throw .tooLong }
        if let other = bytes.withUnsafeBufferPointer({ find($0) }) { throw .tokenTaken(other) }
        if let other = string(Int32(id)) { throw .idTaken(by: other) }
        if 2 * (count + 1) > slots.count { grow() }
        while places.count <= id { places.append((0, -1)) }
        places[id] = (Int32(pool.count), Int32(bytes.count))
        pool += bytes
        count += 1
        insert(Int32(id), bytes)
    }

    /// The id of a token.
    func find(_ token: Bytes) -> Int32? {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: ByteHash.hash(token)) & mask
        while slots[slot] >= 0 {
            let place = places[Int(slots[slot])]
            if Int(place.count) == token.count {
                let isSame = pool.withUnsafeBufferPointer {
                    $0[Int(place.start)..<Int(place.start + place.count)].elementsEqual(token)
                }
                if isSame { return slots[slot] }
            }
            slot = (slot + 1) & mask
        }
        return nil
    }

    func find(_ token: String) -> Int32? {
        Array(token.utf8).withUnsafeBufferPointer { find($0) }
    }

    /// The bytes of a token; nil when no token has this id.
    func bytes(_ id: Int32) -> ArraySlice<UInt8>? {
        guard places.indices.contains(Int(id)) else { return nil }
        let place = places[Int(id)]
        return place.count < 0 ? nil : pool[Int(place.start)..<Int(place.start + place.count)]
    }

    func string(_ id: Int32) -> String? {
        bytes(id).map { String(decoding: $0, as: UTF8.self) }
    }

    private mutating func insert(_ id: Int32, _ token: [UInt8]) {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: token.withUnsafeBufferPointer { ByteHash.hash($0) }) & mask
        while slots[slot] >= 0 { slot = (slot + 1) & mask }
        slots[slot] = id
    }

    private mutating func grow() {
        slots = [Int32](repeating: -1, count: 2 * slots.count)
        for id in places.indices {
            if let token = bytes(Int32(id)) { insert(Int32(id), Array(token)) }
        }
    }
}
