import RetortModels
import RetortRuntime

/// Attention transfer: alpha·Σ over stages of mean((A(s) − A(t))²), A(f) = a / ‖a‖ with a the mean over channels of |f|^power, flattened
/// `[rows, height · width]`; mean over rows and positions. The larger map is adaptively averaged to the smaller one's size; channels may
/// differ. Zagoruyko & Komodakis 2017 (arXiv:1612.03928); the form is that of their code, with mean squares where the paper has the
/// norm of the difference. alpha 1000, power 2, all stages: mdistiller's and RepDistiller's.
public struct ATObjective: PairObjective {
    public static let section = RecipeSection(
        "at", "Where in the image a stage is active.",
        [
            AlphaField.field("1000"),
            RecipeField("power", .integer(1...4), .defaulted("2"), "activations are raised to this before their mean"),
        ] + SignalChoice.fields(.stages))
    let alpha: Float
    let choice: SignalChoice
    private let power: Int

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        power = recipe.required("power").integer
        choice = SignalChoice("at", .stages, recipe)
    }

    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative] }
    public var contract: String {
        "\(alpha.short)·Σ (A(s) − A(t))², A = mean over channels of |f|^\(power), length 1, \(choice.contract), "
            + "mean over rows and positions"
    }

    func check(_ pair: SignalPair, _ context: TermContext) throws { _ = try context.maps(pair, "at") }

    func loss(student: Tensor, teacher: Tensor) throws -> Tensor {
        try student.attentionDistance(teacher, power: power)
    }
}

extension Tensor {
    /// AT's distance of maps `[rows, channels, height, width]`; the teacher is constant.
    public func attentionDistance(_ teacher: Tensor, power: Int = 2) throws -> Tensor {
        let (s, t) = try Tensor.atSmallerSize(self, teacher.detached)
        return try s.attention(power).meanSquaredError(t.attention(power))
    }

    private func attention(_ power: Int) throws -> Tensor {
        let powered =
            switch power {
            case 1: try abs()
            case 2: try squared()
            case 3: try abs() * squared()
            default: try squared().squared()
            }
        return try powered.mean(1).flattenedRows().normalized()
    }
}
