/// Rows of tokens and what is to be predicted after each, or, where tokens were masked, at their own places.
public struct LanguageBatch: Sendable, Equatable {
    public let rows: Int
    public let length: Int
    /// Row-major `[rows, length]`.
    public let tokens: [Int32]
    /// Row-major `[rows, length]`: at a token's place the one that follows it in the same document when that is to be learned, also where
    /// it stands in no row; else `ignored`. Of masked rows: the token that was there before it was chosen, else `ignored`.
    public let targets: [Int32]
    /// Row-major `[rows, length]`: false for padding; nil: there is none.
    public let valid: [Bool]?
    /// Row-major `[rows, length]`: the document of each token, counted from 0 in its row, −1 for padding: attention stays inside a
    /// document. nil: each row is one document (and padding).
    public let documents: [Int32]?

    /// - Parameters: `rows` · `length` elements each.
    public init(
        rows: Int, length: Int, tokens: [Int32], targets: [Int32], valid: [Bool]? = nil, documents: [Int32]? = nil
    ) {
        let count = rows * length
        precondition(
            tokens.count == count && targets.count == count && valid?.count ?? count == count
                && documents?.count ?? count == count, "a batch of \(rows) × \(length) with \(tokens.count) tokens")
        self.rows = rows
        self.length = length
        self.tokens = tokens
        self.targets = targets
        self.valid = valid
        self.documents = documents
    }

    /// What stands where nothing is learned: the label that PyTorch's cross-entropy passes over.
    public static let ignored: Int32 = -100

    /// Tokens that are learned.
    public var targetCount: Int { targets.count { $0 >= 0 } }

    /// Tokens that are no padding.
    public var tokenCount: Int { valid.map { $0.count { $0 } } ?? tokens.count }

    /// Some of the rows: a micro-batch.
    /// - Parameter range: not empty, within 0 to `rows`.
    public func rows(_ range: Range<Int>) -> LanguageBatch {
        let part = range.lowerBound * length..<range.upperBound * length
        return LanguageBatch(
            rows: range.count, length: length, tokens: Array(tokens[part]), targets: Array(targets[part]),
            valid: valid.map { Array($0[part]) }, documents: documents.map { Array($0[part]) })
    }
}

extension LanguageBatch {
    /// A batch of masked examples, one a row.
    /// - Parameters:
    ///   - samples: what each is drawn by, see `TokenMasking`.
    ///   - length: tokens of a row; no row has more.
    ///   - pad: the token that fills rows up.
    init(
        _ corpus: TokenizedCorpus, _ examples: [Int32], _ masking: TokenMasking, samples: [Int], length: Int, pad: Int32
    ) {
        var tokens = [Int32](repeating: pad, count: examples.count * length)
        var targets = [Int32](repeating: Self.ignored, count: tokens.count)
        var valid = [Bool](repeating: false, count: tokens.count)
        for (row, (number, sample)) in zip(examples, samples).enumerated() {
            let example = corpus.example(Int(number))
            let masked = masking(example.tokens, mayChoose: example.isTarget, sample: sample)
            let places = (row * length)..<(row * length + example.count)
            tokens.replaceSubrange(places, with: masked.tokens)
            targets.replaceSubrange(places, with: masked.targets)
            for place in places { valid[place] = true }
        }
        self.init(
            rows: examples.count, length: length, tokens: tokens, targets: targets,
            valid: valid.contains(false) ? valid : nil)
    }

    /// A batch of planned rows.
    /// - Parameters:
    ///   - length: tokens of a row; no row has more.
    ///   - pad: the token that fills rows up.
    ///   - isPacked: rows may have several documents.
    init(_ corpus: TokenizedCorpus, _ plan: RowPlan, rows: Range<Int>, length: Int, pad: Int32, isPacked: Bool) {
        var tokens = [Int32](repeating: pad, count: rows.count * length)
        var targets = [Int32](repeating: Self.ignored, count: tokens.count)
        var documents = [Int32](repeating: -1, count: tokens.count)
        var filled = 0
        for (index, row) in rows.enumerated() {
            var place = index * length
            for (document, piece) in plan[row].enumerated() {
                corpus.withMarked(Int(piece.example)) { marked in
                    for token in Int(piece.start)..<Int(piece.start + piece.count) {
                        tokens[place] = marked[token] < 0 ? -1 - marked[token] : marked[token]
                        if token + 1 < marked.count, marked[token + 1] >= 0 { targets[place] = marked[token + 1] }
                        documents[place] = Int32(document)
                        place += 1
                    }
                }
                filled += Int(piece.count)
            }
        }
        self.init(
            rows: rows.count, length: length, tokens: tokens, targets: targets,
            valid: filled == tokens.count ? nil : documents.map { $0 >= 0 }, documents: isPacked ? documents : nil)
    }
}
