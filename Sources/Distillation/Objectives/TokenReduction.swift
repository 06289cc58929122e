import RetortModels
import RetortSupport

/// How the losses of a batch's tokens become one number, whatever parts the batch is gone through in. A sequence is what sees itself: a row, or of
/// packed rows a document's piece in one. Only tokens that count (learned, not padding) are in a sum, and only sequences that have such a token in a
/// number of sequences.
public enum TokenReduction: String, Sendable, CaseIterable {
    /// Σ / tokens: a token weighs the same in a short and in a long sequence.
    case tokenMean = "token-mean"
    /// The mean over sequences of the mean over a sequence's tokens: a token of a short sequence weighs more (ULD's code, GRPO).
    case sequenceMean = "sequence-mean"
    /// Σ / sequences: `KLDivLoss(reduction: batchmean)` of logits `[batch, length, classes]` (BabyLlama); longer sequences have larger gradients.
    case batchMean = "batch-mean"
    /// Σ / (tokens · classes): `KLDivLoss` and `mean()` unasked.
    case elementMean = "element-mean"
    /// Σ.
    case sum

    /// The key `reduction` of a loss; empty for one that has a way of its own.
    static func field(of type: any LanguageObjective.Type) -> [RecipeField] {
        guard !type.reductions.isEmpty else { return [] }
        return [
            RecipeField(
                "reduction", .choice(type.reductions.map(\.rawValue)), .defaulted(TokenReduction.tokenMean.rawValue),
                "how the tokens of a step become one number, labels that alpha leaves weight to included: token-mean over all that count; sequence-mean over each "
                    + "sequence's and then over sequences; batch-mean sums over tokens and divides by the sequences; "
                    + (type.reductions.contains(.elementMean) ? "element-mean divides by the classes too; " : "")
                    + "sum")
        ]
    }

    /// Of a loss that has the key, else `tokenMean`.
    init(_ recipe: RecipeNode) {
        self = recipe["reduction"].flatMap { TokenReduction(rawValue: $0.text) } ?? .tokenMean
    }

    /// A contract that says "mean over" some tokens with this reduction in its place.
    /// - Parameter tokens: in words, as the contract has them.
    func stated(in contract: String, over tokens: String) -> String {
        let mean = "mean over \(tokens)"
        let own =
            switch self {
            case .tokenMean: mean
            case .sequenceMean: "mean over sequences of the \(mean) of each"
            case .batchMean: "sum over \(tokens) / sequences"
            case .elementMean: "\(mean) and \(RowReduction.classes(in: contract))"
            case .sum: "sum over \(tokens)"
            }
        return contract.replacing(mean, with: own)
    }

    /// What the loss at each of some places is multiplied by, so that parts of a batch add up to the reduction.
    /// - Parameters:
    ///   - tokens: that count in the whole batch.
    ///   - sequences: of the whole batch that have such a token.
    ///   - classes: of the logits.
    ///   - own: of each place its sequence, nil where nothing counts. All tokens of a sequence are in one part.
    func weights(tokens: Int, sequences: Int, classes: Int, own: [Int?]) -> [Float] {
        func all(_ weight: Float) -> [Float] { own.map { $0 == nil ? 0 : weight } }
        switch self {
        case .tokenMean: return all(1 / Float(max(1, tokens)))
        case .batchMean: return all(1 / Float(max(1, sequences)))
        case .elementMean: return all(1 / (Float(max(1, tokens)) * Float(max(1, classes))))
        case .sum: return all(1)
        case .sequenceMean:
            let lengths = own.reduce(into: [Int: Int]()) { counts, sequence in
                if let sequence { counts[sequence, default: 0] += 1 }
            }
            return own.map { sequence in
                guard let sequence, let length = lengths[sequence] else { return 0 }
                return 1 / (Float(max(1, sequences)) * Float(length))
            }
        }
    }
}

/// How many sequences of a batch, which may come in parts, have a token that counts, by the places that a loss looks at.
struct SequenceCount: Sendable {
    private var learned = 0
    private var present = 0
    private var chosen = 0

    init(_ parts: [LanguageBatch]) {
        for part in parts {
            let learned = Set(part.targets.indices.filter { part.targets[$0] >= 0 }.map { part.sequence(of: $0) })
            self.learned += learned.count
            // Of pairs of answers every second row is the better one.
            chosen += learned.count { $0 / part.length % 2 == 0 }
            present +=
                Set(part.tokens.indices.filter { part.valid?[$0] ?? true }.map { part.sequence(of: $0) }).count
        }
    }

    subscript(places: TermPlaces) -> Int {
        switch places {
        case .next, .masked: learned
        case .chosen: chosen
        case .all: present
        }
    }
}

extension LanguageBatch {
    /// A number of its own for what sees itself: the row, or of packed rows the document in it.
    /// - Parameter place: row-major, no padding.
    func sequence(of place: Int) -> Int { place / length * length + Int(documents?[place] ?? 0) }
}
