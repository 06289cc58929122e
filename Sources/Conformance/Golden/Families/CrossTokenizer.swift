import RetortDistillation
import RetortKernels
import RetortRuntime

extension GoldenFamilies {
    /// Universal logit distillation of answers: the n-th place of the one with the n-th of the other, mean over places and then over texts,
    /// and a cross entropy.
    static let universal = TensorFamily { trial in
        let (student, teacher) = (try trial.tensor("student"), try trial.tensor("teacher").detached)
        let strategy = try trial.parameters.word("strategy")
        // "observed" looks at the places of the answer themselves, "bayesian" at those that predict it.
        let shift: Int
        switch strategy {
        case "observed": shift = 0
        case "bayesian": shift = 1
        default: throw GoldenParameters.unknownValue("strategy", strategy)
        }
        let (own, theirs) = (try trial.labels("s_labels"), try trial.labels("t_labels"))
        func rows(_ x: Tensor, _ places: [Int]) throws -> Tensor {
            try x.reshaped([x.shape[0] * x.shape[1], x.shape[2]]).gatherRows(
                places.map(Int32.init), shape: [places.count])
        }
        func answer(_ labels: [Int32], _ text: Int, length: Int) -> [Int] {
            (text * length..<(text + 1) * length).filter { labels[$0] != -100 }
        }
        let texts = student.shape[0]
        let (ownTemperature, theirTemperature) = (try trial.parameters.float("T_s"), try trial.parameters.float("T_t"))
        let distances = try (0..<texts).map { text in
            let pairs = Array(
                zip(
                    answer(own, text, length: student.shape[1]), answer(theirs, text, length: teacher.shape[1])))
            let q = try rows(student, pairs.map { $0.0 - shift }).softmax(temperature: ownTemperature)
            let p = try rows(teacher, pairs.map { $0.1 - shift }).softmax(temperature: theirTemperature)
            return try q.sortedDistance(to: p).mean(0)
        }
        let sum = try distances.dropFirst().reduce(distances[0]) { try $0 + $1 }
        let places = (0..<texts).flatMap { answer(own, $0, length: student.shape[1]) }
        let labels = try trial.view(places.map { own[$0] })
        let hard = try rows(student, places.map { $0 - 1 }).crossEntropy(labels, scale: 1 / Float(places.count)).total
        let weights = (try trial.parameters.float("w_d"), try trial.parameters.float("w_ce"))
        trial.give("loss", try sum * (weights.0 / Float(texts)) + hard * weights.1)
    }
}
