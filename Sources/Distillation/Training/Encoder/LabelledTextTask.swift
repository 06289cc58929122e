import RetortData
import RetortModels
import RetortRuntime
import RetortSupport
import Synchronization

/// `data: {kind: labelled-texts}`: texts, or pairs of texts, of one class each.
struct LabelledTextTask: EncoderTask {
    private let path: String
    private let testPath: String?
    private let every: Int
    private let columns: (texts: [String], label: String)
    /// Which of `columns.texts` are read by each.
    private let reads: (teacher: [Int], student: [Int])
    private let unlabelled: String?
    private let classes: [String]?
    private let limit: Int?

    static let section = RecipeSection(
        "labelled-texts", "Texts, or pairs of texts, each of one class: rows of CSV, TSV (by the name's end) or JSON.",
        [
            SentenceSource.path, SentenceSource.test,
            RecipeField("text", .text, .defaulted("text"), "the column of the texts"),
            RecipeField(
                "pair", .text, .optional, "the column of what is read behind each text, as the second of a pair"),
            RecipeField(
                "teacher-pair", .text, .optional,
                "a column that the teacher alone reads behind each text, as what was found for a query (QUILL)"),
            RecipeField("label", .text, .defaulted("label"), "the column of the classes: words or numbers"),
            RecipeField(
                "unlabelled", .text, .optional,
                "a file with the same columns of texts and no classes: the student learns of it what its teacher says"),
            RecipeField(
                "classes", .list(of: .text, count: 2...65536), .optional,
                "the classes in the order of the model's numbers (default: those of the file, sorted)"),
            SentenceSource.limit,
        ])
    static let objectives: [any Objective.Type] = [
        CrossEntropyObjective.self, HintonObjective.self, ForwardKLObjective.self, ReverseKLObjective.self,
        JSDObjective.self, ContinuousJSDObjective.self, SkewKLObjective.self, SkewReverseKLObjective.self,
        TotalVariationObjective.self, HardLabelObjective.self, SoftCrossEntropyObjective.self, LogitMSEObjective.self,
        DKDObjective.self, LogitStandardizationObjective.self, DISTObjective.self, MLKDObjective.self,
        TeacherFreeObjective.self,
        EmbeddingMSEObjective.self, EmbeddingCosineObjective.self, RKDObjective.self, SPObjective.self,
        PKTObjective.self, CCObjective.self, ContrastiveObjective.self,
    ]
    static let quality = Metric.accuracy
    static func fields(of objective: any Objective.Type) -> [RecipeField] {
        objective.takesReduction ? [RowReduction.field] : []
    }
    static var aloneObjective: EncoderArmTerm? { EncoderArmTerm(CrossEntropyObjective(smoothing: 0)) }

    init(_ data: RecipeNode, _ resolve: (String) -> String) throws {
        path = resolve(data.required("path").text)
        (testPath, every) = try SentenceSource.split(data, resolve)
        let text = data.required("text").text
        if let own = data["teacher-pair"], data["pair"] != nil {
            throw RetortError.recipe(
                "data.pair is read by both, data.teacher-pair by the teacher alone", at: own.location,
                help: "keep one of them")
        }
        let second = (data["pair"] ?? data["teacher-pair"])?.text
        columns = ([text] + (second.map { [$0] } ?? []), data.required("label").text)
        reads = (Array(columns.texts.indices), data["teacher-pair"] == nil ? Array(columns.texts.indices) : [0])
        unlabelled = data["unlabelled"].map { resolve($0.text) }
        classes = data["classes"]?.list.map(\.text)
        limit = data["limit"]?.integer
        if let list = data["classes"], let classes, Set(classes.map { ExactKey($0) }).count < classes.count {
            throw RetortError.recipe("a class stands twice in data.classes", at: list.location)
        }
    }

    func load() throws -> any EncoderData {
        let names = try classes ?? found()
        func rows(_ path: String, _ limit: Int?) -> RowStream<LabelledTexts.Row> {
            let shown = names.prefix(12).joined(separator: ", ") + (names.count > 12 ? ", …" : "")
            let columns = LabelledTexts.Columns(
                texts: columns.texts, value: columns.label, wanted: "one of the classes \(shown)"
            ) { value in
                names.firstIndex { $0.hasSameBytes(as: value.name) }.map(Double.init)
            }
            return RowStream { body in try LabelledTexts.each(path, columns, limit: limit, body) }
        }
        let texts = columns.texts
        let further = unlabelled.map { path in
            RowStream<LabelledTexts.Row> { body in try LabelledTexts.each(path, .init(texts: texts), body) }
        }
        let all = rows(path, limit)
        var (train, test) = (all, all)
        if let testPath {
            test = rows(testPath, nil)
        } else {
            (train, test) = all.parted(every: every)
        }
        // Classes that the recipe states are its own to answer for.
        let source =
            classes == nil ? ClassColumn(path: path, texts: texts, label: columns.label, limit: limit) : nil
        return try LabelledTextData(
            train, test, unlabelled: further ?? RowStream([]), classes: names, reads: reads, source: source)
    }

    /// The classes of the file: numbers by size, words by their bytes.
    /// - Throws: `RetortError` 65 when there is one class alone.
    private func found() throws -> [String] {
        let seen = Mutex<Set<ExactKey>>([])
        let columns = LabelledTexts.Columns(texts: columns.texts, value: columns.label, wanted: "a class") { value in
            seen.withLock { _ = $0.insert(ExactKey(value.name)) }
            return 0
        }
        try LabelledTexts.each(path, columns, limit: limit) { _ in }
        let names = seen.withLock { $0.map(\.string) }
        guard names.count > 1 else {
            throw RetortError.badData(
                "all rows are of one class", at: .init(file: path), help: "name the column of the classes: data.label")
        }
        return names.sorted { left, right in
            if let a = DecimalText.double(left), let b = DecimalText.double(right) { return a < b }
            return left.utf8.lexicographicallyPrecedes(right.utf8)
        }
    }
}

extension LabelledTexts.Value {
    /// As a class is called: a whole number without a point.
    var name: String {
        switch self {
        case .text(let text): text
        case .number(let number): Int(exactly: number).map(String.init) ?? String(number)
        }
    }
}

/// Texts of classes to learn from and to measure on.
struct LabelledTextData: EncoderData {
    struct Example: Sendable {
        /// As each reads it.
        let teacher: Int32
        let student: Int32
        let label: Int32

        func text(for role: EncoderRole) -> Int32 { role == .teacher ? teacher : student }
    }
    let texts: TextSet
    let classes: [String]
    private let train: [Example]
    private let test: [Example]
    /// Whether a teacher reads more of an example than its student.
    private let differs: Bool
    /// The last examples of `train`: what has no class.
    private let unlabelled: Int
    private let source: ClassColumn?

    var head: EncoderHead { .classification(classes: classes.count) }
    var digest: String {
        let rows = (train + test).lazy.map { "\($0.teacher) \($0.student) \($0.label)" }
        return ContentHash.hexadecimal(ofLines: [texts.digest, "\(train.count)"] + classes, rows)
    }

    /// - Parameters:
    ///   - reads: which texts of a row are read by each.
    ///   - source: where the classes were found; nil where they were given.
    /// - Throws: what reading the rows throws; `RetortError` 65 where there are none; 73, 74.
    init(
        _ train: RowStream<LabelledTexts.Row>, _ test: RowStream<LabelledTexts.Row>,
        unlabelled: RowStream<LabelledTexts.Row>, classes: [String],
        reads: (teacher: [Int], student: [Int]), source: ClassColumn? = nil
    ) throws {
        self.source = source
        let builder = TextSetBuilder()
        func examples(_ rows: RowStream<LabelledTexts.Row>, hasLabels: Bool = true) throws -> [Example] {
            var examples: [Example] = []
            try rows.forEach { row in
                func number(_ columns: [Int]) throws -> Int32 {
                    try builder.number(of: columns.map { row.texts[$0] })
                }
                examples.append(
                    Example(
                        teacher: try number(reads.teacher), student: try number(reads.student),
                        label: hasLabels ? Int32(row.value) : Self.unknown))
            }
            return examples
        }
        let known = try examples(train)
        let further = try examples(unlabelled, hasLabels: false)
        let tested = try examples(test)
        texts = try builder.finish()
        (self.train, self.test, self.unlabelled, self.classes) = (known + further, tested, further.count, classes)
        differs = reads.teacher != reads.student
        guard !known.isEmpty, !tested.isEmpty else {
            throw RetortError.badData("\(known.count) texts to learn from and \(tested.count) to measure on")
        }
    }

    func unknownClass(beside names: [String], of owner: String) throws -> RetortError? {
        try source?.unknown(beside: names, of: owner)
    }

    /// A class that nobody knows: losses of labels pass over it.
    private static let unknown: Int32 = -100

    var summary: String {
        "\(NumberFormat.grouped(train.count - unlabelled)) texts to learn from"
            + (unlabelled > 0 ? " and \(NumberFormat.grouped(unlabelled)) without a class" : "")
            + ", \(NumberFormat.grouped(test.count)) to measure on, \(classes.count) classes: "
            + classes.prefix(8).joined(separator: ", ") + (classes.count > 8 ? ", …" : "")
    }

    func check(_ arm: EncoderRecipe.Arm, hasTeacher: Bool, at location: RetortError.Location?) throws {
        guard !arm.needsTeacher || hasTeacher else {
            throw RetortError.recipe(
                "the arm \(arm.name) needs a teacher, and the recipe has none", at: location,
                help: "add teacher: {path: DIRECTORY}, or {model: …}")
        }
        if differs, let term = arm.inner {
            throw RetortError.recipe(
                "the arm \(arm.name) compares the models token by token", at: term.location,
                why: "data.teacher-pair lets the teacher read other tokens", help: "compare what they answer")
        }
        guard unlabelled > 0, arm.needsTeacher else { return }
        for term in arm.terms where term.objective is DKDObjective || term.objective is TeacherFreeObjective {
            throw RetortError.recipe(
                "the arm \(arm.name) has a loss that wants the class of every text, and data.unlabelled has none",
                at: term.location, help: "use hinton, forward-kl or another loss of the teacher's predictions")
        }
    }

    func lesson(for role: EncoderRole, teacher: TeacherAnswers?, seed: UInt64, on device: Device) throws
        -> any EncoderLesson
    {
        // Who learns of nobody learns from what has a class.
        let examples = teacher == nil ? Array(train.dropLast(unlabelled)) : train
        return LabelledTextLesson(train: examples, role: role, teacher: teacher, device: device)
    }

    func quality(_ model: AnsweringEncoder, as role: EncoderRole, teacher: TeacherAnswers?) throws -> Double {
        try evaluation(model.answers(test.map { $0.text(for: role) }).values).accuracy
    }

    func measure(_ model: AnsweringEncoder, as role: EncoderRole, teacher: TeacherAnswers?, trainer: EncoderTrainer?)
        throws -> EncoderMeasurement
    {
        let own = try evaluation(model.answers(test.map { $0.text(for: role) }).values)
        var measurement = EncoderMeasurement(
            metrics: [.accuracy: own.accuracy, .macroF1: own.macroF1], confusion: own.confusion)
        if let teacher {
            let theirs = evaluation(test.flatMap { teacher.row($0.teacher) })
            measurement.metrics[.agreement] = own.agreement(with: theirs)
            measurement.metrics[.klToTeacher] = own.divergence(from: theirs)
            measurement.teacherConfusion = own.confusion(with: theirs)
        }
        return measurement
    }

    private func evaluation(_ logits: [Float]) -> Evaluation {
        Evaluation(classes: classes.count, labels: test.map(\.label), logits: logits)
    }
}

/// A step of texts with their classes: the student's logits beside the teacher's.
private struct LabelledTextLesson: EncoderLesson {
    let train: [LabelledTextData.Example]
    let role: EncoderRole
    let teacher: TeacherAnswers?
    let device: Device

    var count: Int { train.count }

    func texts(of examples: [Int32], epoch: Int) -> [[Int32]] { [examples.map { train[Int($0)].text(for: role) }] }

    func input(
        _ student: ModelOutput, _ texts: [[Int32]], _ examples: [Int32], _ candidates: RankingCandidates,
        _ progress: TrainingProgress
    ) throws -> ObjectiveInput {
        ObjectiveInput(
            student: student,
            teachers: try teacher.map { [try $0.output(examples.map { train[Int($0)].teacher })] } ?? [],
            labels: try device.compute.view(examples.map { train[Int($0)].label }, [examples.count], .i32),
            progress: progress)
    }
}
