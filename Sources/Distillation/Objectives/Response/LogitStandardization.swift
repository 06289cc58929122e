import RetortKernels
import RetortModels
import RetortRuntime

/// Logit standardisation: alpha·T²·KL(p‖q) with p and q the softmax of Z(y)/T and Z(z)/T, Z(x) = (x − mean) / (1e−7 + sd) over the
/// classes of a row, sd with n − 1; mean over rows. Sun et al. 2024 (arXiv:2403.01528): the student keeps the scale of its own logits.
///
/// alpha 9, T 2 are the authors' for CIFAR-100 (`--kd-weight 9 --base-temp 2`), with 0.1 of the cross entropy.
public struct LogitStandardizationObjective: RowObjective {
    public static let section = RecipeSection(
        "logit-standardization", "Divergence of logits brought to mean 0 and deviation 1 in each row.",
        [
            AlphaField.field("9")
        ] + Temperature.fields("2", "the standardised logits are divided by this"))
    private let alpha: Float
    private let temperature: Temperature

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        temperature = Temperature(recipe)
    }

    public var needsTeacher: Bool { true }
    /// Scaling a row changes nothing either; added classes change mean and deviation.
    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative, .shiftInvariant] }
    public var contract: String {
        "\(alpha.short)·T²·KL(p‖q) of standardised logits, T=\(temperature.contract), teacher entropy out, mean over rows"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        try input.student.logits.standardizedDivergence(
            teacher: input.teacher().logits, temperature: temperature.now(input))
            * alpha
    }
}

extension Tensor {
    /// T²·KL(p‖q) of standardised logits, mean over the rows of `[rows, classes]`; the teacher is constant.
    public func standardizedDivergence(teacher: Tensor, temperature: Float) throws -> Tensor {
        let classes = Float(shape[1])
        // Layer norm divides by the deviation with n; the rest of the factor joins the temperature. 1e−7 stands inside the root.
        let op = Divergence(
            .forwardKL, temperature: temperature * (classes / Swift.max(1, classes - 1)).squareRoot(),
            softWeight: temperature * temperature, scale: 1 / Float(shape[0]))
        return try layerNorm(epsilon: 1e-14).divergence(op, teacher: teacher.detached.layerNorm(epsilon: 1e-14).view)
            .total
    }
}
