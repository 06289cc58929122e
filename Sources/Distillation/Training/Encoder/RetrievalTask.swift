import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// `data: {kind: retrieval}`: queries with passages. One encoder makes vectors of both, and a passage's score for a query is the product of the
/// two (a bi-encoder).
struct RetrievalTask: EncoderTask {
    private let path: String
    private let testPath: String?
    private let every: Int
    private let names: RankedTexts.Names
    private let candidates: Int
    private let limit: Int?
    private let place: RetortError.Location?

    static let section = RecipeSection(
        "retrieval", "Queries with their passages, for an encoder that finds passages by the product of vectors.",
        [
            SentenceSource.path, SentenceSource.test,
            RecipeField("query", .text, .defaulted("query"), "what the file calls a row's query"),
            RecipeField(
                "passages", .text, .defaulted("passages"),
                "what it calls its passages: a list, the first of which is relevant, or one text"),
            RecipeField(
                "labels", .text, .defaulted("labels"),
                "what it calls how much each passage is worth, where it says so: above 0 is relevant"),
            RecipeField(
                "scores", .text, .optional,
                "what it calls a teacher's scores of the passages: they teach in place of a model"),
            RecipeField(
                "candidates", .integer(2...1024), .defaulted("4"),
                "passages of a query in a step: one that is relevant, others of its own, the rest drawn from all"),
            SentenceSource.limit,
        ])
    static let objectives: [any Objective.Type] = [
        InfoNCEObjective.self, MarginMSEObjective.self, ListwiseKLObjective.self, RankNetObjective.self,
        ReverseKLObjective.self, JSDObjective.self, LogitMSEObjective.self, EmbeddingMSEObjective.self,
        EmbeddingCosineObjective.self,
    ]
    static let quality = Metric.ndcg10
    /// Queries and passages are read apart, in rows of different lengths.
    static var innerObjectives: [any LanguageObjective.Type] { [] }

    static func fields(of objective: any Objective.Type) -> [RecipeField] {
        // Losses of vectors compare no candidates.
        guard !(objective is any SignalObjective.Type) else { return [] }
        let usual = objective == InfoNCEObjective.self ? RankingCandidates.batch : .own
        return [
            RecipeField(
                "candidates", .choice(RankingCandidates.allCases.map(\.rawValue)), .defaulted(usual.rawValue),
                "a query's own candidates, or those of all queries of the batch")
        ]
    }

    static var aloneObjective: EncoderArmTerm? {
        guard let node = try? RecipeReader.readValue("{loss: info-nce}", .variant(key: "loss", losses)) else {
            return nil
        }
        return try? EncoderArmTerm(node, RetrievalTask.self)
    }

    init(_ data: RecipeNode, _ resolve: (String) -> String) throws {
        path = resolve(data.required("path").text)
        (testPath, every) = try SentenceSource.split(data, resolve)
        var names = RankedTexts.Names()
        names.query = data.required("query").text
        names.passages = data.required("passages").text
        names.labels = data.required("labels").text
        names.scores = data["scores"]?.text
        self.names = names
        candidates = data.required("candidates").integer
        limit = data["limit"]?.integer
        place = data["scores"]?.location ?? data.location
    }

    func load() throws -> any EncoderData {
        let all = try RankedTexts.read(path, names, limit: limit).rows
        // A test needs no scores: it is about what is relevant.
        var unscored = names
        unscored.scores = nil
        let test =
            try testPath.map { try RankedTexts.read($0, unscored).rows }
            ?? all.enumerated().filter { $0.offset % every == 0 }.map(\.element)
        let train = testPath != nil ? all : all.enumerated().filter { $0.offset % every != 0 }.map(\.element)
        return try RetrievalData(train, test, candidates: candidates, hasScores: names.scores != nil, place)
    }
}

/// Queries to learn from and to measure on.
struct RetrievalData: EncoderData {
    struct Query: Sendable {
        let text: Int32
        let passages: [Int32]
        let isRelevant: [Bool]
        let scores: [Float]
    }
    let texts: TextSet
    private let train: [Query]
    private let test: [Query]
    /// Every passage of the test, once: what is searched.
    private let pool: [Int32]
    /// Every passage of the training, once: what further candidates are drawn from.
    private let all: [Int32]
    private let candidates: Int
    private let hasScores: Bool
    private let place: RetortError.Location?

    let head = EncoderHead.none
    let classes: [String] = []
    var digest: String {
        let rows = (train + test).map { "\($0.text) \($0.passages) \($0.isRelevant) \($0.scores)" }
        return ContentHash.hexadecimal(
            of: Array(([texts.digest, "\(train.count)"] + rows).joined(separator: "\n").utf8))
    }

    /// - Throws: `RetortError` 65 for a query with fewer passages than are scored in a step, and where nothing is left to learn or measure.
    init(
        _ train: [RankedTexts.Row], _ test: [RankedTexts.Row], candidates: Int, hasScores: Bool,
        _ place: RetortError.Location?
    ) throws {
        var texts = TextSet()
        if hasScores, let row = train.first(where: { $0.labels.count { $0 == 0 } < candidates - 1 }) {
            let others = row.labels.count { $0 == 0 }
            throw RetortError.badData(
                "a query has \(others) passages beside the relevant ones, and a step wants \(candidates - 1)",
                at: row.place, why: "others can be drawn from all passages, but the file has no scores of those",
                help: others > 0 ? "lower data.candidates to \(others + 1)" : "give it more passages")
        }
        func queries(_ rows: [RankedTexts.Row]) -> [Query] {
            rows.map { row in
                let relevant = row.labels.map { $0 > 0 }
                return Query(
                    text: texts.number(of: [row.query]), passages: row.passages.map { texts.number(of: [$0]) },
                    isRelevant: relevant, scores: (row.scores ?? []).map { Float($0) })
            }
        }
        (self.train, self.test) = (queries(train), queries(test))
        self.texts = texts
        func distinct(_ queries: [Query]) -> [Int32] { queries.flatMap(\.passages).distinct }
        (all, pool) = (distinct(self.train), distinct(self.test))
        (self.candidates, self.hasScores, self.place) = (candidates, hasScores, place)
        guard !train.isEmpty, !test.isEmpty else {
            throw RetortError.badData("\(train.count) queries to learn from and \(test.count) to measure on")
        }
        let most = self.train.map { Set($0.passages).count }.max() ?? 0
        guard hasScores || all.count - most >= candidates - 1 else {
            throw RetortError.badData(
                "\(all.count) passages to draw \(candidates - 1) further candidates from",
                help: "lower data.candidates, or give more passages")
        }
    }

    var summary: String {
        "\(NumberFormat.grouped(train.count)) queries and \(NumberFormat.grouped(all.count)) passages to learn from, "
            + "\(NumberFormat.grouped(test.count)) queries to find among \(NumberFormat.grouped(pool.count)) passages"
    }

    func check(_ arm: EncoderRecipe.Arm, hasTeacher: Bool, at location: RetortError.Location?) throws {
        if hasScores, hasTeacher {
            throw RetortError.recipe(
                "there are two teachers: one under teacher, and the scores of the data", at: place,
                help: "remove one of them")
        }
        for term in arm.terms where term.needsTeacher && !hasTeacher {
            guard hasScores else {
                throw RetortError.recipe(
                    "the arm \(arm.name) needs a teacher, and the recipe has none", at: location,
                    help: "add teacher: {path: DIRECTORY}, or data.scores where the file has a teacher's scores")
            }
            let why = "the data have a teacher's scores of a query's own passages, and nothing else of it"
            if term.objective is any SignalObjective {
                throw RetortError.recipe("the arm \(arm.name) compares vectors", at: term.location, why: why)
            }
            if term.candidates == .batch {
                throw RetortError.recipe(
                    "the arm \(arm.name) compares scores of all passages of the batch", at: term.location, why: why,
                    help: "say `candidates: own`")
            }
        }
    }

    func lesson(for role: EncoderRole, teacher: TeacherAnswers?, seed: UInt64, on device: Device) throws
        -> any EncoderLesson
    {
        RetrievalLesson(
            train: train, all: all, candidates: candidates, hasScores: hasScores, teacher: teacher, seed: seed,
            device: device)
    }

    func quality(_ model: AnsweringEncoder, as role: EncoderRole, teacher: TeacherAnswers?) throws -> Double {
        try ranking(model).metrics[.ndcg10] ?? .nan
    }

    func measure(_ model: AnsweringEncoder, as role: EncoderRole, teacher: TeacherAnswers?, trainer: EncoderTrainer?)
        throws -> EncoderMeasurement
    {
        let (metrics, queries, passages) = try ranking(model)
        var measurement = EncoderMeasurement(metrics: metrics)
        guard let teacher else { return measurement }
        let width = model.width
        func product(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> Double {
            zip(a, b).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        }
        let pairs = Self.pairs(test.count, pool.count)
        let own = pairs.map { query, passage in
            product(
                queries[(query * width)..<((query + 1) * width)],
                passages[(passage * width)..<((passage + 1) * width)])
        }
        let theirs = pairs.map { query, passage in
            product(teacher.row(test[query].text)[...], teacher.row(pool[passage])[...])
        }
        measurement.metrics[.teacherSpearman] = SentenceSimilarity.spearman(own, theirs) ?? .nan
        return measurement
    }

    /// All pairs of query and passage, or as many of them as are affordable, always the same.
    static func pairs(_ queries: Int, _ passages: Int, most: Int = 20_000) -> [(query: Int, passage: Int)] {
        let count = queries * passages
        guard count > most else { return (0..<count).map { ($0 / passages, $0 % passages) } }
        let random = Philox(seed: 0, stream: Philox.stream("retrieval/pairs"))
        guard let bound = UInt32(exactly: count) else {
            return (0..<UInt64(most)).map {
                (
                    Int(random.integer(2 * $0, below: UInt32(queries))),
                    Int(random.integer(2 * $0 + 1, below: UInt32(passages)))
                )
            }
        }
        return (0..<UInt64(most)).map { number in
            let place = Int(random.integer(number, below: bound))
            return (place / passages, place % passages)
        }
    }

    /// Scores on the device at one time.
    private static let scoresAtOnce = 1 << 22

    /// Every passage of the pool ranked for every query of the test.
    /// - Returns: also the vectors, row-major.
    private func ranking(_ model: AnsweringEncoder) throws -> (
        metrics: [Metric: Double], queries: [Float], passages: [Float]
    ) {
        let (device, width) = (model.device, model.width)
        let queries = try model.answers(test.map(\.text)).values
        let passages = try model.answers(pool).values
        let table = try Tensor(passages, [pool.count, width], on: device).transposed(0, 1)
        var sums: (recall: Double, ndcg: Double, reciprocal: Double) = (0, 0, 0)
        let part = max(1, Self.scoresAtOnce / pool.count)
        for start in stride(from: 0, to: test.count, by: part) {
            let rows = start..<min(test.count, start + part)
            let own = Array(queries[(rows.lowerBound * width)..<(rows.upperBound * width)])
            let scores = try Autograd.withoutGradients {
                try Tensor(own, [rows.count, width], on: device).matmul(table).values()
            }
            for row in rows {
                let query = test[row]
                let relevant = Set(zip(query.passages, query.isRelevant).filter(\.1).map(\.0))
                let first = (row - start) * pool.count
                let order = (first..<(first + pool.count)).sorted { (-scores[$0], $0) < (-scores[$1], $1) }.prefix(10)
                let hits = order.map { relevant.contains(pool[$0 - first]) }
                sums.recall += RankingEvaluation.recall(hits, relevant.count, at: 10)
                sums.ndcg += RankingEvaluation.ndcg(hits, relevant.count, at: 10)
                sums.reciprocal += hits.firstIndex(of: true).map { 1 / Double($0 + 1) } ?? 0
            }
        }
        let count = Double(test.count)
        return (
            [.recall10: sums.recall / count, .ndcg10: sums.ndcg / count, .mrr10: sums.reciprocal / count], queries,
            passages
        )
    }
}

/// A step of queries and candidates: the relevant passage of each first.
struct RetrievalLesson: EncoderLesson {
    let train: [RetrievalData.Query]
    let all: [Int32]
    let candidates: Int
    let hasScores: Bool
    let teacher: TeacherAnswers?
    let seed: UInt64
    let device: Device

    var count: Int { train.count }

    func texts(of examples: [Int32], epoch: Int) -> [[Int32]] {
        [
            examples.map { train[Int($0)].text },
            examples.flatMap { chosen($0, epoch: epoch).map(\.text) },
        ]
    }

    /// A query's candidates in an epoch: a function of the seed, the epoch and the query.
    /// - Returns: texts and their places among the query's passages; nil for those that were drawn from all.
    func chosen(_ example: Int32, epoch: Int) -> [(text: Int32, place: Int?)] {
        let query = train[Int(example)]
        let number = UInt64(epoch) &* UInt64(train.count) &+ UInt64(example)
        let random = Philox(seed: seed, stream: Philox.stream("retrieval/candidates") &+ number)
        func drawn(_ places: [Int], _ count: Int) -> [Int] {
            guard places.count > 1 else { return Array(places.prefix(count)) }
            return random.permutation(places.count).prefix(count).map { places[Int($0)] }
        }
        let relevant = drawn(query.passages.indices.filter { query.isRelevant[$0] }, 1)
        let others = drawn(query.passages.indices.filter { !query.isRelevant[$0] }, candidates - 1)
        var result: [(text: Int32, place: Int?)] = (relevant + others).map { (query.passages[$0], $0) }
        var seen = Set(query.passages)
        var draw: UInt64 = 1 << 32
        while result.count < candidates {
            let text = all[Int(random.integer(draw, below: UInt32(all.count)))]
            draw += 1
            if seen.insert(text).inserted { result.append((text, nil)) }
        }
        return result
    }

    func input(
        _ student: ModelOutput, _ texts: [[Int32]], _ examples: [Int32], _ candidates: RankingCandidates,
        _ progress: TrainingProgress
    ) throws -> ObjectiveInput {
        let rows = examples.count
        let columns = candidates == .own ? self.candidates : rows * self.candidates
        let labels = (0..<rows).map { candidates == .own ? 0 : Int32($0 * self.candidates) }
        var relevant = [Float](repeating: 0, count: rows * columns)
        for (row, label) in labels.enumerated() { relevant[row * columns + Int(label)] = 1 }
        func output(_ answers: ModelOutput, _ signals: [String: Tensor]) throws -> ModelOutput {
            ModelOutput(
                logits: try Self.scores(answers.logits, rows, candidates),
                signals: signals.merging(answers.signals) { $1 })
        }
        var teachers: [ModelOutput] = []
        if let teacher {
            teachers = [
                try Autograd.withoutGradients { try output(teacher.output(Array(texts.joined())), [:]) }
            ]
        } else if hasScores, candidates == .own {
            let scores = examples.flatMap { example in
                chosen(example, epoch: progress.epoch).map { $0.place.map { train[Int(example)].scores[$0] } ?? 0 }
            }
            teachers = [ModelOutput(logits: try Tensor(scores, [rows, columns], on: device))]
        }
        return ObjectiveInput(
            student: try output(
                student, [RankingSignals.relevant: try Tensor(relevant, [rows, columns], on: device)]),
            teachers: teachers, labels: try device.compute.view(labels, [rows], .i32), progress: progress)
    }

    /// Vectors of queries and then of passages, `[queries + passages, width]` → products `[queries, candidates]`, or `[queries, passages]`.
    static func scores(_ vectors: Tensor, _ queries: Int, _ candidates: RankingCandidates) throws -> Tensor {
        let (count, width) = (vectors.shape[0], vectors.shape[1])
        let own = try vectors.narrowed(axis: 0, 0..<queries)
        let passages = try vectors.narrowed(axis: 0, queries..<count)
        switch candidates {
        case .batch: return try own.matmul(passages.transposed(0, 1))
        case .own:
            let each = (count - queries) / queries
            return try (own.reshaped([queries, 1, width]) * passages.reshaped([queries, each, width])).sum(2)
        }
    }
}
