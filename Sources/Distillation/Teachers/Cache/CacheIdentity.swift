import RetortModels
import RetortSupport

/// How many classes of a prediction are kept.
public enum KeptClasses: Sendable, Equatable {
    /// So many of the likeliest.
    case top(Int)
    /// The fewest of the likeliest that together have this probability at temperature 1, `most` at most.
    case mass(Double, most: Int)

    var most: Int {
        switch self {
        case .top(let count): count
        case .mass(_, let most): most
        }
    }
}

/// What a cache is of: everything that its numbers depend on but the texts. `cache.json`.
struct CacheIdentity: Sendable, Equatable {
    /// How records are written.
    var format = CacheFormat.current
    /// SHA-256 over the teacher's config.json and weights.
    let teacher: String
    /// SHA-256 over the tokenizer's files; "none" for data that are tokens.
    let tokenizer: String
    let vocabulary: Int
    let kept: KeptClasses
    /// Of a stored log-probability, before it is entropy-coded.
    let bits: Int
    /// What is kept beside predictions.
    let signals: KeptSignals
    /// The teacher's config.json, for students that take their special tokens from it.
    let config: JSON

    var scale: DepthScale { DepthScale(bits: bits) }

    var json: JSON {
        var members: [(key: String, value: JSON)] = [
            ("format", .string(format.name)), ("teacher_sha256", .string(teacher)),
            ("tokenizer_sha256", .string(tokenizer)), ("vocabulary", .int(vocabulary)), ("bits", .int(bits)),
        ]
        switch kept {
        case .top(let count): members.append(("top_k", .int(count)))
        case .mass(let share, let most): members += [("top_p", .double(share)), ("most", .int(most))]
        }
        return .object(members + signals.json + [("config", config)])
    }

    /// 16 bytes at the head of each shard, and in each record's address.
    var digest: [UInt8] {
        var hash = ContentHash()
        hash.update(Array(json.text().utf8))
        return Array(hash.bytes.prefix(16))
    }

    init(
        teacher: String, tokenizer: String, vocabulary: Int, kept: KeptClasses, bits: Int,
        signals: KeptSignals = .none, config: JSON
    ) {
        self.teacher = teacher
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.kept = kept
        self.bits = bits
        self.signals = signals
        self.config = config
    }

    /// - Throws: `RetortError` 66 when there is none, 65 with the place for what is no description of a cache.
    init(reading path: String) throws {
        let file = try JSONCursor.read(path)
        let name = try file.member("format").string()
        guard let format = CacheFormat.allCases.first(where: { $0.name == name }) else {
            throw try file.member("format").failure(
                "this version reads \(CacheFormat.allCases.map(\.name).joined(separator: " and "))",
                help: "Make the cache again with `retort cache`.")
        }
        self.format = format
        func digest(_ key: String) throws -> String {
            let text = try file.member(key).string()
            let isDigest =
                text.utf8.count == 64 && text.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) }
            guard isDigest || (text == "none" && key == "tokenizer_sha256") else {
                throw try file.member(key).failure("a digest has 64 hexadecimal digits")
            }
            return text
        }
        let vocabulary = try file.member("vocabulary").int(in: 1...(1 << 24))
        let most = 1...min(vocabulary, Self.mostKept)
        if let share = try file.optional("top_p") {
            kept = .mass(try share.double(in: 1e-6...1), most: try file.member("most").int(in: most))
            try file.expectKeys(Self.keys + KeptSignals.keys + ["top_p", "most"])
        } else {
            kept = .top(try file.member("top_k").int(in: most))
            try file.expectKeys(Self.keys + KeptSignals.keys + ["top_k"])
        }
        self.vocabulary = vocabulary
        teacher = try digest("teacher_sha256")
        tokenizer = try digest("tokenizer_sha256")
        bits = try file.member("bits").int(in: Self.bitRange)
        signals = try KeptSignals(file)
        config = try file.member("config").value
    }

    static let bitRange = 4...12
    static let mostKept = 4096
    private static let keys = ["format", "teacher_sha256", "tokenizer_sha256", "vocabulary", "bits", "config"]

    /// What differs from another, in words; nil: nothing.
    func difference(from other: CacheIdentity) -> String? {
        if teacher != other.teacher { return "the teacher's config.json or weights have changed" }
        if tokenizer != other.tokenizer { return "the tokenizer has changed" }
        if kept != other.kept { return "it keeps \(other.kept.words), and is now to keep \(kept.words)" }
        if bits != other.bits { return "it has \(other.bits) bits for a log-probability, and is now to have \(bits)" }
        if signals != other.signals { return "it keeps \(other.signals.words), and is now to keep \(signals.words)" }
        return digest == other.digest ? nil : "its description has changed"
    }
}

extension KeptClasses {
    var words: String {
        switch self {
        case .top(let count): "the \(count) likeliest classes"
        case .mass(let share, let most): "the likeliest classes up to a probability of \(share), \(most) at most"
        }
    }
}

/// Where a text's record is found: 16 bytes of SHA-256 over the cache's identity and the token ids.
struct CacheAddress: Sendable, Hashable {
    let high: UInt64
    let low: UInt64

    init(_ tokens: some Sequence<Int32>, identity: [UInt8]) {
        var bytes = identity
        for token in tokens { withUnsafeBytes(of: token.littleEndian) { bytes += $0 } }
        var hash = ContentHash()
        hash.update(bytes)
        let digest = hash.bytes
        high = digest.uint64(at: 0)
        low = digest.uint64(at: 8)
    }

    init(_ bytes: [UInt8], at place: Int) {
        high = bytes.uint64(at: place)
        low = bytes.uint64(at: place + 8)
    }

    var bytes: [UInt8] { high.littleEndianBytes + low.littleEndianBytes }
}

extension [UInt8] {
    /// The first byte is the lowest.
    func number(at place: Int, bytes count: Int) -> UInt64 {
        (0..<count).reduce(0) { $0 | UInt64(self[place + $1]) << (8 * UInt64($1)) }
    }
    func uint64(at place: Int) -> UInt64 { number(at: place, bytes: 8) }
    func uint32(at place: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(self[place + $1]) << (8 * UInt32($1)) }
    }
}

extension FixedWidthInteger {
    var littleEndianBytes: [UInt8] { withUnsafeBytes(of: littleEndian) { Array($0) } }
}
