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
    /// How its tokens stand to the student's.
    let tokens: TeacherTokens
    /// Of a model that stays as it is and counts its tokens otherwise the rows of its head that were last asked for.
    private var gathered: (ids: [Int32], head: OutputHead)?
    /// Whether there is something to measure students by on the texts that are held out: a model that reads them, or what a cache has of them.
    let knowsHeldOut: Bool
    /// What it does when the student has taken a step.
    private let follow: (() throws -> Void)?
    /// The weights that follow the student's; nil for a teacher that stays as it is.
    let moving: View?

    /// - Parameters:
    ///   - knowsHeldOut: whether a cache has the texts that are held out; nil: no.
    ///   - follow: for a teacher that learns from its student.
    init(
        _ name: String = Role.teacher, _ source: Source, tokens: TeacherTokens = TeacherTokens(),
        knowsHeldOut: Bool? = nil, moving: View? = nil, follow: (() throws -> Void)? = nil
    ) {
        self.name = name
        self.source = source
        self.tokens = tokens
        if case .model = source {
            self.knowsHeldOut = !tokens.isForeign
        } else {
            self.knowsHeldOut = knowsHeldOut ?? false
        }
        self.follow = follow
        self.moving = moving
    }

    convenience init(
        _ model: any LanguageModel, _ name: String = Role.teacher, tokens: TeacherTokens = TeacherTokens(),
        on device: Device
    ) {
        self.init(name, .model(model, on: device), tokens: tokens)
    }

    /// Whether it can be compared across tokenizers alone.
    var isForeign: Bool { tokens.isForeign }
    /// Whether it reads the student's tokens as they are.
    var readsStudents: Bool { !tokens.isForeign && tokens.renumbering == nil }

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
        /// Everywhere, or of a model at some of the student's places, row-major numbers of them.
        private let predicted: ([Int32]?) throws -> TokenTeacher
        /// ln p(label) of each place; nil where no model is asked.
        private let likelihood: (([Int32]) throws -> Tensor)?
        /// By path.
        let signals: [String: Tensor]
        /// Row-major, where it has read something that a prediction follows from; nil: everywhere.
        let isRead: [Bool]?

        init(
            _ signals: [String: Tensor] = [:], isRead: [Bool]? = nil, likelihood: (([Int32]) throws -> Tensor)? = nil,
            _ predicted: @escaping ([Int32]?) throws -> TokenTeacher
        ) {
            (self.signals, self.isRead, self.likelihood, self.predicted) = (signals, isRead, likelihood, predicted)
        }

        /// ln p(label) at all places `[places]`, 0 where there is no label.
        /// - Throws: `RetortError` 70 where no model reads the batch in the student's tokens.
        func logProbabilities(_ labels: [Int32]) throws -> Tensor {
            guard let likelihood else {
                throw RetortError.internalBug("how likely texts are is asked of a teacher that does not read them")
            }
            return try likelihood(labels)
        }

        func predictions(at places: [Int32]?) throws -> TokenTeacher { try predicted(places) }
    }

    /// - Parameters:
    ///   - tokens: the same as the batch's.
    ///   - alignment: how it is compared where it reads in tokens of its own; nil: token by token.
    ///   - classes: of the student's that are compared; nil: all.
    ///   - paths: signals to keep, or that a cache has kept.
    ///   - chunk: how many tokens' logits are held at a time where tokens' probabilities are asked for.
    ///   - device: the student's.
    func lesson(
        _ batch: LanguageBatch, _ tokens: TokenBatch, _ alignment: TokenAlignment? = nil,
        classes: ComparedClasses? = nil, capturing paths: Set<String>, chunk: ChunkSize = .automatic,
        on device: Device
    ) throws -> Lesson {
        if let alignment {
            let translated = try reading(batch, alignment, chunk: chunk, on: device)
            return Lesson { _ in .translated(translated) }
        }
        switch source {
        case .cache(let cache):
            let kept = try cache.lesson(batch, capturing: paths, on: device)
            return Lesson(kept.signals) { _ in .kept(kept.predictions) }
        case .model(let model, let own):
            let read = try read(
                batch, tokens, by: model, on: own, for: device, classes: classes, capturing: paths, chunk: chunk)
            return Lesson(read.signals, isRead: read.isRead, likelihood: read.likelihood) {
                .live(try read.logits($0))
            }
        }
    }

    /// ln p(target) at each place `[rows, length]`, 0 where there is none.
    /// - Parameters:
    ///   - classes: p is among so many of the first; nil: among all.
    ///   - chunk: how many tokens' logits are held at a time.
    /// - Throws: `RetortError` 70 where there is no model.
    func logProbabilities(_ batch: LanguageBatch, classes: Int? = nil, chunk: ChunkSize) throws -> [Float] {
        guard case .model(let model, let own) = source else {
            throw RetortError.internalBug("a cache is asked for texts that it does not have")
        }
        return try model.logProbabilities(batch, classes: classes, chunk: chunk, on: own)
    }

    /// What several models predict together, the mean of their probabilities; nil where none is in memory.
    /// - Parameters:
    ///   - tokens: the same as the batch's.
    ///   - classes: of the student's; nil: all.
    ///   - places: row-major numbers of those that are asked about; nil: all.
    /// - Returns: the predictions, and at which of all places all have read something that these follow from; nil: at all.
    static func mean(
        _ teachers: [LanguageTeacher], of batch: LanguageBatch, _ tokens: TokenBatch, classes: ComparedClasses?,
        at places: [Int32]? = nil, on device: Device
    ) throws -> (logits: any LogitSource, isRead: [Bool]?)? {
        let readings = try teachers.compactMap { teacher -> Reading? in
            guard case .model(let model, let own) = teacher.source else { return nil }
            return try teacher.read(batch, tokens, by: model, on: own, for: device, classes: classes)
        }
        guard let first = readings.first else { return nil }
        let isRead = [Bool].inAll(readings.map(\.isRead))
        guard readings.count > 1 else { return (try first.logits(places), isRead) }
        return (try MeanProbabilities(readings.map { try $0.logits(places) }, on: device), isRead)
    }

    private struct Reading {
        /// At the student's places, row-major numbers of them, nil for all.
        let logits: ([Int32]?) throws -> any LogitSource
        /// ln p(label) at all of them, on the student's device; nil where it reads in tokens of its own.
        let likelihood: (([Int32]) throws -> Tensor)?
        let signals: [String: Tensor]
        let isRead: [Bool]?
    }

    private func read(
        _ batch: LanguageBatch, _ tokens: TokenBatch, by model: any LanguageModel, on own: Device, for device: Device,
        classes: ComparedClasses?, capturing paths: Set<String> = [], chunk: ChunkSize = .automatic
    ) throws -> Reading {
        model.setTraining(false)
        let renumbered = try self.tokens.renumbering.map {
            try RenumberedBatch(batch, $0, longest: model.maxPositions)
        }
        return try Autograd.withoutGradients {
            let states = try model.hidden(renumbered?.tokens ?? tokens, capturing: paths)
            let head = try head(of: model, classes)
            func logits(_ places: [Int32]?) throws -> HeadLogits {
                let own = renumbered.map { $0.places(of: places) } ?? places
                return try Autograd.withoutGradients { try HeadLogits(states.last.rows(at: own), head) }
            }
            let isHere = own.description == device.description
            func likelihood(_ labels: [Int32]) throws -> Tensor {
                let logs = try Autograd.withoutGradients {
                    try states.last.chunkedLogProbabilities(
                        own.compute.view(labels, [labels.count], .i32), head: model.head(), chunk: chunk)
                }
                return isHere ? logs : try Tensor(logs.values(), logs.shape, on: device)
            }
            let likely = renumbered == nil ? likelihood : nil
            guard !isHere else {
                return Reading(
                    logits: { try logits($0) }, likelihood: likely, signals: states.signals, isRead: renumbered?.isRead)
            }
            return Reading(
                logits: { TransferredLogits(try logits($0), from: own, to: device) }, likelihood: likely,
                signals: try states.signals.mapValues { try Tensor($0.values(), $0.shape, on: device) },
                isRead: renumbered?.isRead)
        }
    }

    /// Its head over some classes. Rows that have to be gathered are a copy, made once.
    private func head(of model: any LanguageModel, _ classes: ComparedClasses?) throws -> OutputHead {
        let head = try model.head()
        guard let classes else { return head }
        let ids = classes.ids(of: self)
        guard tokens.renumbering != nil else { return try head.restricted(to: ids) }
        if let gathered, gathered.ids == ids { return gathered.head }
        let own = try head.restricted(to: ids)
        gathered = (ids, own)
        return own
    }
}

extension [LanguageTeacher] {
    /// Those that students are measured by: the models, which all are seen together; where there is none, the cache, if it is the only one.
    var measures: [LanguageTeacher] {
        let known = filter(\.knowsHeldOut)
        let models = known.filter { $0.model != nil }
        return models.isEmpty && count == 1 ? known : models
    }
}

extension [Bool] {
    /// What holds in all of several; nil holds everywhere.
    static func inAll(_ several: [[Bool]?]) -> [Bool]? {
        several.reduce(nil) { both, one in
            guard let one, let both else { return both ?? one }
            return zip(both, one).map { $0 && $1 }
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

extension LanguageTeacher {
    /// The student as it was at first.
    /// - Parameter copy: equal to it, before its first step.
    static func start(_ copy: any LanguageModel, on device: Device) -> LanguageTeacher {
        copy.freeze()
        return LanguageTeacher(copy, Role.start, on: device)
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
    /// - Parameters:
    ///   - tokens: how its tokens stand to the data's.
    ///   - device: the student's. On one without bytes everybody is there, and no weights are read.
    /// - Throws: `RetortError` 65, 66, 69 for files and devices; 78 for a cache that does not fit the data.
    func load(for data: LanguageExamples, tokens: TeacherTokens, beside device: Device) throws -> LanguageTeacher? {
        let isPlanned = device.compute.plan != nil
        if let cache = try openCache(for: data, readingTeacher: !isPlanned) {
            return LanguageTeacher(
                name, .cache(cache), tokens: TeacherTokens(count: data.tokenizer?.tokens),
                knowsHeldOut: data.test.answered.map(cache.has))
        }
        guard let live, let folder = live.directory else { return nil }
        let named = try isPlanned ? nil : self.device.map { try Device.select($0) }
        let own = named.flatMap { $0.description == device.description ? nil : $0 } ?? device
        let model = try live.load(folder, on: own, teaches: true, dtype: dtype)
        return LanguageTeacher(model, name, tokens: tokens, on: own)
    }

    /// How its tokens stand to the data's.
    /// - Parameter isAsked: whether a loss compares across tokenizers.
    /// - Throws: `RetortError` 65, 66, 69 for a tokenizer that cannot be read; 75 when a signal asked to stop; 78 where a loss compares across
    ///   tokenizers and there is none.
    func tokens(beside data: LanguageExamples, isAsked: Bool) throws -> TeacherTokens {
        guard let own = data.tokenizer else {
            guard isAsked else { return TeacherTokens() }
            throw RetortError.recipe(
                "a loss across tokenizers needs texts, and the data are tokens", at: location,
                help: "use `data: {kind: text}`")
        }
        // One that the run trains reads the data's tokens.
        let folder = live?.directory
        let itsOwn = folder.flatMap { LanguageModelDirectory.hasTokenizer($0) ? $0 : nil }
        let count = folder == nil || itsOwn != nil ? own.tokens : nil
        let isOther = try itsOwn.map {
            try LanguageModelDirectory.tokenizerDigest($0) != LanguageModelDirectory.tokenizerDigest(own.folder)
        }
        guard isAsked || isOther ?? false else { return TeacherTokens(count: count) }
        let bridge = try TokenBridge(from: try Tokenizer.load(own.folder), to: try Tokenizer.load(itsOwn ?? own.folder))
        guard data.masking == nil || bridge.isIdentity else {
            return TeacherTokens(bridge: bridge, finding: "tokens are masked by the ids of \(own.folder.displayable)")
        }
        return try TeacherTokens(
            bridge, count: count, names: (own.folder.displayable, (itsOwn ?? own.folder).displayable),
            [data.train.asked, data.test.asked, data.plain?.rows].compactMap { $0 })
    }
}

extension LanguageRecipe {
    /// Of each teacher how its tokens stand to the data's.
    /// - Throws: as `LanguageTeacherSpec.tokens`.
    func teacherTokens(beside data: LanguageExamples) throws -> [TeacherTokens] {
        try teachers.map { teacher in
            try teacher.tokens(
                beside: data,
                isAsked: arms.contains { arm in
                    arm.terms.contains { $0.objective.reading != nil && $0.teachers.contains(teacher.name) }
                })
        }
    }
}
