import RetortModels
import RetortRuntime

/// Probabilistic knowledge transfer: alpha·mean over all pairs (i, j) of the batch of t_ij·ln((t_ij + ε) / (m_ij + ε)), ε = 1e−7; t and m are
/// the teacher's and the student's similarities (cos + 1) / 2 with each row brought to sum 1. Widths may differ. Defined on the
/// whole batch. Passalis & Tefas 2018 (arXiv:1803.10837); alpha 30000 at the embedding is RepDistiller's and mdistiller's.
public struct PKTObjective: RelationObjective {
    public static let section = RecipeSection(
        "pkt", "The probability that two examples of a batch are neighbours.",
        [AlphaField.field("30000")] + SignalChoice.fields(.embedding))
    let alpha: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        choice = SignalChoice("pkt", .embedding, recipe)
    }

    public var contract: String {
        "\(alpha.short)·t·ln(t/m) of cosine similarities as probabilities \(choice.contract), mean over pairs of the batch"
    }

    func loss(student: Tensor, teacher: Tensor) throws -> Tensor { try student.neighbourDivergence(teacher) }
}

extension Tensor {
    /// PKT's divergence of features `[rows, …]`; the teacher is constant.
    public func neighbourDivergence(_ teacher: Tensor) throws -> Tensor {
        let epsilon: Float = 1e-7
        let target = try teacher.detached.neighbourProbabilities(epsilon)
        // The logarithm of the quotient, near 1, keeps more digits than a difference of logarithms.
        let quotient = try neighbourProbabilities(epsilon).adding(epsilon) / target.adding(epsilon)
        return try -(target * quotient.log()).mean()
    }

    private func neighbourProbabilities(_ epsilon: Float) throws -> Tensor {
        let x = try flattenedRows().normalized(epsilon: epsilon)
        let similarity = try x.matmul(x.transposed(0, 1)).adding(1)
        return try similarity / similarity.sum(-1, keepingDimension: true)
    }
}
