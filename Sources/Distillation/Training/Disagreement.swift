import Foundation
import RetortData

extension Gallery {
    /// The test images on which the first arm after the student alone (else the first arm) is furthest from the teacher, by KL
    /// divergence of its answer from the teacher's.
    /// - Parameters:
    ///   - evaluations: of one seed, teacher first.
    ///   - count: pictures to show.
    init?(_ images: ImageDataset, evaluations: [(role: String, evaluation: Evaluation)], count: Int = 18) {
        guard evaluations.count >= 2, images.count > 0 else { return nil }
        let teacher = evaluations[0].evaluation
        let student = (evaluations.dropFirst().first { $0.role != Role.alone } ?? evaluations[1]).evaluation
        let distances = student.rowDivergences(from: teacher)
        let rows = distances.indices.sorted { (distances[$0], $1) > (distances[$1], $0) }.prefix(count)
        self.init(
            channels: images.channels, height: images.height, width: images.width,
            pictures: rows.map { row in
                Picture(
                    row: row, label: Int(images.labels[row]), pixels: Array(images.image(row)),
                    answers: evaluations.map { entry in
                        let (predicted, probability) = entry.evaluation.answer(row)
                        return Answer(role: entry.role, predicted: predicted, probability: probability)
                    })
            })
    }
}
