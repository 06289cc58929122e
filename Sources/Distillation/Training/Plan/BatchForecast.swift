import RetortModels

/// Which batches a training of texts is going to see, before it sees them: the order of examples is a function of the seed.
struct BatchForecast {
    /// Optimizer steps of one seed, and of one pass over the examples.
    let steps: Int
    let stepsPerEpoch: Int
    /// Examples of the batch with most tokens, padding included, and of one that is like the mean of all. Of packed rows any are.
    let largest: [Int32]
    let usual: [Int32]
    /// Their tokens.
    let tokens: (largest: Int, usual: Int)

    var epochs: Int { max(1, (steps + stepsPerEpoch - 1) / max(1, stepsPerEpoch)) }

    /// Examples that are looked at one by one; of longer trainings the largest batch that can be is taken.
    private static let mostExamples = 4_000_000

    /// - Parameters:
    ///   - batches: of the training; those of other seeds have the same examples in another order.
    ///   - length: tokens that an example has in a step.
    init(_ batches: LanguageBatches, _ spec: LanguageTrainSpec, seeds: [UInt64], length: (Int) -> Int) throws {
        let first = batches.epoch(0)
        stepsPerEpoch = first.steps
        switch spec.length {
        case .steps(let count): steps = count
        case .epochs(let count):
            // Packed rows may be more in one order than in another.
            steps =
                batches.packing == .none
                ? count * first.steps : (0..<count).reduce(0) { $0 + batches.epoch($1).steps }
        }
        if let row = batches.length {
            (largest, usual) = ([], [])
            let rows = min(batches.batch, first.rows)
            tokens = (rows * row, rows * row)
            return
        }
        let lengths = (0..<batches.corpus.count).map(length)
        func size(_ examples: [Int32]) -> Int { examples.count * (examples.map { lengths[Int($0)] }.max() ?? 0) }
        var best: (examples: [Int32], size: Int) = ([], -1)
        var seen: [(examples: [Int32], size: Int)] = []
        var left = Self.mostExamples
        for seed in seeds where left > 0 {
            let own = try LanguageBatches(
                batches.corpus, batch: batches.batch, multiple: batches.multiple, pad: batches.pad, seed: seed)
            let order = EpochOrder(seed: seed)
            var epoch = own.epoch(0)
            for step in 0..<steps where left > 0 {
                let (number, place) = step.quotientAndRemainder(dividingBy: max(1, first.steps))
                if number != epoch.number { epoch = own.epoch(number) }
                let examples =
                    spec.drawsWithReplacement
                    ? batches.corpus.members(
                        of: order.drawn(
                            (step * spec.batch)..<((step + 1) * spec.batch), count: batches.corpus.groups))
                    : epoch.examples(place)
                left -= examples.count
                let size = size(examples)
                // Of equal ones the one with the longest text: attention grows with its square.
                if size > best.size || size == best.size && examples.count < best.examples.count {
                    best = (examples, size)
                }
                if seen.count < 10_000 { seen.append((examples, size)) }
            }
        }
        if left <= 0 {
            // Too long to look at all of it: the longest example comes in a whole batch some time.
            let corpus = batches.corpus
            let longest = (0..<corpus.groups).map { first in
                (0..<corpus.group).map { lengths[first * corpus.group + $0] }.max() ?? 0
            }
            let byLength = longest.indices.sorted { (longest[$1], $0) < (longest[$0], $1) }
            let whole = byLength.prefix(1) + byLength.dropFirst().suffix(max(0, min(spec.batch, longest.count) - 1))
            let examples = corpus.members(of: whole.map(Int32.init))
            if size(examples) > best.size { best = (examples, size(examples)) }
        }
        let mean = seen.reduce(0) { $0 + Double($1.size) } / Double(max(1, seen.count))
        let near = seen.min { abs(Double($0.size) - mean) < abs(Double($1.size) - mean) } ?? best
        (largest, usual) = (best.examples, near.examples)
        tokens = (best.size, near.size)
    }
}
