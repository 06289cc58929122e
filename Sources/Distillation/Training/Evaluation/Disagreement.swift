import RetortData

extension Gallery {
    /// The test images on which the first arm after the student alone (else the first arm) is furthest from the teacher, by KL
    /// divergence of its answer from the teacher's.
    /// - Parameters:
    ///   - images: the test set.
    ///   - evaluations: of one seed, teacher first.
    ///   - count: pictures to show.
    /// - Throws: `RetortError` when a picture on disk can no longer be decoded.
    init?(_ images: ExampleSet, evaluations: [(role: String, evaluation: Evaluation)], count: Int = 18) throws {
        guard evaluations.count >= 2, images.count > 0, images.sample.count == 3 else { return nil }
        let teacher = evaluations[0].evaluation
        let student = (evaluations.dropFirst().first { $0.role != Role.alone } ?? evaluations[1]).evaluation
        let distances = student.rowDivergences(from: teacher)
        let rows = distances.indices.sorted { (distances[$0], $1) > (distances[$1], $0) }.prefix(count)
        let pixels = try images.pictures(Array(rows))
        self.init(
            channels: images.sample[0], height: images.sample[1], width: images.sample[2],
            pictures: zip(rows, pixels).map { row, pixels in
                Picture(
                    row: row, label: Int(teacher.labels[row]), pixels: pixels,
                    answers: evaluations.map { entry in
                        let (predicted, probability) = entry.evaluation.answer(row)
                        return Answer(role: entry.role, predicted: predicted, probability: probability)
                    })
            })
    }
}
