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
    /// Every n-th row, the first among them: what a recipe with `test: {every: n}` tests on. nil: all.
    public var every: Int?
    /// Rows of the file at most; nil: all.
    public var limit: Int?

    public init(
        _ path: String, fields: [String: String] = [:], length: Int? = nil, every: Int? = nil, limit: Int? = nil
    ) {
        (self.path, self.fields, self.length, self.every, self.limit) = (path, fields, length, every, limit)
    }

    /// - Throws: `RetortError` 64 for a name that this kind of model has no use for.
    fileprivate func check(_ known: [String], _ who: String) throws {
        for name in fields.keys.sorted() where !known.contains(name) {
            throw RetortError.usage(
                "--fields has \(name.quoted()), and \(who) has \(known.joined(separator: ", "))",
                help: EditDistance.suggestion(for: name, among: known))
        }
    }

    /// - Parameter apart: whether the texts of a row are read each for itself, not as a pair.
    /// - Throws: `RetortError` 64 for options that do not fit; 65, 66, 69, 73, 74 for the file.
    fileprivate func read(
        _ names: [String], apart: Bool = false, _ value: String, _ wanted: String, _ meaning: @escaping Meaning
    ) throws -> ScoredTexts {
        guard every ?? 2 >= 2 else {
            throw RetortError.usage("--test-every is \(every ?? 0)", why: "every n-th row, n from 2 on")
        }
        let columns = LabelledTexts.Columns(
            texts: names.map { fields[$0] ?? $0 }, value: fields[value] ?? value, wanted: wanted, meaning: meaning)
        let all = RowStream<LabelledTexts.Row> { body in try LabelledTexts.each(path, columns, limit: limit, body) }
        let builder = TextSetBuilder()
        var (numbers, values): ([Int32], [Double]) = ([], [])
        try all.parted(every: every ?? 1).each.forEach { row in
            for text in apart ? row.texts.map({ [$0] }) : [row.texts] { numbers.append(try builder.number(of: text)) }
            values.append(row.value)
        }
        return ScoredTexts(texts: try builder.finish(), numbers: numbers, values: values)
    }

    fileprivate typealias Meaning = @Sendable (LabelledTexts.Value) -> Double?
}

/// Rows that were read: of each its text, or its texts where they are read apart, and what people said of it.
private struct ScoredTexts {
    let texts: TextSet
    let numbers: [Int32]
    let values: [Double]
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
    _ models: Classifiers, _ rows: ScoredTexts, _ data: EncoderEvaluationData, _ device: Device
) throws -> EvaluationReport {
    var arms: [ArmResult] = []
    var reference: Evaluation?
    for case (let role, let path?, let model?) in models {
        let evaluation = Evaluation(
            classes: model.classes.count, labels: rows.values.map { Int32($0) },
            logits: try logits(of: model, from: path, rows, data, device))
        let seed = SeedResult(seed: 0, evaluation, sizes(model.model), curve: [], reference: reference)
        arms.append(ArmResult(role: role, contract: ["from \(path)"], seeds: [seed]))
        reference = evaluation
    }
    var report = EvaluationReport(arms, classes: models.last?.model?.classes ?? [], on: device)
    report.counts = [("examples", rows.values.count)]
    report.showsConfusion = true
    return report
}

/// As a run's classifiers read their texts, so that the numbers are those of its table.
private func logits(
    of model: TextClassifier, from path: String, _ rows: ScoredTexts, _ data: EncoderEvaluationData, _ device: Device
) throws -> [Float] {
    let encoder = try SentenceEncoder(
        model.model, model.tokenizer, SentenceSettings(length: data.length), file: path)
    let encodings = try rows.texts.encoded(encoder.tokenizer, length: encoder.readLength)
    return try AnsweringEncoder(encoder, encodings, head: encoder.model.head, on: device).answers(rows.numbers).values
}

private func regression(
    _ models: Classifiers, _ rows: ScoredTexts, _ data: EncoderEvaluationData, _ device: Device
) throws -> EvaluationReport {
    var arms: [ArmResult] = []
    for case (let role, let path?, let model?) in models {
        guard model.classes.count == 1 else {
            throw RetortError.badData(
                "a regression of \(model.classes.count) numbers", at: .init(file: path + "/config.json"),
                why: "one number is compared with one score")
        }
        let values = try logits(of: model, from: path, rows, data, device).map(Double.init)
        arms.append(ArmResult(role, from: path, try correlations(values, rows, data, model.model)))
    }
    var report = EvaluationReport(arms, on: device)
    report.counts = [("examples", rows.values.count)]
    return report
}

private func evaluateSentences(
    _ path: String, _ teacher: String?, _ data: EncoderEvaluationData, _ dtype: DType, _ device: Device
) throws -> EvaluationReport {
    try data.check(["sentence1", "sentence2", "score"], "an encoder of sentences")
    let rows = try data.read(["sentence1", "sentence2"], apart: true, "score", "a number") { $0.score }
    let folders: [(String, String?)] = [(Role.teacher, teacher), (Role.student, path)]
    var arms: [ArmResult] = []
    for case (let role, let folder?) in folders {
        let encoder = try AnsweringEncoder(
            vectorsOf: folder, rows.texts, length: data.length, dtype: dtype, on: device)
        // The vectors of so many pairs at a time: of all of them there may be more than fit.
        var cosines: [Double] = []
        for start in stride(from: 0, to: rows.numbers.count, by: 8192) {
            let part = Array(rows.numbers[start..<min(rows.numbers.count, start + 8192)])
            let (values, width) = (try encoder.answers(part).values, encoder.width)
            func vector(_ place: Int) -> [Float] { Array(values[(place * width)..<((place + 1) * width)]) }
            cosines += (0..<(part.count / 2)).map { SentenceSimilarity.cosine(vector(2 * $0), vector(2 * $0 + 1)) }
        }
        arms.append(ArmResult(role, from: folder, try correlations(cosines, rows, data, encoder.model)))
    }
    var report = EvaluationReport(arms, on: device)
    report.counts = [("pairs", rows.values.count)]
    return report
}

/// - Throws: `RetortError` 65 where the scores say nothing: fewer than two, or all of them equal.
private func correlations(
    _ values: [Double], _ rows: ScoredTexts, _ data: EncoderEvaluationData, _ model: any EncoderModel
) throws -> [Metric: Double] {
    let scores = rows.values
    guard Set(scores).count > 1 else {
        throw RetortError.badData(
            "the scores do not differ", at: .init(file: data.path),
            why: "nothing can be told from \(scores.count) equal ones")
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
