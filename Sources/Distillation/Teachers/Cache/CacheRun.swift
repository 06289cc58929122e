import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// `retort cache`: reads the texts of a recipe with its teacher, those to learn from and those that are held out, and keeps what
/// `teacher: {cache: …}` learns from and is measured by.
public final class CacheRun {
    public let path: String
    private let data: CachedTexts
    private let pad: Int32
    private let reading: TeacherReading
    private let writer: TeacherCacheWriter
    private let batch: Int
    private let progress: Progress
    /// Numbers of texts that are not there yet, the short ones first: a batch has little padding.
    private let missing: [Int]
    private var sums = Sums()

    /// What came out.
    public struct Summary: Sendable {
        public let path: String
        /// Texts, and their learned tokens.
        public let examples: Int
        public let tokens: Int
        /// Of the texts, those that are held out.
        public let heldOut: Int
        /// Of these, read now.
        public let readExamples: Int
        public let readTokens: Int
        /// What was foretold and what came out, in bytes for a learned token; nil where nothing was read.
        public let estimatedBytesPerToken: Double?
        public let bytesPerToken: Double?
        /// Bytes of all shards.
        public let bytes: Int
        /// Mean probability of the classes that are not kept, by temperature, before anything was rounded; empty where nothing was read.
        public let residual: [(temperature: Double, mass: Double)]
    }

    /// Opens everything and reads nothing.
    /// - `output`: nil: where the recipe says that the cache is.
    /// - `states`: what hidden states are stored as, where the recipe's losses ask for some: f16, bf16 or f32.
    /// - `batch`: texts that are read side by side.
    /// - Throws: `RetortError` 64 without a place for the cache; 65, 66, 74 for files; 73 for a folder with something else; 78 for a recipe
    ///   whose teacher is no directory or whose data are not whole texts.
    public init(
        _ recipe: any RunnableRecipe, output: String?, kept: KeptClasses, bits: Int, states: DType, batch: Int,
        on device: Device, progress: Progress
    ) throws {
        guard let recipe = recipe as? LanguageRecipe else {
            throw RetortError.recipe("only language models have a cache of their predictions")
        }
        guard recipe.teachers.count <= 1 else {
            throw RetortError.recipe(
                "a cache is of one teacher, and the recipe has \(recipe.teachers.count)",
                at: recipe.teachers[1].location,
                help: "make each one's cache from a recipe with `teacher: {path: …}`")
        }
        let teacher = recipe.teachers.first
        guard let folder = teacher?.spec?.directory else {
            throw RetortError.recipe(
                "the recipe has no teacher's directory", at: teacher?.location,
                help: "Add `path` to its teacher; one that a recipe trains is in its run's teacher/seed-<n>/final.")
        }
        guard let path = output ?? teacher?.cache else {
            throw RetortError.usage(
                "nothing says where the cache is to be",
                help: "give --output, or the recipe `teacher: {cache: DIRECTORY}`")
        }
        try recipe.checkData()
        let examples = try recipe.data.load(tokenizers: recipe.tokenizers) { progress.line($0) }
        try examples.checkWholeTexts()
        try Self.checkTokenizer(folder, examples, at: teacher?.location)
        guard let corpus = examples.train.answered else {
            throw RetortError.recipe(
                "a cache is of the teacher's predictions of answers, and the data have none",
                at: recipe.data.location, why: examples.train.whereFirst,
                help: "let the teacher sit beside its student: give it a `path`, and the arms `rollouts`")
        }
        let dtype = teacher?.dtype ?? .f32
        let model = try LanguageModelDirectory.load(folder, on: device, trains: false, dtype: dtype).model
        let read = [corpus, examples.test.answered].compactMap { $0 }
        try model.checkReach(
            longest: read.map(\.summary.longest).max() ?? 0, largest: read.map(\.largestToken).max() ?? 0,
            as: "teacher", at: teacher?.location)
        let signals = try recipe.cachedSignals(of: model, states, on: device)
        // Of a head that is longer than the tokenizer the tokens alone: students have heads of other lengths.
        let vocabulary = min(model.vocabulary, examples.tokenizer?.tokens ?? model.vocabulary)
        let identity = CacheIdentity(
            teacher: try LanguageModelDirectory.digest(folder, dtype: dtype), tokenizer: try examples.tokenizerDigest(),
            vocabulary: vocabulary, kept: kept.clamped(to: vocabulary), bits: bits, signals: signals,
            config: model.json)
        let writer = try TeacherCacheWriter(path, identity: identity)
        let texts = CachedTexts(train: corpus, heldOut: examples.test.answered)
        self.path = path
        self.writer = writer
        self.batch = batch
        self.progress = progress
        data = texts
        pad = examples.pad
        reading = TeacherReading(
            model: model, vocabulary: vocabulary, kept: identity.kept, signals: signals, device: device)
        var seen: Set<CacheAddress> = []
        missing = (0..<texts.count).filter { number in
            let example = texts.example(number)
            let address = writer.cache.address(example.tokens)
            // The same text twice is one record.
            return !writer.has(address, rows: example.targetCount) && seen.insert(address).inserted
        }.sorted { (texts.length(of: $0), $0) < (texts.length(of: $1), $1) }
    }

    /// A cache has the predictions of a text's tokens, by their ids.
    private static func checkTokenizer(
        _ folder: String, _ data: LanguageExamples, at place: RetortError.Location?
    ) throws {
        guard let own = data.tokenizer, LanguageModelDirectory.hasTokenizer(folder),
            try LanguageModelDirectory.tokenizerDigest(folder) != LanguageModelDirectory.tokenizerDigest(own.folder)
        else { return }
        let bridge = try TokenBridge(from: Tokenizer.load(own.folder), to: Tokenizer.load(folder))
        let isSame =
            bridge.isIdentity
            || bridge.shared.count == bridge.sizes.source && bridge.shared.studentIDs == bridge.shared.teacherIDs
        guard isSame else {
            throw RetortError.recipe(
                "the teacher in \(folder.quoted(limit: 200)) has another tokenizer than the data's in \(own.folder.quoted(limit: 200))",
                at: place, why: "a cache is of one vocabulary: the ids of the texts, of the teacher and of the student",
                help: "let the teacher read beside its student: give it a `path` without a `cache`")
        }
    }

    /// Reads what is missing, some texts of all lengths first, to tell how much it will be.
    /// - Throws: `RetortError` 65 for predictions that are not finite, 74, 75 when a signal asked to stop: whole records are kept.
    public func run() throws -> Summary {
        let grouped = NumberFormat.grouped
        let tokens = missing.reduce(0) { $0 + data.example($1).targetCount }
        progress.line(
            "\(path.displayable): \(grouped(data.count)) texts (\(grouped(data.heldOut)) of them to measure on), "
                + "\(grouped(missing.count)) to read, \(grouped(tokens)) tokens; "
                + "\(writer.identity.kept.words) of \(grouped(writer.identity.vocabulary))"
        )
        let signals = writer.identity.signals
        if !signals.signals.isEmpty {
            progress.line("\(signals.words): \(grouped(signals.bytes)) bytes for each token of a text beside that")
        }
        let sampled = Set(
            (0..<min(Self.sample, missing.count)).map { missing[$0 * missing.count / min(Self.sample, missing.count)] })
        try read(missing.filter { sampled.contains($0) }, of: tokens)
        let estimate = sums.bytesPerToken
        if let estimate {
            progress.line(
                "\(NumberFormat.significant(estimate)) bytes a token (of \(sampled.count) texts): "
                    + "\(NumberFormat.bytes(writer.cache.bytes + Int(estimate * Double(tokens)))) in all")
        }
        try read(missing.filter { !sampled.contains($0) }, of: tokens)
        try writer.finish()
        return Summary(
            path: path, examples: data.count, tokens: data.targets, heldOut: data.heldOut, readExamples: missing.count,
            readTokens: sums.tokens, estimatedBytesPerToken: estimate, bytesPerToken: sums.bytesPerToken,
            bytes: writer.bytes, residual: sums.residual)
    }

    /// Texts that the size is foretold from.
    static let sample = 32

    private func read(_ texts: [Int], of tokens: Int) throws {
        for start in stride(from: 0, to: texts.count, by: batch) {
            let examples = texts[start..<min(texts.count, start + batch)].map(data.example)
            let rows = try LanguageBatches(TokenizedCorpus(examples), batch: examples.count, pad: pad, seed: nil)
            let records = try reading.records(rows.batch(of: Array(0..<Int32(examples.count))))
            for (record, example) in zip(records, examples) {
                let before = writer.writtenBytes
                try writer.add(record, at: writer.cache.address(example.tokens))
                sums.add(record, bytes: writer.writtenBytes - before)
            }
            progress.status("\(NumberFormat.grouped(sums.tokens)) of \(NumberFormat.grouped(tokens)) tokens")
            if StopSignal.isRequested {
                try writer.finish()
                throw RetortError.stopped(
                    "stopped by \(StopSignal.name ?? "a signal")",
                    why: "\(NumberFormat.grouped(sums.tokens)) tokens are kept",
                    help: "The same command goes on from there.")
            }
        }
    }

    private struct Sums {
        var tokens = 0
        var bytes = 0
        var masses = [Double](repeating: 0, count: Self.temperatures.count)
        static let temperatures: [Double] = [1, 2, 4]

        var bytesPerToken: Double? { tokens > 0 ? Double(bytes) / Double(tokens) : nil }
        var residual: [(temperature: Double, mass: Double)] {
            tokens > 0 ? zip(Self.temperatures, masses).map { ($0, $1 / Double(tokens)) } : []
        }

        mutating func add(_ record: CacheRecord, bytes: Int) {
            tokens += record.rows.count
            self.bytes += bytes
            for row in record.rows {
                for (index, temperature) in Self.temperatures.enumerated() {
                    masses[index] += row.residual(at: temperature)
                }
            }
        }
    }
}

/// The texts of a recipe, those to learn from and then those that are held out.
private struct CachedTexts {
    let train: TokenizedCorpus
    /// nil: no text that is held out has an answer.
    let test: TokenizedCorpus?

    init(train: TokenizedCorpus, heldOut test: TokenizedCorpus?) {
        self.train = train
        self.test = test
    }

    var count: Int { train.count + heldOut }
    var heldOut: Int { test?.count ?? 0 }
    /// Learned tokens.
    var targets: Int { train.summary.targets + (test?.summary.targets ?? 0) }

    func length(of text: Int) -> Int {
        guard text >= train.count, let test else { return train.length(of: text) }
        return test.length(of: text - train.count)
    }

    func example(_ text: Int) -> TokenizedExample {
        guard text >= train.count, let test else { return train.example(text) }
        return test.example(text - train.count)
    }
}

extension LanguageRecipe {
    /// The hidden states that its losses ask of the teacher, of those that a cache can serve.
    /// - Throws: `RetortError` 65, 66 for the student's files; 78 where a loss does not fit the models.
    fileprivate func cachedSignals(of teacher: any LanguageModel, _ dtype: DType, on device: Device) throws
        -> KeptSignals
    {
        // A student without bytes: all that is asked is which of its blocks look at which of the teacher's.
        let nowhere = Device(.planned(PlannedDevice()))
        let model = try student.make(
            vocabulary: teacher.vocabulary, settings: teacher.json, seed: 0, on: nowhere
        ).model
        let width = try teacher.tokenWidth()
        let paths = try arms.reduce(into: Set<String>()) { paths, arm in
            let asked = arm.teachers.map { LanguageTeacher(teacher, $0, on: device) }
            let loss = try LanguageLoss(model, arm.terms, teachers: asked, name: arm.name, on: nowhere)
            for one in asked { paths.formUnion(loss.asked(of: one) { $0.objective.takesCachedTeacher }) }
        }
        return KeptSignals(paths.map { (path: $0, columns: width) }, dtype)
    }
}

extension KeptClasses {
    fileprivate func clamped(to vocabulary: Int) -> KeptClasses {
        switch self {
        case .top(let count): .top(min(count, vocabulary))
        case .mass(let share, let most): .mass(share, most: min(most, vocabulary))
        }
    }
}

extension CacheRun.Summary {
    public var json: JSON {
        [
            "cache": .string(path), "examples": .int(examples), "held_out": .int(heldOut), "tokens": .int(tokens),
            "read_examples": .int(readExamples),
            "read_tokens": .int(readTokens), "bytes": .int(bytes),
            "bytes_per_token": bytesPerToken.map { .double($0) } ?? .null,
            "estimated_bytes_per_token": estimatedBytesPerToken.map { .double($0) } ?? .null,
            "residual_mass": .object(
                residual.map { (key: NumberFormat.significant($0.temperature), value: .double($0.mass)) }),
        ]
    }

    public var text: String {
        let grouped = NumberFormat.grouped
        var lines = [
            "\(path.displayable): \(grouped(examples)) texts (\(grouped(heldOut)) to measure on), \(NumberFormat.bytes(bytes)); "
                + "\(grouped(readTokens)) tokens read now"
        ]
        if let bytesPerToken { lines.append("\(NumberFormat.significant(bytesPerToken)) bytes a token") }
        if !residual.isEmpty {
            let masses = residual.map {
                "\(NumberFormat.percent($0.mass, decimals: 2)) at T = \(NumberFormat.significant($0.temperature))"
            }
            lines.append("not kept, of the teacher's probability: " + masses.joined(separator: ", "))
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
