import RetortKernels
import RetortRuntime
import RetortSupport

/// How a model writes: how much, by which choice, and what ends a text.
public struct WritingOptions: Sendable {
    /// Tokens to write at most; fewer where the model has no position left.
    public var count: Int
    public var sampling: TokenSampling
    /// Tokens after which nothing follows; they are part of the answer.
    public var ends: Set<Int32>
    /// What the cache of keys and values holds, f32 or bf16; nil: what the model computes in.
    public var cacheType: DType?
    /// Only tokens below this are written: heads are often longer than their tokenizer, and no text has what is beyond. nil: all that the head
    /// has a row for.
    public var vocabulary: Int?

    public init(
        count: Int, sampling: TokenSampling = TokenSampling(), ends: Set<Int32> = [], cacheType: DType? = nil,
        vocabulary: Int? = nil
    ) {
        self.cacheType = cacheType
        self.vocabulary = vocabulary
        self.count = count
        self.sampling = sampling
        self.ends = ends
    }
}

extension WritingOptions {
    /// The same, of these tokens only.
    public func below(_ vocabulary: Int) -> WritingOptions {
        var options = self
        options.vocabulary = vocabulary
        return options
    }
}

/// Why a text is no longer.
public enum TextFinish: String, Sendable {
    /// The model ended it.
    case stop
    /// As many tokens as were asked for.
    case length
    /// The model has no position for a further one.
    case context

    init(_ tokens: [Int32], _ options: WritingOptions) {
        if tokens.last.map(options.ends.contains) ?? false {
            self = .stop
        } else {
            self = tokens.count < options.count ? .context : .length
        }
    }
}

extension LanguageModel {
    /// Continues prompts side by side, a token at a time. What is written to a prompt does not depend on its neighbours, but for the
    /// rounding of products of other sizes.
    /// - `prompts`: token ids, at least one each.
    /// - `texts`: numbers that draws go by, one for each prompt; nil: 0, 1, ….
    /// - `mixture`: another model that has a say in every token.
    /// - `onToken`: called with the place of the prompt and each token as it is chosen.
    /// - Returns: the new tokens of each.
    /// - Throws: `RetortError` 75 when a signal asked to stop.
    public func generate(
        _ prompts: [[Int32]], _ options: WritingOptions, texts: [Int]? = nil, mixture: WritingMixture? = nil,
        onToken: (_ prompt: Int, Int32) throws -> Void = { _, _ in }
    ) throws -> [[Int32]] {
        let texts = texts ?? Array(prompts.indices)
        var written = prompts.map { _ in [Int32]() }
        func goesOn(_ prompt: Int) -> Bool {
            written[prompt].count < options.count && prompts[prompt].count + written[prompt].count <= maxPositions
                && !(written[prompt].last.map(options.ends.contains) ?? false)
        }
        /// Tokens that can still be written to a prompt.
        func remaining(_ prompt: Int) -> Int {
            min(options.count, maxPositions + 1 - prompts[prompt].count) - written[prompt].count
        }
        // Which prompts the rows of the cache are; some of them may be finished.
        var rows = prompts.indices.filter(goesOn)
        guard !rows.isEmpty else { return written }
        setTraining(false)
        return try Autograd.withoutGradients {
            let tokens = min(options.vocabulary ?? vocabulary, vocabulary)
            let reader = CachedReader(self, vocabulary: tokens, cacheType: options.cacheType)
            let other = try mixture.map { try MixtureReader($0, writer: vocabulary, limit: options.vocabulary) }
            var next = try TokenBatch(prompts: rows.map { prompts[$0] }, pad: 0)
            var padding = next.padding ?? []
            /// The next token of each row.
            func choose() throws -> [Int32] {
                let own = try reader.logits(next)
                if written.allSatisfy(\.isEmpty) { try requireFinite(own) }
                let logits = try other?.mixed(own, next) ?? own
                return try options.sampling.choose(
                    logits, previous: rows.map { prompts[$0] + written[$0] },
                    draws: rows.map { .init(text: texts[$0], step: written[$0].count) })
            }
            while true {
                let passed = reader.leap { rows.filter(goesOn).map(remaining).min() ?? 0 }
                if passed > 0 {
                    other?.leap(over: passed)
                    for prompt in rows where goesOn(prompt) { written[prompt] += [Int32](repeating: 0, count: passed) }
                }
                let tokens = try reader.counting(1 + passed, choose)
                for (prompt, token) in zip(rows, tokens) where goesOn(prompt) {
                    written[prompt].append(token)
                    try onToken(prompt, token)
                }
                if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
                let left = rows.indices.filter { goesOn(rows[$0]) }
                guard !left.isEmpty else { return written }
                // Finished texts are read on until they are half of all: closing the ranks costs a copy of the cache.
                if 2 * left.count <= rows.count {
                    try reader.keep(left)
                    try other?.keep(left)
                    rows = left.map { rows[$0] }
                    padding = left.map { padding[$0] }
                }
                next = try TokenBatch(rows.map { written[$0].last ?? 0 }, padding: padding)
            }
        }
    }

    /// Greedy and drawn tokens alike would be any, were these not numbers.
    private func requireFinite(_ logits: Tensor) throws {
        let sums = try logits.sum(1)
        guard logits.device.plan == nil, try !sums.values().allSatisfy(\.isFinite) else { return }
        throw RetortError.diverged(
            "the model's logits are not finite", why: "its weights are too large, or NaN",
            help: "Perhaps its training diverged: take an earlier checkpoint.")
    }

    /// Continues one prompt.
    public func generate(
        _ prompt: [Int32], count: Int, sampling: TokenSampling = TokenSampling(), ends: Set<Int32> = [],
        onToken: (Int32) throws -> Void = { _ in }
    ) throws -> [Int32] {
        try generate([prompt], WritingOptions(count: count, sampling: sampling, ends: ends)) { try onToken($1) }[0]
    }
}

/// A model that reads tokens one behind the other.
struct CachedReader {
    private let model: any LanguageModel
    private let vocabulary: Int
    private let cache: KeyValueCache

    /// - Parameter vocabulary: rows of the head that are used.
    init(_ model: any LanguageModel, vocabulary: Int, cacheType: DType? = nil) {
        self.model = model
        self.vocabulary = vocabulary
        cache = KeyValueCache(layers: model.layerCount, dtype: cacheType)
    }

    /// Logits `[rows, vocabulary]` of what follows the last of these tokens.
    func logits(_ tokens: TokenBatch) throws -> Tensor {
        let states = try model.hidden(tokens, cache: cache, capturing: []).last
        let last = try states.narrowed(axis: 1, (tokens.length - 1)..<tokens.length)
        return try model.head().narrowed(to: vocabulary).logits(last.reshaped([tokens.rows, states.shape[2]]))
    }

    func keep(_ rows: [Int]) throws { try cache.keep(rows) }

    /// See `KeyValueCache.leap`.
    func leap(before left: () -> Int) -> Int { cache.device?.plan == nil ? 0 : cache.leap(before: left()) }
    func leap(over tokens: Int) { cache.advance(by: tokens) }

    /// Runs `body`, which stands for so many of its kind where tokens were passed over.
    func counting<T>(_ times: Int, _ body: () throws -> T) rethrows -> T {
        guard times > 1, let device = cache.device else { return try body() }
        return try device.counting(times: Double(times), body)
    }
}
