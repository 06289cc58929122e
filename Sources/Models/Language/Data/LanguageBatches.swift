import RetortRuntime
import RetortSupport

/// The batches of a corpus, epoch after epoch.
///
///     let batches = try LanguageBatches(corpus, batch: 8, packing: .examples, length: 512, seed: 1)
///     let epoch = batches.epoch(0)
///     for step in 0..<epoch.steps { train(on: epoch.batch(step)) }
///
/// The order is a function of seed and epoch, the rows one of order and lengths: nothing has to be saved for a resume but the numbers of the
/// epoch and of the step.
public struct LanguageBatches: Sendable {
    public let corpus: TokenizedCorpus
    /// Groups of examples of a batch (`TokenizedCorpus.group`), which are its rows where examples are by themselves; the last of an epoch may
    /// have fewer.
    public let batch: Int
    public let packing: Packing
    /// Tokens of a packed row; nil without packing.
    public let length: Int?
    /// The length of rows that are not packed is rounded up to a multiple of this.
    public let multiple: Int
    /// The token that fills rows up.
    public let pad: Int32
    /// nil: in the corpus's order, every epoch.
    public let seed: UInt64?
    /// Which tokens are to be guessed; nil: each is predicted from those before it.
    public let masking: TokenMasking?

    /// - Throws: `RetortError` 78 for impossible numbers, for masks or pairs of answers in packed rows, and when a packed row is shorter than an example that must
    ///   stay whole.
    public init(
        _ corpus: TokenizedCorpus, batch: Int, packing: Packing = .none, length: Int? = nil, multiple: Int = 1,
        pad: Int32 = 0, seed: UInt64?, masking: TokenMasking? = nil
    ) throws {
        guard masking == nil || packing == .none else {
            throw RetortError.recipe("masked tokens in packed rows", why: "an encoder's tokens would see other texts")
        }
        guard corpus.group == 1 || packing == .none else {
            throw RetortError.recipe(
                "pairs of answers in packed rows", why: "a row is one answer behind its prompt",
                help: "Say `packing: none`.")
        }
        guard batch >= 1 else { throw RetortError.recipe("a batch of \(batch) rows") }
        guard multiple >= 1 else { throw RetortError.recipe("rows rounded up to a multiple of \(multiple)") }
        if packing != .none {
            guard let length, length >= 2 else {
                throw RetortError.recipe(
                    "packing: \(packing.rawValue) with rows of \(length.map { "\($0)" } ?? "no given length")",
                    why: "a row needs two tokens, one to learn", help: "Say how long rows are: `max-length: 1024`.")
            }
            guard packing == .split || corpus.summary.longest <= length else {
                throw RetortError.recipe(
                    "an example has \(corpus.summary.longest) tokens, a packed row \(length)",
                    help: "Give both the same `max-length`, or say `packing: split`.")
            }
        }
        self.corpus = corpus
        self.batch = batch
        self.packing = packing
        self.length = packing == .none ? nil : length
        self.multiple = multiple
        self.pad = pad
        self.seed = seed
        self.masking = masking
    }

    /// The examples in the order of an epoch.
    public func order(epoch: Int) -> [Int32] {
        guard let seed else { return (0..<Int32(corpus.count)).map { $0 } }
        // A seed for each epoch, drawn from the run's.
        let epochs = Philox(seed: seed, stream: Philox.stream("text/epochs"))
        let words = epochs.block(UInt64(epoch))
        return corpus.members(
            of: Philox(seed: UInt64(words.0) << 32 | UInt64(words.1), stream: Philox.stream("text/shuffle"))
                .permutation(corpus.groups))
    }

    /// The plan of an epoch; keep it while the epoch lasts.
    public func epoch(_ number: Int) -> LanguageEpoch {
        let order = order(epoch: number)
        let lengths = { (example: Int32) in corpus.length(of: Int(example)) }
        let plan: RowPlan
        switch packing {
        case .none: plan = .single(order, length: lengths)
        case .examples: plan = .firstFit(order, rowLength: length ?? 0, length: lengths)
        case .split: plan = .split(order, rowLength: length ?? 0, length: lengths)
        }
        return LanguageEpoch(number: number, batches: self, plan: plan)
    }

    /// Some examples side by side, one a row, whatever the packing.
    /// - `firstSample`: what the first row is masked by, the next by the number behind it; see `TokenMasking`.
    public func batch(of examples: [Int32], firstSample: Int = 0) -> LanguageBatch {
        let longest = examples.map { corpus.length(of: Int($0)) }.max() ?? 0
        let length = (longest + multiple - 1) / multiple * multiple
        if let masking {
            return LanguageBatch(
                corpus, examples, masking, samples: examples.indices.map { firstSample + $0 }, length: length, pad: pad)
        }
        let plan = RowPlan.single(examples) { corpus.length(of: Int($0)) }
        return LanguageBatch(corpus, plan, rows: 0..<plan.count, length: length, pad: pad, isPacked: false)
    }

    /// Epoch and step after `steps` steps from the beginning.
    public func position(afterSteps steps: Int) -> (epoch: Int, step: Int) {
        // Packed rows may be more in one order than in another: those epochs are counted one by one.
        if packing == .none {
            let every = (corpus.groups + batch - 1) / batch
            return (steps / every, steps % every)
        }
        var (number, left) = (0, steps)
        while true {
            let here = epoch(number).steps
            if left < here { return (number, left) }
            left -= here
            number += 1
        }
    }
}

/// The rows of one epoch.
public struct LanguageEpoch: Sendable {
    public let number: Int
    private let batches: LanguageBatches
    private let plan: RowPlan

    init(number: Int, batches: LanguageBatches, plan: RowPlan) {
        self.number = number
        self.batches = batches
        self.plan = plan
    }

    public var rows: Int { plan.count }
    public var steps: Int { (plan.count + most - 1) / most }

    /// Rows of a batch.
    private var most: Int { batches.batch * batches.corpus.group }

    private func rows(_ step: Int) -> Range<Int> { step * most..<min((step + 1) * most, plan.count) }

    /// - Parameter step: from 0 to `steps` − 1.
    public func batch(_ step: Int) -> LanguageBatch {
        let rows = rows(step)
        if let masking = batches.masking {
            // A text that comes in every epoch is masked in another way each time.
            let examples = examples(step)
            return LanguageBatch(
                batches.corpus, examples, masking, samples: examples.map { number * batches.corpus.count + Int($0) },
                length: longest(rows), pad: batches.pad)
        }
        return LanguageBatch(
            batches.corpus, plan, rows: rows, length: batches.length ?? longest(rows), pad: batches.pad,
            isPacked: batches.packing != .none)
    }

    private func longest(_ rows: Range<Int>) -> Int {
        let tokens = rows.map { plan[$0].reduce(0) { $0 + Int($1.count) } }.max() ?? 0
        return (tokens + batches.multiple - 1) / batches.multiple * batches.multiple
    }

    /// The examples that a step looks at, in the order of its rows: numbers in the corpus, whose `records` say where they come from.
    public func examples(_ step: Int) -> [Int32] {
        rows(step).flatMap { plan[$0].map(\.example) }
    }

    /// The share of places that no padding stands in.
    public var fill: Double {
        let tokens = plan.pieces.reduce(0) { $0 + Int($1.count) }
        let places =
            batches.length.map { $0 * plan.count } ?? (0..<steps).reduce(0) { $0 + longest(rows($1)) * rows($1).count }
        return places == 0 ? 1 : Double(tokens) / Double(places)
    }
}
