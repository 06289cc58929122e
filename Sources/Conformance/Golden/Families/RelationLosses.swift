import RetortDistillation
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Distances and angles; a part whose weight is 0 is given all the same.
    static let relationalKD = TensorFamily { trial in
        let parts = try trial.tensor("student").relationalDistances(trial.tensor("teacher"))
        guard let angle = parts.angle else { throw RetortError.badData("no angles") }
        trial.give("distance", parts.distance)
        trial.give("angle", angle)
        trial.give(
            "loss", try parts.distance * trial.parameters.float("w_d") + angle * trial.parameters.float("w_a"))
    }

    /// Losses of relations between examples, channels and models.
    static let relational = TensorFamily { trial in
        let (student, teacher) = (try trial.tensor("student"), try trial.tensor("teacher"))
        let kind = try trial.parameters.word("kind")
        switch kind {
        case "sp": trial.give("loss", try student.similarityDistance(teacher))
        case "pkt": trial.give("loss", try student.neighbourDivergence(teacher))
        case "nst": trial.give("loss", try student.selectivityDistance(teacher))
        case "vid":
            // Three 1×1 convolutions with ReLU between them.
            let mean = try student.conv2d(trial.tensor("w1")).relu().conv2d(trial.tensor("w2")).relu()
                .conv2d(trial.tensor("w3"))
            trial.give("loss", try mean.variationalLoss(target: teacher, logScale: trial.tensor("log_scale")))
        case "cc": trial.give("loss", try student.correlationCongruence(teacher))
        default: throw GoldenParameters.unknownValue("kind", kind)
        }
    }
}
