import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// `retort eval` of a language model, and optionally its teacher: how well they predict the tokens of examples, and how they differ.
/// `dtype` is what their matrices are stored as, f32 or bf16. On the test data of the run that made them the numbers are those of the run's table.
/// - Throws: `RetortError` 64 for options that do not fit, 65 or 66 for the models or the data, 75 when a signal asked to stop.
public func evaluate(
    languageModel path: String, teacher teacherPath: String?, on data: LanguageEvaluationData, dtype: DType = .f32,
    device: Device
) throws -> EvaluationReport {
    let student = try EvaluatedLanguageModel(path, dtype: dtype, on: device)
    let teacher = try teacherPath.map { try EvaluatedLanguageModel($0, dtype: dtype, on: device) }
    var data = data
    if data.fitsModels, data.text.examples.maxLength == nil {
        data.text.examples.maxLength = max(2, min(student.model.maxPositions, teacher?.model.maxPositions ?? .max))
    }
    return try report(student, teacher, data.examples([path, teacherPath].compactMap { $0 }), device)
}

/// `retort eval --masked` of an encoder with a masked-language head, and optionally its teacher: how well they guess tokens of texts, always the same
/// ones. `dtype` is what their matrices are stored as, f32 or bf16. On the test data of the run that made them the numbers are those of the run's
/// table.
/// - Throws: `RetortError` 64 for options that do not fit, 65 or 66 for the models or the data, 75 when a signal asked to stop.
public func evaluate(
    masked path: String, teacher teacherPath: String?, on data: MaskedEvaluationData, dtype: DType = .f32,
    device: Device
) throws -> EvaluationReport {
    let student = try EvaluatedLanguageModel(masked: path, dtype: dtype, on: device)
    let teacher = try teacherPath.map { try EvaluatedLanguageModel(masked: $0, dtype: dtype, on: device) }
    return try report(student, teacher, data.examples([path, teacherPath].compactMap { $0 }), device)
}

private func report(
    _ student: EvaluatedLanguageModel, _ teacher: EvaluatedLanguageModel?, _ examples: LanguageEvaluationData.Examples,
    _ device: Device
) throws -> EvaluationReport {
    try student.check(examples.corpus)
    let batches = try LanguageBatches(measuring: examples.corpus, pad: examples.pad, masking: examples.masking)
    let tokens = try teacher.map { try student.tokens(of: $0, examples) }

    var arms: [ArmResult] = []
    if let teacher, let tokens {
        let own = try tokens.renumbering.map {
            try LanguageBatches(
                measuring: examples.corpus.read(by: $0, longest: teacher.model.maxPositions), pad: 0)
        }
        if own == nil { try teacher.check(examples.corpus) }
        arms.append(
            try teacher.arm(
                Role.teacher, LanguageEvaluation(teacher.model, own ?? batches, on: device), own ?? batches, on: device)
        )
    }
    let evaluation = try LanguageEvaluation(
        student.model, batches,
        teachers: teacher.map { [LanguageTeacher($0.model, tokens: tokens ?? TeacherTokens(), on: device)] } ?? [],
        on: device)
    arms.append(try student.arm(Role.student, evaluation, batches, on: device))
    var report = EvaluationReport(arms, on: device)
    report.counts = [("examples", examples.corpus.count), ("tokens", evaluation.tokens)]
    report.bins = evaluation.comparison?.bins ?? []
    report.notes = examples.notes + (tokens?.renumbering == nil ? [] : ["teacher: \(tokens?.finding ?? "")"])
    return report
}

/// A language model from a directory that is to be measured.
struct EvaluatedLanguageModel {
    let path: String
    let model: any LanguageModel

    init(_ path: String, dtype: DType, on device: Device) throws {
        self.path = path
        model = try LanguageModelDirectory.load(path, on: device, trains: false, dtype: dtype).model
    }

    /// An encoder that guesses masked tokens.
    init(masked path: String, dtype: DType, on device: Device) throws {
        self.path = path
        // A head that begins anew would be measured at guessing blindly.
        guard try EncoderDirectory.head(of: path) == .maskedLanguage else {
            throw RetortError.badData(
                "the model has no masked-language head", at: .init(file: path + "/config.json"),
                help: "take a directory whose architectures are BertForMaskedLM or DistilBertForMaskedLM")
        }
        model = try MaskedLanguageModel.load(path, on: device, trains: false, dtype: dtype).model
    }

    private var config: RetortError.Location { .init(file: path + "/config.json") }

    /// How the teacher's tokens stand to the model's, and over which both are compared.
    /// - Throws: `RetortError` 65 when their texts are cut in different ways, or nothing says that their tokens are the same.
    fileprivate func tokens(
        of teacher: EvaluatedLanguageModel, _ examples: LanguageEvaluationData.Examples
    ) throws -> TeacherTokens {
        let (own, theirs) = (model.vocabulary, teacher.model.vocabulary)
        let why = "their predictions cannot be compared token by token"
        guard LanguageModelDirectory.hasTokenizer(path), LanguageModelDirectory.hasTokenizer(teacher.path) else {
            guard own != theirs else { return TeacherTokens() }
            throw RetortError.badData(
                "the teacher has a vocabulary of \(theirs), the model one of \(own)", at: teacher.config, why: why,
                help: "heads of different length are compared where both directories have the same tokenizer")
        }
        let bridge = try TokenBridge(from: Tokenizer.load(path), to: Tokenizer.load(teacher.path))
        let limits = bridge.limits
        let sizes = "the teacher has a vocabulary of \(theirs), the model one of \(own), their tokenizer"
        guard !bridge.isIdentity else {
            guard own == theirs || limits.source <= min(own, theirs) else {
                throw RetortError.badData("\(sizes) \(limits.source)", at: teacher.config, why: why)
            }
            return TeacherTokens(count: own == theirs ? nil : limits.source)
        }
        guard examples.masking == nil else {
            throw RetortError.badData(
                "teacher and model have different tokenizers", at: teacher.config, why: "tokens are masked by their ids"
            )
        }
        let tokens = try TeacherTokens(
            bridge, count: nil, names: (path.displayable, teacher.path.displayable), [examples.corpus])
        guard tokens.renumbering != nil else {
            throw RetortError.badData(
                "teacher and model have different tokenizers", at: teacher.config, why: "\(why): \(tokens.finding)",
                help: "measure each alone; with --generate what they write is compared")
        }
        guard limits.source <= own, limits.target <= theirs else {
            throw RetortError.badData(
                "\(sizes)s have \(limits.target) and \(limits.source) ids", at: teacher.config, why: why)
        }
        return tokens
    }

    /// - Throws: `RetortError` 65 for examples that the model cannot read.
    func check(_ corpus: TokenizedCorpus) throws {
        let (longest, largest) = (corpus.summary.longest, corpus.largestToken)
        guard longest <= model.maxPositions else {
            throw RetortError.badData(
                "the longest example has \(longest) tokens, the model \(model.maxPositions) positions", at: config,
                help: "of text, --truncation right cuts longer ones and --truncation drop leaves them out")
        }
        guard Int(largest) < model.vocabulary else {
            throw RetortError.badData(
                "the data has the token \(largest), the model a vocabulary of \(model.vocabulary)", at: config,
                why: "was it trained with another tokenizer?")
        }
    }

    fileprivate func arm(
        _ role: String, _ evaluation: LanguageEvaluation, _ data: LanguageBatches, on device: Device
    ) throws -> ArmResult {
        guard evaluation.crossEntropy.isFinite else {
            throw RetortError.diverged(
                "the cross entropy of \(path.quoted(limit: 200)) is not finite",
                why: "its logits leave the numbers, or it holds a token of the data to be impossible",
                help: "Perhaps its training diverged: take an earlier checkpoint.")
        }
        var metrics = evaluation.metrics
        metrics[.parameters] = Double(model.parameterCount)
        metrics[.bytes] = Double(model.parameterCount * 4)
        metrics[.latency] = try forwardLatency(model, data, on: device)
        return ArmResult(role, from: path, metrics)
    }
}
