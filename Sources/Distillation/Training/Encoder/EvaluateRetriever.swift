import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// What `retort eval` measures a retriever on: queries with their passages, as a recipe's `data: {kind: retrieval}` reads them.
public struct RetrievalEvaluationData: Sendable {
    public var path: String
    /// The file's own names for `query`, `passages` and `labels`.
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

    /// - Throws: `RetortError` 64 for options that do not fit; 65, 66, 69, 74 for the file.
    fileprivate func rows() throws -> RowStream<RankedTexts.Row> {
        let known = ["query", "passages", "labels"]
        for name in fields.keys.sorted() where !known.contains(name) {
            throw RetortError.usage(
                "--fields has \(name.quoted()), and queries with passages have \(known.joined(separator: ", "))",
                help: EditDistance.suggestion(for: name, among: known))
        }
        guard every ?? 2 >= 2 else {
            throw RetortError.usage("--test-every is \(every ?? 0)", why: "every n-th row, n from 2 on")
        }
        var names = RankedTexts.Names()
        names.query = fields["query"] ?? names.query
        names.passages = fields["passages"] ?? names.passages
        names.labels = fields["labels"] ?? names.labels
        let all = RowStream<RankedTexts.Row> { body in try RankedTexts.each(path, names, limit: limit, body) }
        return all.parted(every: every ?? 1).each
    }
}

/// `retort eval --retrieval`: an encoder of texts, and optionally its teacher, finds every query's passages among those of all queries. On the test
/// of the run that made it the numbers are those of the run's table. `dtype` is what their matrices are stored as, f32 or bf16.
/// - Throws: `RetortError` 64 for options that do not fit, 65 or 66 for the models or the data, 75 when a signal asked to stop.
public func evaluate(
    retriever path: String, teacher: String?, on data: RetrievalEvaluationData, dtype: DType = .f32, device: Device
) throws -> EvaluationReport {
    let named: [(String, String?)] = [(Role.teacher, teacher), (Role.student, path)]
    let folders = named.compactMap { role, folder in folder.map { (role, $0) }
    }
    for (_, folder) in folders {
        guard case .classification = try EncoderDirectory.head(of: folder) else { continue }
        throw RetortError.usage(
            "\(folder.quoted(limit: 200)) is a classifier, and --retrieval is for encoders of texts as vectors",
            help: "leave --retrieval out")
    }
    let builder = TextSetBuilder()
    let test = try RetrievalTest(data.rows(), in: builder)
    let texts = try builder.finish()
    var arms: [ArmResult] = []
    var reference: TeacherAnswers?
    for (role, folder) in folders {
        let model = try AnsweringEncoder(vectorsOf: folder, texts, length: data.length, dtype: dtype, on: device)
        var metrics = try test.metrics(model, teacher: reference)
        metrics[.parameters] = Double(model.model.parameterCount)
        metrics[.bytes] = Double(model.model.parameterCount * 4)
        arms.append(ArmResult(role, from: folder, metrics))
        guard role == Role.teacher else { continue }
        reference = try TeacherAnswers(
            try model.answers((0..<Int32(texts.count)).map { $0 }).values, width: model.width, embeddings: nil,
            on: device)
    }
    var report = EvaluationReport(arms, on: device)
    report.results.quality = RetrievalTask.quality
    report.counts = [("queries", test.queries.count), ("passages", test.pool.count)]
    return report
}
