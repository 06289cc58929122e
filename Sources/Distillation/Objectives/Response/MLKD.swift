import RetortKernels
import RetortModels
import RetortRuntime

/// Multi-level logit distillation: Σ over temperatures T of alpha·T²·KL(p‖q) + beta·‖P·Pᵀ − Q·Qᵀ‖² / rows + gamma·‖Pᵀ·P − Qᵀ·Q‖² / classes, P and Q the
/// softmax of teacher and student at T, `[rows, classes]`: what is said of each example, how examples of the batch are related, how classes are.
/// KL is a mean over rows. Jin et al. 2023 (CVPR, "Multi-Level Logit Distillation"). The last two parts are defined on the whole batch.
///
/// The temperatures are those of the published code (Jin-Ying/Multi-Level-Logit-Distillation, KD_ours.py). There each picture is learnt
/// in two views, the strong one under RandAugment, with 0.1 of each view's cross entropy and 0.9 of the distillation, and masks of
/// unsure rows and classes multiply losses that are means already, so that they halve them. Of the weak view it takes 0.45 of all
/// parts at all temperatures and at 2 and 6 another 0.9 of the KL, where the strong view's was meant; of the strong view 0.9 of the KL
/// at 3, 4 and 5: three losses with a `view` each, as in `recipes/cifar100`. The weights by default are the sums of both views, for one
/// view alone: alpha 0.9 · 1.5, beta and gamma 0.9 · 0.5, and 0.2 of the cross entropy beside it.
public struct MLKDObjective: LogitObjective {
    public static let section = RecipeSection(
        "mlkd", "Divergences at several temperatures, of examples, of pairs of examples and of pairs of classes.",
        [
            AlphaField.field("1.35"),
            RecipeField("beta", .number(0...1e9), .defaulted("0.45"), "weight of how examples are related"),
            RecipeField("gamma", .number(0...1e9), .defaulted("0.45"), "weight of how classes are related"),
            RecipeField(
                "temperatures", .list(of: .number(1e-3...1e4), count: 1...16), .defaulted("[2, 3, 4, 5, 6]"),
                "the loss is the sum over these"),
        ])
    private let alpha: Float
    private let beta: Float
    private let gamma: Float
    private let temperatures: [Float]

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        beta = Float(recipe.required("beta").number)
        gamma = Float(recipe.required("gamma").number)
        temperatures = recipe.required("temperatures").list.map { Float($0.number) }
    }

    public var needsTeacher: Bool { true }
    public var spansBatch: Bool { beta > 0 || gamma > 0 }
    /// Added classes change the mean over classes.
    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative, .shiftInvariant] }
    public var contract: String {
        "Σ over T = \(temperatures.map(\.short).joined(separator: ", ")) of \(alpha.short)·T²·KL(p‖q), mean over rows, + \(beta.short)·‖P·Pᵀ − Q·Qᵀ‖² / rows "
            + "+ \(gamma.short)·‖Pᵀ·P − Qᵀ·Q‖² / classes, of the batch"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        let teacher = try input.teacher().logits
        return try Tensor.total(
            temperatures.map { temperature in
                try input.student.logits.multiLevelDivergence(
                    teacher: teacher, temperature: temperature, rows: alpha, batch: beta, classes: gamma)
            })
    }
}

extension Tensor {
    /// The three parts of MLKD at one temperature, T² in the first, of logits `[rows, classes]`, added up by their weights.
    /// - Parameters:
    ///   - teacher: logits, a constant.
    ///   - temperature: of both.
    ///   - rows: weight of the divergence of each example.
    ///   - batch: of how examples are related; 0 leaves that part out.
    ///   - classes: of how classes are related; 0 leaves that part out.
    public func multiLevelDivergence(
        teacher: Tensor, temperature: Float, rows: Float, batch: Float, classes: Float
    ) throws -> Tensor {
        let op = Divergence(
            .forwardKL, temperature: temperature, softWeight: temperature * temperature, scale: 1 / Float(shape[0]))
        let teacher = teacher.detached
        var loss = try divergence(op, teacher: teacher.view).total * rows
        guard batch > 0 || classes > 0 else { return loss }
        let (q, p) = (try softmax(temperature: temperature), try teacher.softmax(temperature: temperature))
        func distance(_ x: (Tensor) throws -> Tensor) throws -> Tensor {
            let (student, taught) = (try x(q), try x(p))
            // A mean over pairs, of which there are as many to each row as rows.
            return try student.meanSquaredError(taught) * Float(student.shape[0])
        }
        if batch > 0 { loss = try loss + distance { try $0.matmul($0.transposed(0, 1)) } * batch }
        if classes > 0 { loss = try loss + distance { try $0.transposed(0, 1).matmul($0) } * classes }
        return loss
    }
}
