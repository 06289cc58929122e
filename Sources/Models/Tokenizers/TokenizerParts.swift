import RetortSupport

/// Everything a tokenizer is made of, as its files say it.
struct TokenizerParts {
    /// "byte-level BPE", "BPE", "Unigram", "WordPiece".
    var kind: String
    var model: any TokenModel
    var vocabulary: Vocabulary
    private(set) var addedTokens: [AddedToken] = []
    private var addedByID: [Int32: Int] = [:]
    private var addedByContent: [ExactKey: Int] = [:]
    var normalizer: (any Normalizer)?
    var preTokenizer: (any PreTokenizer)?
    var postProcessor: any PostProcessor = NoPostProcessing()
    var decoder: (any TokenDecoder)?
    var truncation: Truncation?
    var padding: Padding?
    var settings = TokenizerSettings()

    init(kind: String, model: any TokenModel, vocabulary: Vocabulary) {
        self.kind = kind
        self.model = model
        self.vocabulary = vocabulary
    }

    /// Adds a token unless it is there.
    /// - Throws: `RetortError` 65, at `place`, when its id or its text belongs to another.
    mutating func add(_ token: AddedToken, at place: JSONCursor) throws {
        if let index = addedByID[token.id] ?? addedByContent[ExactKey(token.content)] {
            let other = addedTokens[index]
            guard other.id == token.id, other.content.hasSameBytes(as: token.content) else {
                throw place.failure(
                    "\(token.content.quoted()) has the id \(token.id), \(other.content.quoted()) the id \(other.id)")
            }
            return
        }
        if let id = vocabulary.find(token.content), id != token.id {
            throw place.failure("\(token.content.quoted()) has the id \(token.id) here and \(id) in the vocabulary")
        }
        if let other = vocabulary.string(token.id), !other.hasSameBytes(as: token.content) {
            throw place.failure(
                "the id \(token.id) of \(token.content.quoted()) belongs to \(other.quoted()) in the vocabulary")
        }
        addedByID[token.id] = addedTokens.count
        addedByContent[ExactKey(token.content)] = addedTokens.count
        addedTokens.append(token)
    }

    /// Lets added tokens be looked for in the text as it is, all of them.
    mutating func findAddedTokensUnnormalized() {
        addedTokens = addedTokens.map { token in
            AddedToken(
                id: token.id, content: token.content, isSingleWord: token.isSingleWord, stripsLeft: token.stripsLeft,
                stripsRight: token.stripsRight, isNormalized: false, isSpecial: token.isSpecial)
        }
    }

    /// The id of an added token.
    func addedID(_ content: String) -> Int32? {
        addedByContent[ExactKey(content)].map { addedTokens[$0].id }
    }

    func isKnown(_ id: Int32) -> Bool {
        vocabulary.bytes(id) != nil || addedByID[id] != nil
    }
}
