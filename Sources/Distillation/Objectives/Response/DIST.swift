import RetortModels
import RetortRuntime

/// DIST: alpha·T²·(beta·inter + gamma·intra), p and q the softmax of teacher and student at temperature T, `[rows, classes]`:
/// inter = 1 − mean over rows of Pearson(p, q) along the classes, intra = 1 − mean over classes of Pearson(p, q) along the rows of the
/// batch. Huang et al. 2022 (arXiv:2205.10536); alpha, beta, gamma and T are the authors' defaults, all 1 (their CIFAR-100 runs: beta and
/// gamma 2, T 4). The second part is defined on the whole batch.
public struct DISTObjective: LogitObjective {
    public static let section = RecipeSection(
        "dist", "Correlation of the probabilities, within a row and within a class.",
        [
            AlphaField.field("1"),
            RecipeField("beta", .number(0...1e9), .defaulted("1"), "weight of the correlation within rows"),
            RecipeField("gamma", .number(0...1e9), .defaulted("1"), "weight of the correlation within classes"),
        ] + Temperature.fields("1"))
    private let alpha: Float
    private let beta: Float
    private let gamma: Float
    private let temperature: Temperature

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        beta = Float(recipe.required("beta").number)
        gamma = Float(recipe.required("gamma").number)
        temperature = Temperature(recipe)
    }

    public var needsTeacher: Bool { true }
    public var spansBatch: Bool { gamma > 0 }
    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative, .shiftInvariant] }
    public var contract: String {
        "\(alpha.short)·T²·(\(beta.short)·(1 − r(p, q) in rows) + \(gamma.short)·(1 − r(p, q) in classes)), "
            + "T=\(temperature.contract), mean over rows and over classes of the batch"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        let parts = try input.student.logits.correlationDistance(
            teacher: input.teacher().logits, temperature: temperature.now(input))
        return try parts.inter * (alpha * beta) + parts.intra * (alpha * gamma)
    }
}

extension Tensor {
    /// The two parts of DIST, T² included, of logits `[rows, classes]`; the teacher is constant.
    public func correlationDistance(teacher: Tensor, temperature: Float) throws -> (inter: Tensor, intra: Tensor) {
        let q = try softmax(temperature: temperature)
        let p = try teacher.detached.softmax(temperature: temperature)
        let factor = temperature * temperature
        return (
            inter: try q.meanPearsonDistance(p) * factor,
            intra: try q.transposed(0, 1).meanPearsonDistance(p.transposed(0, 1)) * factor
        )
    }

    /// 1 − mean of the correlation of each row `[rows, columns]` with the other's. The authors add 1e−8 to the product of the
    /// norms; here it is added to each squared norm, so that layer norm does the work.
    fileprivate func meanPearsonDistance(_ other: Tensor) throws -> Tensor {
        let epsilon = 1e-8 / Float(shape[1])
        let product = try layerNorm(epsilon: epsilon) * other.layerNorm(epsilon: epsilon)
        return try (-product.mean()).adding(1)
    }
}
