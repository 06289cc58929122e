import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// What `retort eval` measures an encoder on: texts with classes, or pairs of texts with scores, in CSV, TSV or JSON.
public struct EncoderEvaluationData: Sendable {
    public var path: String
    /// The file's own names for ours: `text`, `pair` and `label` of a classifier, `sentence1`, `sentence2` and `score` of an encoder of
    /// sentences. A classifier reads pairs where `pair` is named.
    public var fields: [String: String]
    /// Tokens read of each text at most; nil: as the model's directory says.
    public var length: Int?
    /// Rows at most; nil: all.
    public var limit: Int?

    public init(_ path: String, fields: [String: String] = [:], length: Int? = nil, limit: Int? = nil) {
        self.path = path
        self.fields = fields
        self.length = length
        self.limit = limit
    }

    /// - Throws: `RetortError` 64 for a name that this kind of model has no use for.
    fileprivate func check(_ known: [String], _ who: String) throws {
        for name in fields.keys.sorted() where !known.contains(name) {
            throw RetortError.usage(
                "--fields has \(name.quoted()), and \(who) has \(known.joined(separator: ", "))",
                help: EditDistance.suggestion(for: name, among: known))
        }
    }

    fileprivate func read(_ texts: [String], _ value: String, _ wanted: String, _ meaning: @escaping Meaning) throws
        -> [LabelledTexts.Row]
    {
        let columns = LabelledTexts.Columns(
            texts: texts.map { fields[$0] ?? $0 }, value: fields[value] ?? value, wanted: wanted, meaning: meaning)
        return try LabelledTexts.read(path, columns, limit: limit).rows
    }

    fileprivate typealias Meaning = @Sendable (LabelledTexts.Value) -> Double?
}

/// `retort eval` of an encoder, and optionally its teacher: a classifier's accuracy, macro-F1 and confusion; how an encoder of sentences, or
/// a regression head, ranks what people scored. `dtype` is what their matrices are stored as, f32 or bf16.
/// - Throws: `RetortError` 64 for names that do not fit, 65 or 66 for the models or the data, 75 when a signal asked to stop.
public func evaluate(
    encoder path: String, teacher: String?, on data: EncoderEvaluationData, dtype: DType = .f32, device: Device
) throws -> EvaluationReport {
    guard case .classification = try EncoderDirectory.head(of: path) else {
        return try evaluateSentences(path, teacher, data, dtype, device)
    }
    let student = try TextClassifier(path, dtype: dtype, on: device)
    let taught = try teacher.map { try TextClassifier($0, dtype: dtype, on: device) }
    if let taught, taught.classes.count != student.classes.count || taught.isRegression != student.isRegression {
        throw RetortError.badData(
            "teacher and model differ in classes: \(taught.classes.count) and \(student.classes.count)",
            at: .init(file: (teacher ?? "") + "/config.json"))
    }
    try data.check(["text", "pair", "label"], "a classifier")
    let names = student.classes
    let shown = names.prefix(12).joined(separator: ", ") + (names.count > 12 ? ", …" : "")
    let texts = data.fields["pair"] == nil ? ["text"] : ["text", "pair"]
    let rows =
        if student.isRegression {
            try data.read(texts, "label", "a number") { $0.score }
        } else {
            try data.read(texts, "label", "a class: 0 to \(names.count - 1), or \(shown)") { $0.index(in: names) }
        }
    let models: Classifiers = [(Role.teacher, teacher, taught), (Role.student, path, student)]
    return student.isRegression
        ? try regression(models, rows, data, device) : try classification(models, rows, data, device)
}

private typealias Classifiers = [(role: String, path: String?, model: TextClassifier?)]

private func classification(
    _ models: Classifiers, _ rows: [LabelledTexts.Row], _ data: EncoderEvaluationData, _ device: Device
) throws -> EvaluationReport {
    var arms: [ArmResult] = []
    var reference: Evaluation?
    for case (let role, let path?, let model?) in models {
        let evaluation = Evaluation(
            classes: model.classes.count, labels: rows.map { Int32($0.value) },
            logits: try model.logits(rows.map(\.texts), length: data.length))
        let seed = SeedResult(seed: 0, evaluation, sizes(model.model), curve: [], reference: reference)
        arms.append(ArmResult(role: role, contract: ["from \(path)"], seeds: [seed]))
        reference = evaluation
    }
    var report = EvaluationReport(arms, classes: models.last?.model?.classes ?? [], on: device)
    report.counts = [("examples", rows.count)]
    report.showsConfusion = true
    return report
}

private func regression(
    _ models: Classifiers, _ rows: [LabelledTexts.Row], _ data: EncoderEvaluationData, _ device: Device
) throws -> EvaluationReport {
    var arms: [ArmResult] = []
    for case (let role, let path?, let model?) in models {
        guard model.classes.count == 1 else {
            throw RetortError.badData(
                "a regression of \(model.classes.count) numbers", at: .init(file: path + "/config.json"),
                why: "one number is compared with one score")
        }
        let values = try model.logits(rows.map(\.texts), length: data.length).map(Double.init)
        arms.append(ArmResult(role, from: path, try correlations(values, rows, data, model.model)))
    }
    var report = EvaluationReport(arms, on: device)
    report.counts = [("examples", rows.count)]
    return report
}

private func evaluateSentences(
    _ path: String, _ teacher: String?, _ data: EncoderEvaluationData, _ dtype: DType, _ device: Device
) throws -> EvaluationReport {
    try data.check(["sentence1", "sentence2", "score"], "an encoder of sentences")
    let folders: [(String, String?)] = [(Role.teacher, teacher), (Role.student, path)]
    let encoders: [(role: String, folder: String, encoder: SentenceEncoder)] = try folders.compactMap { role, folder in
        try folder.map { folder in
            var settings = try SentenceSettings(in: folder)
            if let length = data.length { settings.length = min(length, settings.length ?? length) }
            return (role, folder, try SentenceEncoder(folder, settings: settings, dtype: dtype, on: device))
        }
    }
    let rows = try data.read(["sentence1", "sentence2"], "score", "a number") { $0.score }
    var arms: [ArmResult] = []
    for (role, folder, encoder) in encoders {
        let vectors = try encoder.embed(rows.flatMap(\.texts))
        let cosines = rows.indices.map { SentenceSimilarity.cosine(vectors[2 * $0], vectors[2 * $0 + 1]) }
        arms.append(ArmResult(role, from: folder, try correlations(cosines, rows, data, encoder.model)))
    }
    var report = EvaluationReport(arms, on: device)
    report.counts = [("pairs", rows.count)]
    return report
}

/// - Throws: `RetortError` 65 where the scores say nothing: fewer than two, or all of them equal.
private func correlations(
    _ values: [Double], _ rows: [LabelledTexts.Row], _ data: EncoderEvaluationData, _ model: any EncoderModel
) throws -> [Metric: Double] {
    let scores = rows.map(\.value)
    guard Set(scores).count > 1 else {
        throw RetortError.badData(
            "the scores do not differ", at: .init(file: data.path),
            why: "nothing can be told from \(rows.count) equal ones")
    }
    var metrics = sizes(model)
    // Without a value where the model says the same of all.
    metrics[.spearman] = SentenceSimilarity.spearman(values, scores) ?? .nan
    metrics[.pearson] = SentenceSimilarity.pearson(values, scores) ?? .nan
    return metrics
}

private func sizes(_ model: any EncoderModel) -> [Metric: Double] {
    [.parameters: Double(model.parameterCount), .bytes: Double(model.parameterCount * 4)]
}
