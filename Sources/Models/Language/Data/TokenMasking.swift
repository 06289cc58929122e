import RetortRuntime

/// Which tokens of a text are to be guessed, and what stands in their place (Devlin et al. 2018, arXiv:1810.04805).
public struct MaskingRule: Sendable {
    /// How likely a token that may be chosen is chosen; each for itself, so that the count varies.
    public var rate: Double
    /// Of those chosen, the share that is hidden behind the mask token, and the share that another token stands for, drawn from all of the
    /// vocabulary; the others stay as they are.
    public var maskShare: Double
    public var randomShare: Double
    public var mask: Int32
    /// Tokens that may stand for another: ids below this.
    public var vocabulary: Int
    /// By token: whether it goes on with the word of the token before it. Words then are chosen as a whole; nil: tokens are.
    public var continuesWord: [Bool]?

    public init(
        rate: Double = 0.15, maskShare: Double = 0.8, randomShare: Double = 0.1, mask: Int32, vocabulary: Int,
        continuesWord: [Bool]? = nil
    ) {
        precondition(
            (0...1).contains(rate) && maskShare >= 0 && randomShare >= 0 && maskShare + randomShare <= 1
                && vocabulary > 0)
        (self.rate, self.maskShare, self.randomShare) = (rate, maskShare, randomShare)
        (self.mask, self.vocabulary, self.continuesWord) = (mask, vocabulary, continuesWord)
    }
}

/// A rule and what it draws by. What becomes of a token is a function of seed, sample and place in the text: the same in a batch of any size, gone
/// through in any parts, and after a resume.
public struct TokenMasking: Sendable {
    public let rule: MaskingRule
    private let choices: Philox
    private let others: Philox

    public init(_ rule: MaskingRule, seed: UInt64) {
        self.rule = rule
        choices = Philox(seed: seed, stream: Philox.stream("mask/choices"))
        others = Philox(seed: seed, stream: Philox.stream("mask/others"))
    }

    /// What the model sees of a text, and what it has to say: the token that was there where it was chosen, else `LanguageBatch.ignored`.
    /// - Parameters:
    ///   - tokens: of the text.
    ///   - mayChoose: of each token; special ones may not be.
    ///   - sample: of the training: a text that comes again is another.
    public func callAsFunction(_ tokens: [Int32], mayChoose: [Bool], sample: Int) -> (tokens: [Int32], targets: [Int32])
    {
        var seen = tokens
        var targets = [Int32](repeating: LanguageBatch.ignored, count: tokens.count)
        var isChosen = false
        for place in tokens.indices {
            // 2²⁴ places of a text, 2⁴⁰ texts of a training.
            let counter = UInt64(sample) << 24 | UInt64(place)
            let words = choices.block(counter)
            guard mayChoose[place] else {
                isChosen = false
                continue
            }
            let goesOn = place > 0 && mayChoose[place - 1] && rule.continuesWord?[Int(tokens[place])] ?? false
            if !goesOn { isChosen = Self.uniform(words.0) < rule.rate }
            guard isChosen else { continue }
            targets[place] = tokens[place]
            let fate = Self.uniform(words.1)
            if fate < rule.maskShare {
                seen[place] = rule.mask
            } else if fate < rule.maskShare + rule.randomShare {
                seen[place] = Int32(others.integer(counter, below: UInt32(rule.vocabulary)))
            }
        }
        return (seen, targets)
    }

    /// In [0, 1).
    private static func uniform(_ word: UInt32) -> Double { Double(word) * 0x1p-32 }
}

extension Tokenizer {
    /// By token: whether it goes on with a word that an earlier one began, as WordPiece marks it ("##ing"); nil where no token is marked so.
    public var continuesWord: [Bool]? {
        let marks = (0..<Int32(idLimit)).map { token($0)?.hasPrefix("##") ?? false }
        return marks.contains(true) ? marks : nil
    }
}
