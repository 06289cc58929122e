import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Distillation from a teacher's k largest log-probabilities, and what becomes of the other classes; mean over rows.
    static let topK = TensorFamily(
        ["dense", "chunked"].map { path in
            GoldenWay(path) { trial in
                let mode = try trial.parameters.word("mode")
                guard let tail = tails[mode] else { throw GoldenParameters.unknownValue("mode", mode) }
                let student = try trial.tensor("student")
                let (rows, classes) = (student.shape[0], student.shape[1])
                let teacher = try keptClasses(trial, rows: rows, classes: classes)
                let op = SparseDivergence(.forwardKL, tail: tail, scale: 1 / Float(rows))
                if path == "dense" {
                    trial.give("loss", try student.divergence(op, teacher: teacher).total)
                } else {
                    // Behind a head that is the identity logits are hidden states too.
                    let one = (0..<(classes * classes)).map { Float($0 % (classes + 1) == 0 ? 1 : 0) }
                    let head = try OutputHead(weight: try Tensor(one, [classes, classes], on: trial.device))
                    trial.give(
                        "loss",
                        try student.chunkedDivergence(op, head: head, teacher: teacher, chunk: .rows(2)).total)
                }
            }
        })

    private static let tails: [String: SparseTail] = [
        "raw": .truncated, "renorm": .renormalizedTeacher, "renorm_both": .renormalizedBoth, "tail": .bucket,
    ]

    /// The golden's classes in their own order, and the mass that is left.
    private static func keptClasses(_ trial: GoldenTrial, rows: Int, classes: Int) throws -> SparseTeacher {
        let (ids, values) = (try trial.labels("top_idx"), try trial.numbers("top_logp").values)
        let k = ids.count / rows
        guard k == (try trial.parameters.integer(ifPresent: "k")) else { throw RetortError.badData("k is not \(k)") }
        let order = (0..<rows).flatMap { r in (r * k..<(r + 1) * k).sorted { ids[$0] < ids[$1] } }
        let tails = (0..<rows).map { r in
            Float(log(1 - (r * k..<(r + 1) * k).reduce(0.0) { $0 + exp(Double(values[$1])) }))
        }
        return try SparseTeacher(
            ids: order.map { ids[$0] }, values: order.map { values[$0] }, rows: rows, classes: classes,
            on: trial.device, tails: { _ in tails })
    }
}
