import RetortModels
import RetortRuntime

/// Similarity preserving: alpha·‖G(s) − G(t)‖² / rows², G(f) the matrix f·fᵀ of the flattened features `[rows, …]` with each row brought to
/// length 1; a sum over pairs of signals. Widths and sizes may differ. Defined on the whole batch. Tung & Mori 2019
/// (arXiv:1907.09682); alpha 3000 at the last stage is RepDistiller's and mdistiller's.
public struct SPObjective: RelationObjective {
    public static let section = RecipeSection(
        "sp", "Which examples of a batch excite the same features.",
        [AlphaField.field("3000")] + SignalChoice.fields(.lastStage))
    let alpha: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        choice = SignalChoice("sp", .lastStage, recipe)
    }

    public var contract: String {
        "\(alpha.short)·‖G(s) − G(t)‖² of similarities with rows of length 1 \(choice.contract), mean over pairs of the batch"
    }

    func loss(student: Tensor, teacher: Tensor) throws -> Tensor { try student.similarityDistance(teacher) }
}

extension Tensor {
    /// SP's distance of features `[rows, …]`; the teacher is constant.
    public func similarityDistance(_ teacher: Tensor) throws -> Tensor {
        try rowSimilarities().meanSquaredError(teacher.detached.rowSimilarities())
    }

    private func rowSimilarities() throws -> Tensor {
        let x = try flattenedRows()
        return try x.matmul(x.transposed(0, 1)).normalized()
    }
}
