import RetortModels
import RetortRuntime

/// Logit regression: alpha·mean((z − y)² / T²) of student logits z and teacher logits y `[rows, classes]`, mean over rows and classes.
/// Ba & Caruana 2014 (arXiv:1312.6184), T = 1; the division by T is TextBrewer's.
public struct LogitMSEObjective: RowObjective {
    public static let section = RecipeSection(
        "logit-mse", "Squared distance of the logits, without softmax.",
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
    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative] }
    public var contract: String {
        "\(alpha.short)·((z − y)/T)² averaged over classes, T=\(temperature.contract), mean over rows"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        let error = try input.student.logits.logitRegression(
            teacher: input.teacher().logits, temperature: temperature.now(input))
        // Of a retriever: what does not count is the same in both, and leaves the mean.
        guard let counted = input.student.signals[RankingSignals.counted] else { return try error * alpha }
        return try error * (alpha * Float(counted.count)) / counted.sum()
    }
}

extension Tensor {
    /// mean((student − teacher)²) / T² of logits of one shape; the teacher is a constant.
    public func logitRegression(teacher: Tensor, temperature: Float = 1) throws -> Tensor {
        try meanSquaredError(teacher.detached) * (1 / (temperature * temperature))
    }
}
