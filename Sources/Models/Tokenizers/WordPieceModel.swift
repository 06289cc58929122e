import RetortSupport

/// WordPiece: from left to right the longest token, all but the first with a mark in front; a word that cannot be covered is
/// unknown as a whole. (Wu et al., "Google's neural machine translation system", 2016; Devlin et al., "BERT", 2019.)
struct WordPieceModel: TokenModel {
    let vocabulary: Vocabulary
    private let trie: ByteTrie
    /// Where tokens that go on with a word begin in the trie; nil when there is none.
    private let continuation: Int32?
    private let unknown: Int32
    /// Characters of a word; longer ones are unknown.
    private let longestWord: Int

    /// Bytes of all tokens together.
    private static let largestVocabulary = 8 << 20

    /// - Throws: `RetortError` 65.
    init(_ cursor: JSONCursor) throws {
        try cursor.expectKeys(["type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"])
        let vocabulary = try VocabularyReader.read(cursor.member("vocab"))
        let unknown = try cursor.member("unk_token")
        guard let id = vocabulary.find(try unknown.string()) else {
            throw unknown.failure("\(try unknown.string().quoted()) is not in the vocabulary")
        }
        let longest = try cursor.optional("max_input_chars_per_word")?.int(in: 1...1_000_000) ?? 100
        guard
            let model = WordPieceModel(
                vocabulary, unknown: id, prefix: try cursor.member("continuing_subword_prefix").string(),
                longestWord: longest)
        else { throw try cursor.member("vocab").failure("its tokens have more than 8 MiB together, the limit") }
        self = model
    }

    /// nil when the vocabulary is too large.
    init?(_ vocabulary: Vocabulary, unknown: Int32, prefix: String, longestWord: Int) {
        var trie = ByteTrie()
        var size = 0
        for id in 0..<Int32(vocabulary.idLimit) {
            guard let token = vocabulary.bytes(id), !token.isEmpty else { continue }
            size += token.count
            guard size <= Self.largestVocabulary else { return nil }
            trie.insert(token, value: id)
        }
        self.vocabulary = vocabulary
        self.trie = trie
        self.unknown = unknown
        self.longestWord = longestWord
        continuation = trie.node(after: Array(prefix.utf8))
    }

    func append(_ word: Bytes, to ids: inout [Int32], _ scratch: inout ModelScratch) {
        let start = ids.count
        // A character has at least one byte; only words of many bytes need counting.
        if word.count > longestWord, word.count(where: { $0 & 0xC0 != 0x80 }) > longestWord {
            return ids.append(unknown)
        }
        var position = 0
        while position < word.count {
            let node = position == 0 ? ByteTrie.root : continuation
            guard let node, let match = trie.longestMatch(in: word, from: position, node: node) else {
                ids.removeLast(ids.count - start)
                return ids.append(unknown)
            }
            ids.append(match.value)
            position = match.end
        }
    }
}
