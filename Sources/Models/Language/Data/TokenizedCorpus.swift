import Dispatch
import RetortData
import RetortSupport
import Synchronization

/// All examples of a source as tokens, in the source's order, in 4 bytes a token: in memory up to 64 MiB, more in a file that only this
/// process sees (`ScratchFile`). Safe to use from several threads.
public final class TokenizedCorpus: Sendable {
    /// What became of the records.
    public struct Summary: Sendable, Equatable {
        /// Records read.
        public internal(set) var records = 0
        public internal(set) var examples = 0
        /// Examples of which a part was cut off.
        public internal(set) var cut = 0
        /// Records left out because they were too long.
        public internal(set) var tooLong = 0
        /// Records left out because nothing of them would be learned.
        public internal(set) var withoutTarget = 0
        /// Examples of which nothing is learned, for they are prompts that a model answers.
        public internal(set) var prompts = 0
        public internal(set) var tokens = 0
        /// Tokens that are learned.
        public internal(set) var targets = 0
        /// Tokens of an example: the median, the length that 99 in 100 do not exceed, the largest.
        public internal(set) var medianLength = 0
        public internal(set) var length99 = 0
        public internal(set) var longest = 0
    }

    public let summary: Summary
    /// Examples that stay side by side: 2 where each prompt has two answers, the better one first; else 1.
    public let group: Int
    /// Of each example the number of its record in the source.
    public let records: [Int32]
    /// The largest id of a token.
    public let largestToken: Int32
    /// Those that are learned as they are, others as −1 − token.
    private let marked: SpilledArray<Int32>
    /// Of each example where its tokens begin; one more at the end.
    private let offsets: [Int]
    /// By number, of the few examples that have one.
    private let seams: [Int: TokenizedExample.Seam]

    /// Examples.
    public var count: Int { records.count }

    /// Encodes every record of a source.
    /// - `threads`: how many encode at once; the result does not depend on it.
    /// - `onProgress`: called now and then with the records done, on the calling thread.
    /// - Throws: `RetortError` 65 for the first record that cannot be read or written as an example, for tokens beyond `vocabulary` and
    ///   when no example is left; 73 and 74 when many tokens find no room in the folder of temporary files; 75 when a signal asked to stop.
    public convenience init(
        _ source: some TextRecords, _ encoder: ExampleEncoder, threads: Int = 1,
        onProgress: (_ done: Int) -> Void = { _ in }
    ) throws {
        let builder = try CorpusBuilder(count: source.count, threads: threads, onProgress: onProgress) {
            number, block in
            block.add(try encoder.encode(source.record(number)), record: number)
        }
        try self.init(builder.placed(in: source))
    }

    /// A corpus of given examples.
    /// - `keepingPrompts`: also those of which nothing is learned.
    /// - `group`: how many of them stay side by side.
    /// - Throws: `RetortError` 65 when there is none; 73, 74.
    public convenience init(_ examples: [TokenizedExample], keepingPrompts: Bool = false, group: Int = 1) throws {
        try self.init(count: examples.count, keepingPrompts: keepingPrompts, group: group) { examples[$0] }
    }

    /// A corpus of examples that are made one after the other, so that they are never all in memory.
    /// - `keepingPrompts`, `group`: as above.
    /// - `make`: the example of a number, from 0 to `count` − 1.
    /// - Throws: `RetortError` 65 when there is none; 73, 74; what `make` throws.
    public convenience init(
        count: Int, keepingPrompts: Bool = false, group: Int = 1, _ make: (_ number: Int) throws -> TokenizedExample
    ) throws {
        let builder = CorpusBuilder(group: group)
        for number in 0..<count {
            let example = try make(number)
            let isKept = keepingPrompts || example.targetCount > 0
            try builder.add(isKept ? .example(example, isCut: false) : .withoutTarget, record: number)
        }
        try self.init(builder)
    }

    /// Two parts of it: each n-th example, the first among them, and the others.
    /// - Throws: `RetortError` 65 when there are no others; 73, 74.
    public func parted(every: Int) throws -> (others: TokenizedCorpus, each: TokenizedCorpus) {
        func part(_ isEach: Bool) throws -> TokenizedCorpus {
            let numbers = (0..<count).filter { ($0 % every == 0) == isEach }
            return try TokenizedCorpus(count: numbers.count) { example(numbers[$0]) }
        }
        return (try part(false), try part(true))
    }

    /// - Throws: `RetortError` 65 when no example is left, 74 on a full disk.
    init(_ builder: CorpusBuilder) throws {
        guard builder.records.count > 0 else { throw builder.emptiness }
        guard builder.records.count % builder.group == 0 else {
            throw RetortError.internalBug("\(builder.records.count) examples in groups of \(builder.group)")
        }
        summary = builder.finishedSummary
        group = builder.group
        records = builder.records
        largestToken = builder.largest
        marked = try builder.marked.finish()
        offsets = builder.offsets
        seams = builder.seams
    }

    /// Examples that stay side by side count as one.
    public var groups: Int { count / group }

    /// The examples of some groups.
    public func members(of groups: [Int32]) -> [Int32] {
        group == 1 ? groups : groups.flatMap { first in (0..<Int32(group)).map { first * Int32(group) + $0 } }
    }

    /// Tokens of an example.
    public func length(of example: Int) -> Int { offsets[example + 1] - offsets[example] }

    /// - Parameter number: from 0 to `count` − 1.
    public func example(_ number: Int) -> TokenizedExample {
        var example = withMarked(number) { part in
            TokenizedExample(tokens: part.map { $0 < 0 ? -1 - $0 : $0 }, isTarget: part.map { $0 >= 0 })
        }
        example.seam = seams[number]
        return example
    }

    /// SHA-256 of tokens and targets: the same for two corpora that train alike. For resumes and caches.
    public var digest: String {
        var hash = ContentHash()
        offsets.withUnsafeBytes { hash.update($0) }
        marked.withUnsafeBufferPointer { hash.update(UnsafeRawBufferPointer($0)) }
        return hash.hexadecimal
    }

    /// Lends `body` an example's tokens, those that are learned as they are, others as −1 − token.
    func withMarked<Value>(_ example: Int, _ body: (UnsafeBufferPointer<Int32>) -> Value) -> Value {
        marked.withUnsafeBufferPointer {
            body(UnsafeBufferPointer(rebasing: $0[offsets[example]..<offsets[example + 1]]))
        }
    }
}

/// The examples of a few records, encoded by one thread.
struct CorpusBlock: Sendable {
    fileprivate var marked: [Int32] = []
    fileprivate var lengths: [Int] = []
    fileprivate var records: [Int32] = []
    fileprivate var seams: [Int: TokenizedExample.Seam] = [:]
    fileprivate var largest: Int32 = 0
    fileprivate var summary = TokenizedCorpus.Summary()
    /// Numbers of records that whoever adds them wants to know.
    var noted: [Int32] = []

    /// Two answers of one record, both of them or none: what is missing of one is missing of the pair.
    mutating func add(_ pair: (chosen: ExampleEncoder.Outcome, rejected: ExampleEncoder.Outcome), record: Int) {
        for outcome in [pair.chosen, pair.rejected] {
            guard case .example = outcome else { return add(outcome, record: record) }
        }
        add(pair.chosen, record: record)
        add(pair.rejected, record: record)
        summary.records -= 1
    }

    mutating func add(_ outcome: ExampleEncoder.Outcome, record: Int) {
        summary.records += 1
        switch outcome {
        case .tooLong: summary.tooLong += 1
        case .withoutTarget: summary.withoutTarget += 1
        case .example(let example, let isCut):
            if isCut { summary.cut += 1 }
            for (token, isTarget) in zip(example.tokens, example.isTarget) {
                marked.append(isTarget ? token : -1 - token)
                largest = max(largest, token)
            }
            seams[lengths.count] = example.seam
            lengths.append(example.count)
            records.append(Int32(clamping: record))
            summary.targets += example.targetCount
            if example.targetCount == 0 { summary.prompts += 1 }
        }
    }
}

/// Puts blocks together.
final class CorpusBuilder {
    fileprivate let marked = SpilledArrayWriter<Int32>()
    fileprivate var largest: Int32 = 0
    fileprivate var offsets = [0]
    fileprivate var records: [Int32] = []
    fileprivate var seams: [Int: TokenizedExample.Seam] = [:]
    var summary = TokenizedCorpus.Summary()
    private(set) var noted: [Int32] = []
    /// Where the records are; nil: in no file.
    private var file: String?

    /// As `TokenizedCorpus.group`.
    let group: Int

    var isEmpty: Bool { records.isEmpty }

    init(group: Int = 1) { self.group = group }

    /// Encodes so many records, some at once, in order.
    /// - Parameters:
    ///   - group: as `TokenizedCorpus.group`.
    ///   - threads: how many encode at once; the result does not depend on it.
    ///   - onProgress: called now and then with the records done, on the calling thread.
    ///   - encode: adds the record of a number to a block.
    /// - Throws: the first error in the order of the records, whichever thread was first; `RetortError` 73 and 74 where tokens go to a file that
    ///   finds no room; 75 when a signal asked to stop.
    init(
        count: Int, group: Int = 1, threads: Int, onProgress: (_ done: Int) -> Void = { _ in },
        _ encode: @Sendable (_ number: Int, _ block: inout CorpusBlock) throws -> Void
    ) throws {
        self.group = group
        let wave = max(1, threads) * Self.blockRecords
        for start in stride(from: 0, to: count, by: wave) {
            guard !StopSignal.isRequested else {
                throw RetortError.stopped("stopped while the data were encoded", why: "nothing was trained yet")
            }
            let end = min(start + wave, count)
            for block in try Self.blocks(start..<end, encode) { try add(block) }
            onProgress(end)
        }
    }

    /// The same; where nothing is left of the records, their file is looked up.
    func placed(in source: some TextRecords) throws -> CorpusBuilder {
        if isEmpty, source.count > 0 { file = try source.record(0).place?.file }
        return self
    }

    private static let blockRecords = 128

    private static func blocks(
        _ range: Range<Int>, _ encode: @Sendable (Int, inout CorpusBlock) throws -> Void
    ) throws -> [CorpusBlock] {
        let count = (range.count + blockRecords - 1) / blockRecords
        let blocks = Mutex([Result<CorpusBlock, any Error>?](repeating: nil, count: count))
        DispatchQueue.concurrentPerform(iterations: count) { index in
            let start = range.lowerBound + index * blockRecords
            let block = Result {
                var block = CorpusBlock()
                for number in start..<min(start + blockRecords, range.upperBound) { try encode(number, &block) }
                return block
            }
            blocks.withLock { $0[index] = block }
        }
        return try blocks.withLock { try $0.compactMap { try $0?.get() } }
    }

    /// - Throws: `RetortError` 73, 74.
    func add(_ block: CorpusBlock) throws {
        try marked.append(block.marked)
        for (number, seam) in block.seams { seams[records.count + number] = seam }
        largest = max(largest, block.largest)
        for length in block.lengths { offsets.append(offsets[offsets.count - 1] + length) }
        records += block.records
        summary.records += block.summary.records
        summary.cut += block.summary.cut
        summary.tooLong += block.summary.tooLong
        summary.withoutTarget += block.summary.withoutTarget
        summary.targets += block.summary.targets
        summary.prompts += block.summary.prompts
        noted += block.noted
    }

    /// Adds what became of one record.
    /// - Throws: `RetortError` 73, 74.
    func add(_ outcome: ExampleEncoder.Outcome, record: Int) throws {
        var block = CorpusBlock()
        block.add(outcome, record: record)
        try add(block)
    }

    var finishedSummary: TokenizedCorpus.Summary {
        var summary = summary
        let lengths = zip(offsets.dropFirst(), offsets).map { $0 - $1 }.sorted()
        summary.examples = records.count
        summary.tokens = offsets[offsets.count - 1]
        summary.medianLength = lengths[(lengths.count - 1) / 2]
        summary.length99 = lengths[(lengths.count * 99 + 99) / 100 - 1]
        summary.longest = lengths[lengths.count - 1]
        return summary
    }

    var emptiness: RetortError {
        guard summary.records > 0 else {
            return .badData(
                "there is no record to learn from",
                help: "Add some: what is kept for the test, the first record and each n-th after it, is not learned.")
        }
        var reasons: [String] = []
        if summary.tooLong > 0 { reasons.append("\(summary.tooLong) are longer than `max-length`") }
        if summary.withoutTarget > 0 { reasons.append("of \(summary.withoutTarget) nothing would be learned") }
        return .badData(
            "no example is left of \(summary.records) records", at: file.map { RetortError.Location(file: $0) },
            why: reasons.joined(separator: ", "),
            help: reasons.isEmpty ? "" : "Raise `max-length`; check that the records have answers, and `targets`.")
    }
}
