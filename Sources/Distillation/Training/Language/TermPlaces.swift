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
}

/// The places of a part of a batch that a loss looks at, and what it has to know of them.
struct PredictedPlaces {
    /// Row-major numbers of the places; nil: all of them.
    let places: [Int32]?
    /// Of each: the label, −100 where there is none.
    let targets: [Int32]
    /// 1 / number of the whole batch's places that count, 0 for the others.
    let weights: [Float]
    /// 1 / number of the whole batch's places that count.
    let weight: Float

    /// - Parameters:
    ///   - learned: tokens that are learned in the whole batch; of better answers, those of these.
    ///   - size: tokens of the whole batch that are no padding.
    init(_ kind: TermPlaces, of batch: LanguageBatch, learned: Int, size: Int) {
        let (all, ignored) = (batch.targets, LanguageBatch.ignored)
        switch kind {
        case .next:
            let weight = 1 / Float(max(1, learned))
            (places, targets, self.weight) = (nil, all, weight)
            weights = all.map { $0 == ignored ? 0 : weight }
        case .chosen:
            let weight = 1 / Float(max(1, learned))
            self.weight = weight
            let own = all.indices.filter { $0 / batch.length % 2 == 0 }
            places = own.map(Int32.init)
            targets = own.map { all[$0] }
            weights = targets.map { $0 == ignored ? 0 : weight }
        case .masked:
            let weight = 1 / Float(max(1, learned))
            self.weight = weight
            // One place where none was chosen, which does not count: losses look at rows, never at nothing.
            let chosen = all.indices.filter { all[$0] != ignored }
            places = chosen.isEmpty ? [0] : chosen.map(Int32.init)
            targets = chosen.isEmpty ? [ignored] : chosen.map { all[$0] }
            weights = chosen.isEmpty ? [0] : chosen.map { _ in weight }
        case .all:
            let weight = 1 / Float(max(1, size))
            self.weight = weight
            let present = batch.valid.map { valid in all.indices.filter { valid[$0] } }
            places = present?.map(Int32.init)
            // Where nothing was chosen the token itself is there to be seen.
            targets = (present ?? Array(all.indices)).map { all[$0] == ignored ? batch.tokens[$0] : all[$0] }
            weights = [Float](repeating: weight, count: targets.count)
        }
    }
}
