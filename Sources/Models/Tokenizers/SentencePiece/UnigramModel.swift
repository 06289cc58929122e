import RetortSupport

/// A unigram language model over pieces: of all ways to cut a word into pieces, the one whose scores (log-probabilities) add up to most;
/// characters that no piece covers are unknown, at the lowest score less ten. (Kudo, "Subword regularization", 2018.)
///
/// The best way is found from left to right (Viterbi), in time proportional to the text's length and the longest piece. Where no piece crosses
/// a place all ways go through it, so what is before it is decided and forgotten.
struct UnigramModel: TokenModel {
    /// The two readers of such models do not agree in all that decides about equal ways.
    enum Dialect: Sendable {
        /// Of tokenizer.json: sums in double precision; unknown characters in a row are looked up together, then byte by byte.
        case huggingFace
        /// Of tokenizer.model (SentencePiece 0.2.3; earlier ones valued user-defined pieces otherwise): sums are rounded to single precision
        /// after each piece, and go on over the whole text; unknown is unknown.
        case sentencePiece
    }

    let vocabulary: Vocabulary
    private let dialect: Dialect
    private let trie: ByteTrie
    private let scores: [Double]
    /// Of each id; empty when none is.
    private let isUserDefined: [Bool]
    private let unknownScore: Double
    private let unknown: Int32?
    /// The ids of `<0x00>` to `<0xFF>`; empty when unknown characters do not become bytes.
    private let byteIDs: [Int32?]
    /// For errors.
    private let file: String

    /// Bytes of all pieces together.
    private static let largestVocabulary = 8 << 20
    private static let unknownPenalty = 10.0

    /// The `model` of a tokenizer.json.
    /// - Throws: `RetortError` 65.
    init(_ cursor: JSONCursor) throws {
        try cursor.expectKeys(["type", "unk_id", "vocab", "byte_fallback"])
        let list = try cursor.member("vocab")
        guard case .array(let entries) = list.value else {
            throw list.failure("it must be an array; found \(list.value.kind)")
        }
        guard entries.count <= Vocabulary.Limit.size else {
            throw list.failure("it has more than \(Vocabulary.Limit.size) tokens, the limit")
        }
        var vocabulary = Vocabulary(capacity: entries.count)
        var scores: [Double] = []
        scores.reserveCapacity(entries.count)
        for (id, entry) in entries.enumerated() {
            guard case .array(let pair) = entry, pair.count == 2, case .string(let token) = pair[0],
                let score = Self.number(pair[1])
            else { throw try list.element(id).failure("a token is a text and a score: [\"▁the\", -3.25]") }
            guard token.utf8.count <= SentencePieceFile.longestPiece else {
                throw try list.element(id).failure(
                    "it has more than \(SentencePieceFile.longestPiece) bytes, the limit")
            }
            do throws(Vocabulary.Refusal) {
                try vocabulary.add(token, id: id)
            } catch {
                throw try list.element(id).failure(VocabularyReader.why(error, id: id))
            }
            scores.append(score)
        }
        unknown = try cursor.optional("unk_id").map { Int32(try $0.int(in: 0...max(entries.count - 1, 0))) }
        if entries.isEmpty { throw list.failure("it has no token") }
        byteIDs =
            try cursor.optional("byte_fallback")?.bool() ?? false
            ? (0...255).map { byte in
                ByteFallbackDecoder.name(UInt8(byte)).withUnsafeBufferPointer { vocabulary.find($0) }
            } : []
        guard let trie = Self.trie(of: vocabulary, where: { _ in true }) else { throw list.failure(Self.tooLarge) }
        (self.vocabulary, self.scores, self.trie) = (vocabulary, scores, trie)
        unknownScore = (scores.min() ?? 0) - Self.unknownPenalty
        isUserDefined = []
        dialect = .huggingFace
        file = cursor.file
    }

    /// The pieces of a tokenizer.model.
    /// - Throws: `RetortError` 65.
    init(_ model: SentencePieceFile) throws {
        vocabulary = model.vocabulary
        let cuts = model.pieces.map { $0.type == .normal || $0.type == .userDefined }
        guard let trie = Self.trie(of: vocabulary, where: { cuts[Int($0)] }) else {
            throw RetortError.badData(
                "\(model.file.quoted(limit: 200)) is too large a model", at: .init(file: model.file), why: Self.tooLarge
            )
        }
        self.trie = trie
        scores = model.pieces.map { Double($0.score) }
        let normal = model.pieces.filter { $0.type == .normal }.map(\.score)
        let isUserDefined = model.pieces.map { $0.type == .userDefined }
        self.isUserDefined = isUserDefined.contains(true) ? isUserDefined : []
        unknownScore = Double((normal.min() ?? .greatestFiniteMagnitude) - Float(Self.unknownPenalty))
        unknown = model.unknown < 0 ? nil : model.unknown
        byteIDs = model.byteIDs
        dialect = .sentencePiece
        file = model.file
    }

    private static let tooLarge = "its tokens have more than \(largestVocabulary >> 20) MiB together, the limit"

    private static func number(_ value: JSON) -> Double? {
        switch value {
        case .double(let number): number
        case .int(let number): Double(number)
        default: nil
        }
    }

    /// nil when it is too large.
    private static func trie(of vocabulary: Vocabulary, where isWanted: (Int32) -> Bool) -> ByteTrie? {
        var trie = ByteTrie()
        var size = 0
        for id in 0..<Int32(vocabulary.idLimit) where isWanted(id) {
            guard let token = vocabulary.bytes(id), !token.isEmpty else { continue }
            size += token.count
            guard size <= largestVocabulary else { return nil }
            trie.insert(token, value: id)
        }
        return trie
    }

    func append(_ word: Bytes, to ids: inout [Int32], _ scratch: inout ModelScratch) throws {
        try scratch.lattice.run(self, word, &ids)
    }

    /// The best way to a place: its score, and the piece that ends there.
    struct Node {
        var score: Double
        /// Where the piece begins; -1 when no piece ends here.
        var start: Int32
        var id: Int32

        static let none = Node(score: 0, start: -1, id: -1)
    }

    /// Marks a character that no piece covers, also where the vocabulary has no piece for such.
    private static let unknownMark: Int32 = -2

    /// What the search works in, again and again. Place `base + i` of the word is element `i`.
    struct Lattice {
        private var nodes: [Node] = []
        private var path: [(start: Int32, end: Int32, id: Int32)] = []
        /// Unknown characters in a row, up to where the way is decided.
        private var pending = 0..<0

        fileprivate mutating func run(_ model: UnigramModel, _ word: Bytes, _ ids: inout [Int32]) throws {
            pending = 0..<0
            let rounds = model.dialect == .sentencePiece
            nodes.removeAll(keepingCapacity: true)
            nodes.append(.none)
            var base = 0
            var position = 0
            while position < word.count {
                let here = position - base
                // The last place that a piece from before leads to: all ways go through here.
                if here > 0, here == nodes.count - 1 {
                    try decide(base, position, model, word, &ids)
                    nodes[0] = Node(score: nodes[here].score, start: -1, id: -1)
                    nodes.removeLast(here)
                    base = position
                }
                if rounds { keepSmall(from: position - base) }
                let score = nodes[position - base].score
                let length = word.scalar(at: position).length
                var isCovered = false
                model.trie.forEachMatch(in: word, from: position) { id, end in
                    let candidate = score + model.score(id, length: end - position)
                    put(candidate, from: position, to: end - base, id, rounds)
                    if end - position == length { isCovered = true }
                }
                if !isCovered {
                    let candidate = score + model.unknownScore
                    put(candidate, from: position, to: position + length - base, model.unknown ?? unknownMark, rounds)
                }
                position += length
            }
            try decide(base, position, model, word, &ids)
            try flush(model, word, &ids)
        }

        @inline(__always)
        private mutating func put(_ score: Double, from start: Int, to place: Int, _ id: Int32, _ rounds: Bool) {
            while nodes.count <= place { nodes.append(.none) }
            // The sum of two single numbers, rounded once.
            let score = rounds ? Double(Float(score)) : score
            guard nodes[place].start < 0 || score > nodes[place].score else { return }
            nodes[place] = Node(score: score, start: Int32(start), id: id)
        }

        /// Sums of long texts begin anew now and then, so that they do not lose too much to rounding.
        @inline(__always)
        private mutating func keepSmall(from place: Int) {
            let sum = Float(nodes[place].score)
            guard abs(sum) > 100_000 else { return }
            for later in place..<nodes.count where later == place || nodes[later].start >= 0 {
                nodes[later].score = Double(Float(nodes[later].score) - sum)
            }
        }

        /// Appends the pieces of the best way from `base` to `end`.
        private mutating func decide(
            _ base: Int, _ end: Int, _ model: UnigramModel, _ word: Bytes, _ ids: inout [Int32]
        ) throws {
            // Often one piece.
            if end > base, nodes[end - base].start == base {
                return try add(nodes[end - base].id, base..<end, model, word, &ids)
            }
            path.removeAll(keepingCapacity: true)
            var end = end
            while end > base {
                let node = nodes[end - base]
                path.append((node.start, Int32(end), node.id))
                end = Int(node.start)
            }
            for piece in path.reversed() { try add(piece.id, Int(piece.start)..<Int(piece.end), model, word, &ids) }
        }

        @inline(__always)
        private mutating func add(
            _ id: Int32, _ range: Range<Int>, _ model: UnigramModel, _ word: Bytes, _ ids: inout [Int32]
        ) throws {
            if id == unknownMark || id == model.unknown {
                pending = (pending.isEmpty ? range.lowerBound : pending.lowerBound)..<range.upperBound
            } else {
                try flush(model, word, &ids)
                ids.append(id)
            }
        }

        private mutating func flush(_ model: UnigramModel, _ word: Bytes, _ ids: inout [Int32]) throws {
            guard !pending.isEmpty else { return }
            try model.appendUnknown(Bytes(rebasing: word[pending]), to: &ids)
            pending = 0..<0
        }
    }

    @inline(__always)
    private func score(_ id: Int32, length: Int) -> Double {
        // More than any other piece can have, the longer the better: user-defined pieces are never cut.
        if isUserDefined.isEmpty || !isUserDefined[Int(id)] { return scores[Int(id)] }
        return Double(Float(0.1 * Double(length - 1)))
    }

    /// Unknown characters in a row: as bytes where the model has them, else one unknown token.
    private func appendUnknown(_ text: Bytes, to ids: inout [Int32]) throws {
        if dialect == .huggingFace, let id = vocabulary.find(text) { return ids.append(id) }
        if !byteIDs.isEmpty {
            let bytes = text.compactMap { byteIDs[Int($0)] }
            if bytes.count == text.count {
                ids += bytes
                return
            }
        }
        guard let unknown else {
            throw RetortError.badData(
                "the text has \(String(decoding: text.prefix(80), as: UTF8.self).quoted()), which no token covers",
                at: .init(file: file), why: "the tokenizer has no unk_id to stand for it")
        }
        ids.append(unknown)
    }
}
