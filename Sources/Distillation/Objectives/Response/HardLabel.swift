import RetortModels
import RetortRuntime
import RetortSupport

/// Hard-label distillation: alpha·CE(argmax of the teacher's logits, q at T = 1); the teacher's decision is the label. Mean over
/// rows. Touvron et al. 2021 (DeiT, arXiv:2012.12877), who mix it half and half with the cross entropy: alpha 0.5 there,
/// 1 here, where the recipe adds `cross-entropy` with a weight of its own choosing.
public struct HardLabelObjective: RowObjective {
    public static let section = RecipeSection(
        "hard-label", "Cross entropy with the class that the teacher finds likeliest.",
        [AlphaField.field("1")])
    private let alpha: Float

    public init(_ recipe: RecipeNode) { alpha = AlphaField.value(recipe) }

    public var needsTeacher: Bool { true }
    public var laws: Set<ObjectiveLaw> { [.nonNegative, .shiftInvariant, .paddingInvariant] }
    public var contract: String { "\(alpha.short)·CE(argmax p, q at T=1), mean over rows" }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        try input.student.logits.crossEntropy(
            try input.teacher().logits.argmax(-1), scale: alpha / Float(input.rows)
        ).total
    }
}
