import RetortData
import RetortModels
import RetortRuntime
import RetortSupport

/// Queries to learn from and to measure on.
struct RetrievalData: EncoderData {
    let texts: TextSet
    private let train: [RetrievalQuery]
    private let test: RetrievalTest
    /// All that is relevant for a query's text in the training, whichever row says so.
    private let answers: [Int32: Set<Int32>]
    /// Every passage of the training, once: what further candidates are drawn from.
    private let all: [Int32]
    private let candidates: Int
    private let hasScores: Bool
    private let place: RetortError.Location?

    let head = EncoderHead.none
    let classes: [String] = []
    var digest: String {
        let rows = (train + test.queries).lazy.map { "\($0.text) \($0.passages) \($0.isRelevant) \($0.scores)" }
        return ContentHash.hexadecimal(ofLines: [texts.digest, "\(train.count)"], rows)
    }

    /// - Throws: what reading the rows throws; `RetortError` 65 for a query with fewer passages than are scored in a step, and where nothing is
    ///   left to learn or measure; 73, 74.
    init(
        _ train: RowStream<RankedTexts.Row>, _ test: RowStream<RankedTexts.Row>, candidates: Int, hasScores: Bool,
        _ place: RetortError.Location?
    ) throws {
        let builder = TextSetBuilder()
        var queries: [RetrievalQuery] = []
        try train.forEach { row in
            let others = row.labels.count { $0 == 0 }
            guard !hasScores || others >= candidates - 1 else {
                throw RetortError.badData(
                    "a query has \(others) passages beside the relevant ones, and a step wants \(candidates - 1)",
                    at: row.place, why: "others can be drawn from all passages, but the file has no scores of those",
                    help: others > 0 ? "lower data.candidates to \(others + 1)" : "give it more passages")
            }
            queries.append(try RetrievalQuery(row, in: builder))
        }
        self.train = queries
        self.test = try RetrievalTest(test, in: builder)
        texts = try builder.finish()
        answers = RetrievalQuery.answers(self.train)
        all = self.train.flatMap(\.passages).distinct
        (self.candidates, self.hasScores, self.place) = (candidates, hasScores, place)
        guard !queries.isEmpty, !self.test.queries.isEmpty else {
            throw RetortError.badData(
                "\(queries.count) queries to learn from and \(self.test.queries.count) to measure on")
        }
        let answers = answers
        let most = self.train.map { Set($0.passages).union(answers[$0.text] ?? []).count }.max() ?? 0
        guard hasScores || all.count - most >= candidates - 1 else {
            throw RetortError.badData(
                "\(all.count) passages to draw \(candidates - 1) further candidates from",
                help: "lower data.candidates, or give more passages")
        }
    }

    var summary: String {
        "\(NumberFormat.grouped(train.count)) queries and \(NumberFormat.grouped(all.count)) passages to learn from, "
            + test.summary
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
            train: train, answers: answers, all: all, candidates: candidates, hasScores: hasScores, teacher: teacher,
            seed: seed, device: device)
    }

    func quality(_ model: AnsweringEncoder, as role: EncoderRole, teacher: TeacherAnswers?) throws -> Double {
        try test.ranking(model).metrics[.ndcg10] ?? .nan
    }

    func measure(_ model: AnsweringEncoder, as role: EncoderRole, teacher: TeacherAnswers?, trainer: EncoderTrainer?)
        throws -> EncoderMeasurement
    {
        EncoderMeasurement(metrics: try test.metrics(model, teacher: teacher))
    }
}
