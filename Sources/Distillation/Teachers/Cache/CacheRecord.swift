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

    /// The head of a record: where it is, how long, and sums that tell a whole one from a damaged one (docs/CACHE.md).
    struct Head: Sendable, Equatable {
        static let mostBytes = 1 << 30
        static let mostTokens = 1 << 24 - 1

        let bytes: Int
        let tokens: Int
        let rows: Int
        let address: CacheAddress
        let sum: UInt64

        /// nil for what no writer wrote.
        init?(_ head: [UInt8], _ format: CacheFormat) {
            let (covered, width) = (format.headSize - 4, format.countBytes)
            guard head.count == format.headSize,
                head.uint32(at: covered) == Self.sum(Array(head[..<covered])).uint32(at: 0)
            else { return nil }
            bytes = Int(head.uint32(at: 0))
            tokens = Int(head.number(at: 4, bytes: width))
            rows = Int(head.number(at: 4 + width, bytes: width))
            address = CacheAddress(head, at: 4 + 2 * width)
            sum = head.number(at: format.frontSize, bytes: format.sumBytes)
            guard bytes <= Self.mostBytes, tokens <= Self.mostTokens, rows < max(1, tokens) else { return nil }
        }

        /// Whether the payload is the one that was written.
        func matches(_ payload: [UInt8], _ format: CacheFormat) -> Bool {
            let front = Self.front(bytes: bytes, tokens: tokens, rows: rows, address: address, format)
            return payload.count == bytes
                && Self.sum(front + payload).number(at: 0, bytes: format.sumBytes) == sum
        }

        /// The whole head of a payload.
        static func make(
            _ payload: [UInt8], tokens: Int, rows: Int, address: CacheAddress, _ format: CacheFormat
        ) -> [UInt8] {
            var head = Self.front(bytes: payload.count, tokens: tokens, rows: rows, address: address, format)
            head += Self.sum(head + payload).prefix(format.sumBytes)
            head += Self.sum(head).prefix(4)
            return head
        }

        private static func front(
            bytes: Int, tokens: Int, rows: Int, address: CacheAddress, _ format: CacheFormat
        ) -> [UInt8] {
            let counts = [tokens, rows].flatMap { UInt32($0).littleEndianBytes.prefix(format.countBytes) }
            return UInt32(bytes).littleEndianBytes + counts + address.bytes
        }

        private static func sum(_ bytes: [UInt8]) -> [UInt8] {
            var hash = ContentHash()
            hash.update(bytes)
            return hash.bytes
        }
    }

    /// Head and payload: the rows, entropy-coded, then the states as they are.
    /// - Parameter models: what the record begins with; become what it leaves.
    func bytes(at address: CacheAddress, of identity: CacheIdentity, _ models: inout RecordModels) -> [UInt8] {
        var coder = RangeEncoder()
        var (next, before) = (0, 0)
        for place in 0..<max(0, length - 1) {
            let isKept = next < places.count && places[next] == place
            coder.encode(isKept ? 1 : 0, &models.marks[before])
            before = isKept ? 1 : 0
            guard isKept else { continue }
            models.rows.encode(rows[next], &coder)
            next += 1
        }
        let payload = coder.finish() + states
        return Head.make(payload, tokens: length, rows: rows.count, address: address, identity.format) + payload
    }

    /// nil for what no writer wrote.
    /// - Parameter models: what the record begins with; become what it leaves.
    init?(_ payload: [UInt8], _ head: Head, of identity: CacheIdentity, _ models: inout RecordModels) {
        let coded = payload.count - identity.signals.bytes(tokens: head.tokens)
        guard coded >= 0 else { return nil }
        states = Array(payload[coded...])
        var coder = RangeDecoder(payload[..<coded])
        var before = 0
        var (places, rows): ([Int], [KeptRow]) = ([], [])
        for place in 0..<max(0, head.tokens - 1) {
            before = coder.decode(&models.marks[before])
            guard before == 1 else { continue }
            guard rows.count < head.rows, coder.missing <= RangeDecoder.mostMissing,
                let row = models.rows.decode(&coder, limit: identity.kept.most)
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
