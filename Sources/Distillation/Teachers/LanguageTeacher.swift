import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Who teaches a language model's student: a model, on the student's device or another, or what was kept of one's predictions.
final class LanguageTeacher {
    enum Source {
        case model(any LanguageModel, on: Device)
        case cache(TeacherCache)
    }
    /// What a loss calls it under `from`.
    let name: String
    let source: Source
    /// From the student's tokens to its own; nil where nobody asks for it.
    let bridge: TokenBridge?
    /// Whether its tokens are others than the student's.
    let isForeign: Bool
    /// Tokens that student and teacher both know, the first of either head; nil where no tokenizer says so.
    let tokens: Int?
    /// What it does when the student has taken a step.
    private let follow: (() throws -> Void)?
    /// The weights that follow the student's; nil for a teacher that stays as it is.
    let moving: View?

    /// - Parameter follow: for a teacher that learns from its student.
    init(
        _ name: String = Role.teacher, _ source: Source, bridge: TokenBridge? = nil, tokens: Int? = nil,
        moving: View? = nil, follow: (() throws -> Void)? = nil
    ) {
        self.name = name
        self.source = source
        self.bridge = bridge
        self.tokens = tokens
        isForeign = bridge.map { !$0.isIdentity } ?? false
        self.follow = follow
        self.moving = moving
    }

    convenience init(
        _ model: any LanguageModel, _ name: String = Role.teacher, bridge: TokenBridge? = nil, tokens: Int? = nil,
        on device: Device
    ) {
        self.init(name, .model(model, on: device), bridge: bridge, tokens: tokens)
    }

    /// nil where there are only its predictions.
    var model: (any LanguageModel)? { if case .model(let model, _) = source { model } else { nil } }

    /// What losses of inner signals know of it.
    /// - Throws: `RetortError` 65 for a cache whose description is of no model.
    func layers() throws -> any TokenLayers {
        switch source {
        case .model(let model, _): model
        case .cache(let cache): try CachedLayers(cache.identity, in: cache.folder)
        }
    }

    var cache: TeacherCache? { if case .cache(let cache) = source { cache } else { nil } }

    var vocabulary: Int {
        switch source {
        case .model(let model, _): model.vocabulary
        case .cache(let cache): cache.vocabulary
        }
    }

    /// Its config.json.
    var settings: JSON {
        switch source {
        case .model(let model, _): model.json
        case .cache(let cache): cache.identity.config
        }
    }

    /// Where its model is.
    var device: Device? { if case .model(_, let device) = source { device } else { nil } }

    func afterStep() throws { try follow?() }

    /// What it has to say of a batch, off the tape.
    struct Lesson {
        /// Everywhere, or of a model at some places, row-major numbers of them.
        private let predicted: ([Int32]?) throws -> TokenTeacher
        /// By path.
        let signals: [String: Tensor]

        init(_ signals: [String: Tensor] = [:], _ predicted: @escaping ([Int32]?) throws -> TokenTeacher) {
            (self.signals, self.predicted) = (signals, predicted)
        }

        func predictions(at places: [Int32]?) throws -> TokenTeacher { try predicted(places) }
    }

    /// - Parameters:
    ///   - tokens: the same as the batch's.
    ///   - alignment: how it is compared where it reads in tokens of its own; nil: it reads the student's.
    ///   - classes: of its predictions, the first ones; nil: all.
    ///   - paths: signals to keep, or that a cache has kept.
    ///   - device: the student's.
    func lesson(
        _ batch: LanguageBatch, _ tokens: TokenBatch, _ alignment: TokenAlignment? = nil, classes: Int? = nil,
        capturing paths: Set<String>, on device: Device
    ) throws -> Lesson {
        if let alignment {
            let translated = try reading(batch, alignment, on: device)
            return Lesson { _ in .translated(translated) }
        }
        switch source {
        case .cache(let cache):
            let (kept, signals) = try cache.lesson(batch, capturing: paths, on: device)
            return Lesson(signals) { _ in .kept(kept) }
        case .model(let model, let own):
            let (logits, signals) = try Self.read(
                tokens, by: model, on: own, for: device, classes: classes, capturing: paths)
            return Lesson(signals) { .live(try logits($0)) }
        }
    }

    /// ln p(target) at each place `[rows, length]`, 0 where there is none.
    /// - Throws: `RetortError` 70 where there is no model.
    func logProbabilities(_ batch: LanguageBatch) throws -> [Float] {
        guard case .model(let model, let own) = source else {
            throw RetortError.internalBug("a cache is asked for texts that it does not have")
        }
        return try model.logProbabilities(batch, on: own)
    }

    /// The classes over which a student is compared with teachers; nil where all have as many. Heads are often longer than their vocabulary
    /// (Qwen2.5: 151 665 tokens, heads of 151 936 and 152 064 rows): they are narrowed to it, never filled up.
    static func classes(of teachers: [LanguageTeacher], beside student: Int) -> Int? {
        teachers.allSatisfy { $0.isForeign || $0.vocabulary == student } ? nil : teachers.compactMap(\.tokens).min()
    }

    /// What several models predict together, the mean of their probabilities; nil where none is in memory.
    /// - Parameters:
    ///   - classes: the first ones; nil: all.
    ///   - places: row-major numbers of those that are asked about; nil: all.
    static func mean(
        _ teachers: [LanguageTeacher], of tokens: TokenBatch, classes: Int?, at places: [Int32]? = nil,
        on device: Device
    ) throws -> (any LogitSource)? {
        let sources = try teachers.compactMap { teacher -> (any LogitSource)? in
            guard case .model(let model, let own) = teacher.source else { return nil }
            return try read(tokens, by: model, on: own, for: device, classes: classes).logits(places)
        }
        return sources.count > 1 ? try MeanProbabilities(sources, on: device) : sources.first
    }

    /// - Returns: predictions at places, row-major numbers of them, nil for all; and signals.
    private static func read(
        _ tokens: TokenBatch, by model: any LanguageModel, on own: Device, for device: Device, classes: Int?,
        capturing paths: Set<String> = []
    ) throws -> (logits: ([Int32]?) throws -> any LogitSource, signals: [String: Tensor]) {
        model.setTraining(false)
        return try Autograd.withoutGradients {
            let states = try model.hidden(tokens, capturing: paths)
            let head = try model.head()
            let narrowed = try classes.map { try head.narrowed(to: $0) } ?? head
            func logits(_ places: [Int32]?) throws -> HeadLogits {
                try Autograd.withoutGradients { try HeadLogits(states.last.rows(at: places), narrowed) }
            }
            guard own.description != device.description else { return ({ try logits($0) }, states.signals) }
            return (
                { TransferredLogits(try logits($0), from: own, to: device) },
                try states.signals.mapValues { try Tensor($0.values(), $0.shape, on: device) }
            )
        }
    }
}

extension LanguageTeacher {
    /// A model whose weights follow the student's: average ← decay · average + (1 − decay) · weights after each step.
    /// - Parameter copy: equal to the student.
    static func averaging(
        _ student: any LanguageModel, _ arena: ParameterArena,
        into copy: (model: any LanguageModel, arena: ParameterArena), decay: Double, on device: Device
    ) -> LanguageTeacher {
        copy.model.freeze()
        return LanguageTeacher(Role.ownTeacher, .model(copy.model, on: device), moving: copy.arena.values) {
            guard decay < 1 else { return }
            try copy.arena.follow(arena, decay: decay)
        }
    }
}

extension ParameterArena {
    /// values ← decay · values + (1 − decay) · another's, of the same layout.
    func follow(_ leader: ParameterArena, decay: Double) throws {
        try run(MovingAverage(decay: decay), .init(average: values, values: leader.values), on: device)
    }
}

extension LanguageTeacherSpec {
    /// One that is the same for all seeds; nil for one that each seed trains.
    /// - Parameter device: the student's. On one without bytes everybody is there, and no weights are read.
    /// - Throws: `RetortError` 65, 66, 69 for files and devices; 78 for a cache that does not fit the data.
    func load(for data: LanguageExamples, bridge: TokenBridge?, beside device: Device) throws -> LanguageTeacher? {
        let isPlanned = device.compute.plan != nil
        if let cache = try openCache(for: data, readingTeacher: !isPlanned) {
            return LanguageTeacher(name, .cache(cache))
        }
        guard let live, let folder = live.directory else { return nil }
        let named = try isPlanned ? nil : self.device.map { try Device.select($0) }
        let own = named.flatMap { $0.description == device.description ? nil : $0 } ?? device
        let model = try live.load(folder, on: own, teaches: true, dtype: dtype)
        // Its tokens are the data's, by its tokenizer: `bridge` was asked where the files differ.
        let tokens = LanguageModelDirectory.hasTokenizer(folder) ? data.tokenizer?.tokens : nil
        return LanguageTeacher(model, name, bridge: bridge, tokens: tokens, on: own)
    }

    /// From the data's tokens to its own, where these may be others or a loss wants to know.
    /// - Parameter isAsked: whether a loss compares across tokenizers.
    /// - Throws: `RetortError` 65, 66, 69 for a tokenizer that cannot be read; 78 where one is asked for and there is none.
    func bridge(from data: LanguageExamples, isAsked: Bool) throws -> TokenBridge? {
        guard let own = data.tokenizer else {
            guard isAsked else { return nil }
            throw RetortError.recipe(
                "a loss across tokenizers needs texts, and the data are tokens", at: location,
                help: "use `data: {kind: text}`")
        }
        let folder = live?.directory.flatMap { LanguageModelDirectory.hasTokenizer($0) ? $0 : nil }
        let isOther = try folder.map {
            try LanguageModelDirectory.tokenizerDigest($0) != LanguageModelDirectory.tokenizerDigest(own.folder)
        }
        guard isAsked || isOther ?? false else { return nil }
        return try TokenBridge(from: try Tokenizer.load(own.folder), to: try Tokenizer.load(folder ?? own.folder))
    }
}

extension LanguageRecipe {
    /// Of each teacher, from the data's tokens to its own.
    /// - Throws: as `LanguageTeacherSpec.bridge`.
    func bridges(from data: LanguageExamples) throws -> [TokenBridge?] {
        try teachers.map { teacher in
            try teacher.bridge(
                from: data,
                isAsked: arms.contains { arm in
                    arm.terms.contains { $0.objective.reading != nil && $0.teachers.contains(teacher.name) }
                })
        }
    }
}
