import RetortSupport

/// What is kept of one text: a row for each token whose successor is learned.
struct CacheRecord: Sendable, Equatable {
    /// Tokens of the text.
    let length: Int
    /// By the token's place; `rows` are as many, in this order.
    let places: [Int]
    let rows: [KeptRow]
    /// Hidden states of all tokens, one signal after the other; empty where none are kept.
    let states: [UInt8]

    /// The head of a record: where it is, how long, and sums that tell a whole one from a damaged one.
    ///
    ///     0  u32  bytes of the payload     12  16 bytes  address
    ///     4  u32  tokens                   28  8 bytes   of SHA-256 over head (0..<28) and payload
    ///     8  u32  rows                     36  4 bytes   of SHA-256 over head (0..<36)
    struct Head: Sendable, Equatable {
        static let size = 40
        static let mostBytes = 1 << 30
        static let mostTokens = 1 << 24

        let bytes: Int
        let tokens: Int
        let rows: Int
        let address: CacheAddress
        let sum: UInt64

        /// nil for what no writer wrote.
        init?(_ head: [UInt8]) {
            guard head.count == Self.size, head.uint32(at: 36) == Self.sum(Array(head[..<36])).uint32(at: 0) else {
                return nil
            }
            bytes = Int(head.uint32(at: 0))
            tokens = Int(head.uint32(at: 4))
            rows = Int(head.uint32(at: 8))
            address = CacheAddress(head, at: 12)
            sum = head.uint64(at: 28)
            guard bytes <= Self.mostBytes, tokens <= Self.mostTokens, rows < max(1, tokens) else { return nil }
        }

        /// Whether the payload is the one that was written.
        func matches(_ payload: [UInt8]) -> Bool {
            payload.count == bytes && Self.sum(front + payload).uint64(at: 0) == sum
        }

        private var front: [UInt8] { Self.front(bytes: bytes, tokens: tokens, rows: rows, address: address) }

        static func front(bytes: Int, tokens: Int, rows: Int, address: CacheAddress) -> [UInt8] {
            UInt32(bytes).littleEndianBytes + UInt32(tokens).littleEndianBytes + UInt32(rows).littleEndianBytes
                + address.bytes
        }

        static func sum(_ bytes: [UInt8]) -> [UInt8] {
            var hash = ContentHash()
            hash.update(bytes)
            return hash.bytes
        }
    }

    /// Head and payload: the rows, entropy-coded, then the states as they are.
    func bytes(at address: CacheAddress, of identity: CacheIdentity) -> [UInt8] {
        var coder = RangeEncoder()
        var models = RowModels(identity.scale, classes: identity.vocabulary)
        var marks = [AdaptiveBit(), AdaptiveBit()]
        var (next, before) = (0, 0)
        for place in 0..<max(0, length - 1) {
            let isKept = next < places.count && places[next] == place
            coder.encode(isKept ? 1 : 0, &marks[before])
            before = isKept ? 1 : 0
            guard isKept else { continue }
            models.encode(rows[next], &coder)
            next += 1
        }
        let payload = coder.finish() + states
        var head = Head.front(bytes: payload.count, tokens: length, rows: rows.count, address: address)
        head += Head.sum(head + payload).prefix(8)
        head += Head.sum(head).prefix(4)
        return head + payload
    }

    /// nil for what no writer wrote.
    init?(_ payload: [UInt8], _ head: Head, of identity: CacheIdentity) {
        let coded = payload.count - identity.signals.bytes(tokens: head.tokens)
        guard coded >= 0 else { return nil }
        states = Array(payload[coded...])
        var coder = RangeDecoder(payload[..<coded])
        var models = RowModels(identity.scale, classes: identity.vocabulary)
        var marks = [AdaptiveBit(), AdaptiveBit()]
        var before = 0
        var (places, rows): ([Int], [KeptRow]) = ([], [])
        for place in 0..<max(0, head.tokens - 1) {
            before = coder.decode(&marks[before])
            guard before == 1 else { continue }
            guard rows.count < head.rows, coder.missing <= RangeDecoder.mostMissing,
                let row = models.decode(&coder, limit: identity.kept.most)
            else { return nil }
            places.append(place)
            rows.append(row)
        }
        guard rows.count == head.rows, coder.missing <= RangeDecoder.mostMissing, coder.isAtEnd else { return nil }
        length = head.tokens
        self.places = places
        self.rows = rows
    }

    init(length: Int, places: [Int], rows: [KeptRow], states: [UInt8] = []) {
        self.states = states
        self.length = length
        self.places = places
        self.rows = rows
    }
}
