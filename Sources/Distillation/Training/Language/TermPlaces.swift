import RetortModels

/// The places at which a loss looks at predictions.
enum TermPlaces: String, Sendable {
    /// Where the next token is learned.
    case next
    /// The same in every second row: the better of two answers.
    case chosen
    /// Where a token was chosen to be guessed.
    case masked
    /// At all tokens but padding: what stood there is the label.
    case all

    /// Of encoders.
    static let field = RecipeField(
        "on", .choice([masked.rawValue, all.rawValue]), .defaulted(masked.rawValue),
        "the places where predictions are compared: the masked tokens, or all that are no padding; losses of what models hide are of all"
    )

    /// In a contract.
    var words: String {
        switch self {
        case .next: "valid tokens"
        case .chosen: "valid tokens of the chosen answers"
        case .masked: "masked tokens"
        case .all: "all tokens"
        }
    }

    /// What counts, for the printed contract.
    var mask: String {
        switch self {
        case .next: "mask: label ≠ −100, one place ahead"
        case .chosen: "mask: label ≠ −100, one place ahead, chosen answers alone"
        case .masked: "mask: tokens chosen to be guessed"
        case .all: "mask: no padding"
        }
    }
}

/// The places of a part of a batch that a loss looks at, and what it has to know of them.
struct PredictedPlaces {
    /// Row-major numbers of the places; nil: all of them.
    let places: [Int32]?
    /// Of each: the label, −100 where there is none.
    let targets: [Int32]
    /// What the loss at each is multiplied by, 0 where nothing counts.
    let weights: [Float]

    /// - Parameters:
    ///   - learned: tokens that are learned in the whole batch; of better answers, those of these.
    ///   - size: tokens of the whole batch that are no padding.
    ///   - sequences: of the whole batch that have a token that counts.
    ///   - classes: of the logits.
    init(
        _ kind: TermPlaces, of batch: LanguageBatch, learned: Int, size: Int,
        reduction: TokenReduction = .tokenMean, sequences: Int = 1, classes: Int = 1
    ) {
        let (all, ignored) = (batch.targets, LanguageBatch.ignored)
        let chosen: [Int]
        switch kind {
        case .next: chosen = Array(all.indices)
        case .chosen: chosen = all.indices.filter { $0 / batch.length % 2 == 0 }
        case .masked:
            // One place where none was chosen, which does not count: losses look at rows, never at nothing.
            let masked = all.indices.filter { all[$0] != ignored }
            chosen = masked.isEmpty ? [0] : masked
        case .all: chosen = all.indices.filter { batch.valid?[$0] ?? true }
        }
        let isWhole = kind == .next || kind == .all && batch.valid == nil
        places = isWhole ? nil : chosen.map { Int32($0) }
        // Where nothing was chosen to be guessed the token itself is there to be seen.
        targets = chosen.map { kind == .all && all[$0] == ignored ? batch.tokens[$0] : all[$0] }
        weights = reduction.weights(
            tokens: kind == .all ? size : learned, sequences: sequences, classes: classes,
            own: zip(chosen, targets).map { $1 == ignored ? nil : batch.sequence(of: $0) })
    }
}
