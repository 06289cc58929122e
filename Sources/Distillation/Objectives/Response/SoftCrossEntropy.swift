import RetortKernels
import RetortModels
import RetortRuntime

/// Soft labels without labels: alpha·(−Σ p ln q) with p and q the softmax of teacher and student at temperature T, without T²; mean
/// over rows. It differs from KL(p‖q) by the teacher's entropy, a constant. TextBrewer's `kd_ce_loss`.
public struct SoftCrossEntropyObjective: RowObjective {
    public static let section = RecipeSection(
        "soft-cross-entropy", "Cross entropy with the teacher's probabilities; no factor T².",
        [
            AlphaField.field("1")
        ] + Temperature.fields("1"))
    private let alpha: Float
    private let temperature: Temperature

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        temperature = Temperature(recipe)
    }

    public var needsTeacher: Bool { true }
    public var laws: Set<ObjectiveLaw> { [.nonNegative, .shiftInvariant, .paddingInvariant] }
    public var contract: String {
        "\(alpha.short)·(−Σ p ln q), T=\(temperature.contract), no T², teacher entropy in, mean over rows"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        try input.student.logits.softCrossEntropy(teacher: input.teacher().logits, temperature: temperature.now(input))
            * alpha
    }
}

extension Tensor {
    /// −Σ p ln q over the classes, mean over the rows of `[rows, classes]`; p and q at one temperature, the teacher constant.
    public func softCrossEntropy(teacher: Tensor, temperature: Float = 1) throws -> Tensor {
        let op = Divergence(.forwardCrossEntropy, temperature: temperature, scale: 1 / Float(shape[0]))
        return try divergence(op, teacher: teacher.view).total
    }
}
