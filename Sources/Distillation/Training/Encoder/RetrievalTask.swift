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
        let all = RowStream<RankedTexts.Row> { body in try RankedTexts.each(path, names, limit: limit, body) }
        let rows: (train: RowStream<RankedTexts.Row>, test: RowStream<RankedTexts.Row>)
        if let testPath {
            // A test needs no scores: it is about what is relevant.
            var unscored = names
            unscored.scores = nil
            let named = unscored
            rows = (all, RowStream<RankedTexts.Row> { body in try RankedTexts.each(testPath, named, body) })
        } else {
            let parts = all.parted(every: every)
            rows = (parts.others, parts.each)
        }
        return try RetrievalData(
            rows.train, rows.test, candidates: candidates, hasScores: names.scores != nil, place)
    }
}
