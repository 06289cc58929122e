import RetortKernels
import RetortModels
import RetortRuntime

/// Teacher-free distillation with a virtual teacher: alpha·KL(u‖q), u = softmax(d / T) with d the probability `correct` for the label's
/// class and (1 − correct) / (classes − 1) for the others, q the student's softmax at T = 1; mean over rows.
/// Yuan et al. 2020 (Tf-KD_reg, arXiv:1909.11723).
///
/// As in the authors' code the temperature softens the probabilities d, not their logarithms, and the student has none; T² is not applied.
/// correct 0.99, T 20, alpha 0.1 (with 0.9 of the cross entropy) are theirs for ResNet-18 on CIFAR-100, where a factor 100 undoes
/// their mean over 100 classes.
public struct TeacherFreeObjective: RowObjective {
    public static let section = RecipeSection(
        "teacher-free", "A virtual teacher that is almost sure of the label, softened; no teacher is needed.",
        [
            AlphaField.field("0.1"),
            RecipeField(
                "correct", .number(0...1), .defaulted("0.99"), "the virtual teacher's probability of the label"),
            RecipeField(
                "temperature", .number(1e-3...1e4), .defaulted("20"),
                "the virtual teacher's probabilities are divided by this"),
        ])
    private let alpha: Float
    private let correct: Float
    private let temperature: Float

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        correct = Float(recipe.required("correct").number)
        temperature = Float(recipe.required("temperature").number)
    }

    public var needsTeacher: Bool { false }
    public var takesMixedExamples: Bool { false }
    public var laws: Set<ObjectiveLaw> { [.nonNegative, .shiftInvariant] }
    public var contract: String {
        "\(alpha.short)·KL(u‖q at T=1), u = softmax(virtual probabilities / \(temperature.short)) with "
            + "\(correct.short) for the label, no T², mean over rows"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        try input.student.logits.virtualTeacherDivergence(
            labels: input.labels, correct: correct, temperature: temperature) * alpha
    }
}

extension Tensor {
    /// KL(u‖q) of the virtual teacher u, mean over the rows of logits `[rows, classes]`.
    public func virtualTeacherDivergence(labels: View, correct: Float, temperature: Float) throws -> Tensor {
        let classes = shape[1]
        // Softmax does not see what all classes share, so the label's lead is all that has to be written.
        let lead = (correct - (1 - correct) / Float(Swift.max(1, classes - 1))) / temperature
        let teacher = try Tensor.oneHot(labels, classes: classes, value: lead, on: device)
        return try divergence(Divergence(.forwardKL, scale: 1 / Float(shape[0])), teacher: teacher.view).total
    }
}
