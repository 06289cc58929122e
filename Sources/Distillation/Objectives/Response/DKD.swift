import RetortKernels
import RetortModels
import RetortRuntime

/// Decoupled knowledge distillation: (alpha·TCKD + beta·NCKD)·T², mean over rows.
///
/// TCKD = KL(b‖b̂) of the two probabilities target / not target; NCKD = KL of the distributions over the other classes alone, p and q
/// at temperature T, the label's class taken out. Zhao et al. 2022 (arXiv:2203.08679); KL(p‖q) = TCKD + (1 − p_target)·NCKD, so
/// beta frees the second part from the teacher's confidence.
///
/// alpha 1, beta 8, T 4 are mdistiller's (beta differs by pair: 6 for VGG13 → VGG8 and for WRN-40-2 → WRN-16-2). Their warm-up is part of
/// the method: `ramp: {kind: warm-up, epochs: 20}`.
public struct DKDObjective: RowObjective {
    public static let section = RecipeSection(
        "dkd", "Decoupled distillation: the target's probability and the other classes weigh apart.",
        [
            RecipeField(
                "alpha", .number(0...1e9), .defaulted("1"),
                "weight of the target against the rest; no cross entropy is added"),
            RecipeField("beta", .number(0...1e9), .defaulted("8"), "weight of the classes that are not the target"),
        ] + Temperature.fields("4"))
    private let alpha: Float
    private let beta: Float
    private let temperature: Temperature

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        beta = Float(recipe.required("beta").number)
        temperature = Temperature(recipe)
    }

    public var needsTeacher: Bool { true }
    public var takesMixedExamples: Bool { false }
    public var laws: Set<ObjectiveLaw> { Set(ObjectiveLaw.allCases) }
    public var contract: String {
        "(\(alpha.short)·KL(target) + \(beta.short)·KL(other classes))·T², KL(p‖q), T=\(temperature.contract), teacher entropy out, mean over rows"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        let parts = try input.student.logits.decoupledDivergence(
            teacher: input.teacher().logits, labels: input.labels, temperature: temperature.now(input))
        return try parts.target * alpha + parts.others * beta
    }
}

extension Tensor {
    /// The two parts of DKD, T² included, each a mean over the rows of `[rows, classes]`; the teacher is constant.
    ///
    /// The logits are laid out twice, `[2, rows, classes]`: once with only the target left, once with it hidden. log Σ exp of the two are
    /// the logits of the two-class problem, and the second half is the problem of the other classes.
    public func decoupledDivergence(teacher: Tensor, labels: View, temperature: Float) throws -> (
        target: Tensor, others: Tensor
    ) {
        let rows = shape[0]
        let masks = try Tensor.stacked([
            // Adding it leaves nothing of a logit, and taking it away gives 0 exactly.
            Tensor.oneHot(labels, classes: shape[1], value: 0, elsewhere: -1e30, on: device),
            Tensor.oneHot(labels, classes: shape[1], value: -.infinity, on: device),
        ])
        let student = try scaled(1 / temperature).reshaped([1, rows, shape[1]]) + masks
        let teacher = try teacher.detached.scaled(1 / temperature).reshaped([1, rows, shape[1]]) + masks
        let op = Divergence(
            .forwardKL, softWeight: temperature * temperature, scale: 1 / Float(rows))
        let pair = try (student.logSumExp(-1).transposed(0, 1), teacher.logSumExp(-1).transposed(0, 1))
        return (
            target: try pair.0.divergence(op, teacher: try pair.1.reshaped([rows, 2]).view).total,
            others: try student.slice(1..<2).divergence(op, teacher: teacher.slice(1..<2).view).total
        )
    }
}
