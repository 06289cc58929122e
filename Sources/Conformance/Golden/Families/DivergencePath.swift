import RetortKernels
import RetortRuntime

/// The two ways to a divergence of language models: from logits, and from hidden states by chunks. The goldens hold logits; behind a head
/// that is the identity they are hidden states too.
enum DivergencePath: String, CaseIterable, Sendable {
    case dense, chunked

    /// A family that computes its results in both ways.
    static func family(_ compute: @escaping @Sendable (GoldenTrial, DivergencePath) throws -> Void) -> TensorFamily {
        TensorFamily(allCases.map { path in GoldenWay(path.rawValue) { try compute($0, path) } })
    }

    /// Student and teacher `[..., classes]`.
    func loss(
        _ op: Divergence, _ trial: GoldenTrial, labels: View? = nil, rowWeights: View? = nil
    ) throws -> (total: Tensor, parts: FusedLoss) {
        let (student, teacher) = (try trial.tensor("student"), try trial.tensor("teacher"))
        switch self {
        case .dense:
            let loss = try student.divergence(op, teacher: teacher.view, labels: labels, rowWeights: rowWeights)
            return (loss.total, loss)
        case .chunked:
            let classes = student.shape[student.rank - 1]
            let one = (0..<(classes * classes)).map { Float($0 % (classes + 1) == 0 ? 1 : 0) }
            let head = try OutputHead(weight: try Tensor(one, [classes, classes], on: trial.device))
            let loss = try student.chunkedDivergence(
                op, head: head, teacher: try HeadLogits(teacher, head), labels: labels, rowWeights: rowWeights,
                chunk: .rows(3))
            return (loss.total, loss.rows)
        }
    }
}
