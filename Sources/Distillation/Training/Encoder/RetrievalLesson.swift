import RetortModels
import RetortRuntime
import RetortSupport

/// A step of queries and candidates: the relevant passage of each first.
struct RetrievalLesson: EncoderLesson {
    let train: [RetrievalQuery]
    /// All that is relevant for a query's text.
    let answers: [Int32: Set<Int32>]
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
        let answers = answers[query.text] ?? []
        // Only the file's scores keep a passage that another row of the query calls relevant: there is nothing to put in its place.
        let others = drawn(
            query.passages.indices.filter {
                !query.isRelevant[$0] && (hasScores || !answers.contains(query.passages[$0]))
            }, candidates - 1)
        var result: [(text: Int32, place: Int?)] = (relevant + others).map { (query.passages[$0], $0) }
        var seen = answers.union(query.passages)
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
        let counted = try counted(texts[1], examples, candidates, labels).map {
            try Tensor($0, [rows, columns], on: device)
        }
        func output(_ answers: ModelOutput, _ signals: [String: Tensor]) throws -> ModelOutput {
            let scores = try Self.scores(answers.logits, rows, candidates)
            return ModelOutput(
                logits: try counted.map { try RankingSignals.excluding(scores, $0) } ?? scores,
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
            let taught = try Tensor(scores, [rows, columns], on: device)
            teachers = [
                ModelOutput(logits: try counted.map { try RankingSignals.excluding(taught, $0) } ?? taught)
            ]
        }
        var signals = [RankingSignals.relevant: try Tensor(relevant, [rows, columns], on: device)]
        signals[RankingSignals.counted] = counted
        return ObjectiveInput(
            student: try output(student, signals),
            teachers: teachers, labels: try device.compute.view(labels, [rows], .i32), progress: progress)
    }

    /// Which candidates count, `[queries, candidates]`, 1 or 0: not those that are relevant for the query too, by their text, whether they are the
    /// same text as the passage it is to find or another answer to the same query. nil: all do.
    func counted(_ passages: [Int32], _ examples: [Int32], _ candidates: RankingCandidates, _ labels: [Int32])
        -> [Float]?
    {
        var isMissing = false
        let counted = zip(examples, labels).enumerated().flatMap { row, query -> [Float] in
            let answers = answers[train[Int(query.0)].text] ?? []
            let own = row * self.candidates..<(row + 1) * self.candidates
            return (candidates == .own ? passages[own] : passages[...]).enumerated().map { place, text in
                let isFalse = place != Int(query.1) && answers.contains(text)
                if isFalse { isMissing = true }
                return isFalse ? 0 : 1
            }
        }
        return isMissing ? counted : nil
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
