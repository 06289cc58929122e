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
    /// What it does when the student has taken a step.
    private let follow: (() throws -> Void)?

    /// - Parameter follow: for a teacher that learns from its student.
    init(_ name: String = Role.teacher, _ source: Source, follow: (() throws -> Void)? = nil) {
        self.name = name
        self.source = source
        self.follow = follow
    }

    convenience init(_ model: any LanguageModel, _ name: String = Role.teacher, on device: Device) {
        self.init(name, .model(model, on: device))
    }

    /// nil where there are only its predictions.
    var model: (any LanguageModel)? { if case .model(let model, _) = source { model } else { nil } }

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
        let predictions: TokenTeacher
        /// By path.
        let signals: [String: Tensor]
    }

    /// - Parameters:
    ///   - tokens: the same as the batch's.
    ///   - paths: signals to keep; those of a model only.
    ///   - device: the student's.
    func lesson(
        _ batch: LanguageBatch, _ tokens: TokenBatch, capturing paths: Set<String>, on device: Device
    ) throws -> Lesson {
        switch source {
        case .cache(let cache):
            return Lesson(predictions: .kept(try cache.predictions(batch, on: device)), signals: [:])
        case .model(let model, let own):
            let (logits, signals) = try Self.read(tokens, by: model, on: own, for: device, capturing: paths)
            return Lesson(predictions: .live(logits), signals: signals)
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

    /// What several models predict together, the mean of their probabilities; nil where none is in memory.
    static func mean(_ teachers: [LanguageTeacher], of tokens: TokenBatch, on device: Device) throws -> (
        any LogitSource
    )? {
        let sources = try teachers.compactMap { teacher -> (any LogitSource)? in
            guard case .model(let model, let own) = teacher.source else { return nil }
            return try read(tokens, by: model, on: own, for: device).logits
        }
        return sources.count > 1 ? try MeanProbabilities(sources, on: device) : sources.first
    }

    private static func read(
        _ tokens: TokenBatch, by model: any LanguageModel, on own: Device, for device: Device,
        capturing paths: Set<String> = []
    ) throws -> (logits: any LogitSource, signals: [String: Tensor]) {
        model.setTraining(false)
        return try Autograd.withoutGradients {
            let states = try model.hidden(tokens, capturing: paths)
            let logits = try HeadLogits(states.last, model.head())
            guard own.description != device.description else { return (logits, states.signals) }
            return (
                TransferredLogits(logits, from: own, to: device),
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
        return LanguageTeacher(Role.ownTeacher, .model(copy.model, on: device)) {
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
    /// - Parameter device: the student's.
    /// - Throws: `RetortError` 65, 66, 69 for files and devices; 78 for a cache that does not fit the data.
    func load(for data: LanguageExamples, beside device: Device) throws -> LanguageTeacher? {
        if let cache = try openCache(for: data) { return LanguageTeacher(name, .cache(cache)) }
        guard let folder = live?.directory else { return nil }
        let named = try self.device.map { try Device.select($0) }
        let own = named.flatMap { $0.description == device.description ? nil : $0 } ?? device
        return LanguageTeacher(try LanguageModelDirectory.load(folder, on: own, trains: false).model, name, on: own)
    }
}
