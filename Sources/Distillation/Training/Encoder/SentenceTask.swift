import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// `data: {kind: sentences}`: texts alone, whose vectors a student learns from its teacher.
struct SentenceTask: EncoderTask {
    private let source: SentenceSource

    static let section = RecipeSection(
        "sentences", "Texts for encoders whose vectors a student learns from its teacher.", SentenceSource.fields)
    static let objectives: [any Objective.Type] = [
        EmbeddingMSEObjective.self, EmbeddingCosineObjective.self, RKDObjective.self, SPObjective.self,
        PKTObjective.self, CCObjective.self, ContrastiveObjective.self,
    ]
    static let quality = Metric.teacherSpearman

    init(_ data: RecipeNode, _ resolve: (String) -> String) throws {
        source = try SentenceSource(data, resolve)
    }

    func load() throws -> any EncoderData { try SentenceData(source.load()) }
}

/// Where sentences come from, as a recipe states it.
struct SentenceSource: Sendable {
    private let path: String
    private let testPath: String?
    private let every: Int
    private let columns: [String]
    private let format: String
    private let limit: Int?

    /// The part of a recipe's `data` that says what is measured, the same for all texts of encoders.
    static let test = RecipeField(
        "test",
        .section(
            RecipeSection(
                "test", "What is measured.",
                [
                    RecipeField("path", .text, .optional, "a file of its own, of the same form"),
                    RecipeField(
                        "every", .integer(2...1_000_000), .optional,
                        "each n-th row, the first among them, which is then not learned"),
                ])), .required, "what is measured: a file of its own, or every n-th row")
    static let path = RecipeField(
        "path", .text, .required, "the file; relative to the recipe, else to the working directory")
    static let limit = RecipeField("limit", .integer(1...1_000_000_000), .optional, "rows at most (default: all)")

    static let fields = [
        path, test,
        RecipeField(
            "format", .choice(["rows", "lines", "paragraphs"]), .defaulted("rows"),
            "rows of CSV, TSV (by the name's end) or JSON; or plain text: a text in each line, or between blank lines"),
        RecipeField(
            "columns", .list(of: .text, count: 1...16), .defaulted("[text]"),
            "the columns of a row that are texts, each one for itself"),
        limit,
    ]

    /// One file, of which every n-th row is measured.
    init(_ path: String, format: TextFormat?, columns: [String], every: Int, limit: Int?) {
        (self.path, self.columns, self.every, self.limit) = (path, columns, every, limit)
        self.format = format?.rawValue ?? "rows"
        testPath = nil
    }

    init(_ node: RecipeNode, _ resolve: (String) -> String) throws {
        path = resolve(node.required("path").text)
        (testPath, every) = try Self.split(node, resolve)
        columns = node.required("columns").list.map(\.text)
        format = node.required("format").text
        limit = node["limit"]?.integer
    }

    /// - Returns: a file of its own, or which rows are measured.
    /// - Throws: `RetortError` 78 unless there is one of them.
    static func split(_ node: RecipeNode, _ resolve: (String) -> String) throws -> (path: String?, every: Int) {
        let test = node.required("test")
        switch (test["path"], test["every"]) {
        case (let path?, nil): return (resolve(path.text), 0)
        case (nil, let every?): return (nil, every.integer)
        case (_?, _?):
            throw RetortError.recipe(
                "data.test has both path and every", at: test.location,
                help: "keep one of them; `data.test={path: FILE}` replaces the whole section")
        default:
            throw RetortError.recipe(
                "data.test needs either path or every", at: test.location,
                help: "path names a file; every: 20 keeps each twentieth row for the test")
        }
    }

    /// The texts of each row, to learn from and to measure on.
    /// - Throws: `RetortError` 65, 66, 69, 73, 74 for files of plain text; for others when they are read.
    func load() throws -> (train: RowStream<[String]>, test: RowStream<[String]>) {
        let all = try rows(path, limit)
        guard let testPath else {
            let parts = all.parted(every: every)
            return (parts.others, parts.each)
        }
        return (all, try rows(testPath, nil))
    }

    private func rows(_ path: String, _ limit: Int?) throws -> RowStream<[String]> {
        guard let format = format == "rows" ? nil : TextFormat(rawValue: format) else {
            let columns = LabelledTexts.Columns(texts: columns)
            return RowStream { body in try LabelledTexts.each(path, columns, limit: limit) { try body($0.texts) } }
        }
        let source = try TextSource.open([path], TextOptions(format: format))
        return RowStream { body in
            for number in 0..<min(source.count, limit ?? .max) {
                guard case .text(let text) = try source.record(number).content else {
                    throw RetortError.internalBug("plain text that is no text")
                }
                try body([text])
            }
        }
    }
}

/// Sentences to learn from and to measure on, none of which is in both.
struct SentenceData: EncoderData {
    let texts: TextSet
    private let train: [Int32]
    private let test: [Int32]
    private let repeated: Int

    let head = EncoderHead.none
    let classes: [String] = []
    var digest: String { ContentHash.hexadecimal(of: Array("\(texts.digest) \(test.count)".utf8)) }

    /// - Throws: what reading the rows throws; `RetortError` 65 where too few texts are left; 73, 74.
    init(_ rows: (train: RowStream<[String]>, test: RowStream<[String]>)) throws {
        let builder = TextSetBuilder()
        func numbers(_ rows: RowStream<[String]>) throws -> [Int32] {
            var numbers: [Int32] = []
            // Empty columns are no sentences.
            try rows.forEach { row in
                for text in row where !text.isEmpty { numbers.append(try builder.number(of: [text])) }
            }
            return numbers
        }
        let (tested, all) = (try numbers(rows.test), try numbers(rows.train))
        var seen = Set<Int32>()
        test = tested.filter { seen.insert($0).inserted }
        train = all.filter { seen.insert($0).inserted }
        repeated = tested.count + all.count - seen.count
        texts = try builder.finish()
        guard test.count > 2, !train.isEmpty else {
            throw RetortError.badData(
                "\(train.count) sentences to learn from and \(test.count) to measure on",
                why: "similarities are compared by rank: that takes three of them")
        }
    }

    var summary: String {
        "\(NumberFormat.grouped(train.count)) sentences to learn from, \(NumberFormat.grouped(test.count)) to measure on"
            + (repeated > 0 ? "; \(NumberFormat.grouped(repeated)) that stand there twice are left out" : "")
    }

    func check(_ arm: EncoderRecipe.Arm, hasTeacher: Bool, at location: RetortError.Location?) throws {
        guard hasTeacher else {
            throw RetortError.recipe(
                "the arm \(arm.name) needs a teacher, and the recipe has none", at: location,
                help: "add teacher: {path: DIRECTORY}")
        }
    }

    func lesson(for role: EncoderRole, teacher: TeacherAnswers?, seed: UInt64, on device: Device) throws
        -> any EncoderLesson
    {
        guard let teacher else { throw RetortError.internalBug("vectors are learned without a teacher") }
        return SentenceLesson(train: train, teacher: teacher, device: device)
    }

    func quality(_ model: AnsweringEncoder, as role: EncoderRole, teacher: TeacherAnswers?) throws -> Double {
        try spearman(model, teacher) ?? .nan
    }

    func measure(_ model: AnsweringEncoder, as role: EncoderRole, teacher: TeacherAnswers?, trainer: EncoderTrainer?)
        throws -> EncoderMeasurement
    {
        var measurement = EncoderMeasurement()
        guard let teacher else { return measurement }
        measurement.metrics[.teacherSpearman] = try spearman(model, teacher) ?? .nan
        guard let sides = try trainer?.embeddings(of: test) else { return measurement }
        let (own, theirs) = (try sides.student.values(), try sides.teacher.values())
        let width = own.count / test.count
        let cosines = (0..<test.count).map { row in
            SentenceSimilarity.cosine(
                Array(own[(row * width)..<((row + 1) * width)]), Array(theirs[(row * width)..<((row + 1) * width)]))
        }
        measurement.metrics[.teacherCosine] = cosines.reduce(0, +) / Double(test.count)
        // A part of the rows at a time: all scores are rows².
        let part = max(1, (1 << 22) / test.count)
        var hits = 0
        for start in stride(from: 0, to: test.count, by: part) {
            let rows = try sides.student.slice(start..<min(test.count, start + part))
            let scores = try Autograd.withoutGradients { try rows.matmul(sides.teacher.transposed(0, 1)) }
            let nearest: [Int32] = try model.device.compute.read(scores.argmax(-1), as: Int32.self)
            hits += nearest.enumerated().count { start + $0.offset == Int($0.element) }
        }
        measurement.metrics[.retrieval] = Double(hits) / Double(test.count)
        return measurement
    }

    /// How the similarities of pairs of test sentences follow the teacher's, by rank.
    private func spearman(_ model: AnsweringEncoder, _ teacher: TeacherAnswers?) throws -> Double? {
        guard let teacher else { return nil }
        let values = try model.answers(test).values
        let width = model.width
        let own = test.indices.map { Array(values[($0 * width)..<(($0 + 1) * width)]) }
        let theirs = test.map(teacher.row)
        let pairs = Self.pairs(test.count)
        return SentenceSimilarity.spearman(
            pairs.map { SentenceSimilarity.cosine(own[$0.0], own[$0.1]) },
            pairs.map { SentenceSimilarity.cosine(theirs[$0.0], theirs[$0.1]) })
    }

    /// All pairs of different numbers below `count`, or as many of them as are affordable, always the same.
    static func pairs(_ count: Int, most: Int = 20_000) -> [(Int, Int)] {
        guard count * (count - 1) / 2 > most else {
            return (0..<count).flatMap { a in ((a + 1)..<max(count, a + 1)).map { (a, $0) } }
        }
        let random = Philox(seed: 0, stream: Philox.stream("sentences/pairs"))
        return (0..<UInt64(most)).map { number in
            let first = Int(random.integer(2 * number, below: UInt32(count)))
            let second = Int(random.integer(2 * number + 1, below: UInt32(count - 1)))
            return (first, second < first ? second : second + 1)
        }
    }
}

/// A step of sentences: the student's vectors beside the teacher's.
private struct SentenceLesson: EncoderLesson {
    let train: [Int32]
    let teacher: TeacherAnswers
    let device: Device

    var count: Int { train.count }

    func texts(of examples: [Int32], epoch: Int) -> [[Int32]] { [examples.map { train[Int($0)] }] }

    func input(
        _ student: ModelOutput, _ texts: [[Int32]], _ examples: [Int32], _ candidates: RankingCandidates,
        _ progress: TrainingProgress
    ) throws -> ObjectiveInput {
        let numbers = Array(texts.joined())
        return ObjectiveInput(
            student: student, teachers: [try teacher.output(numbers)],
            labels: try device.compute.view([Int32](repeating: 0, count: numbers.count), [numbers.count], .i32),
            progress: progress)
    }
}
