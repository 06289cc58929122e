import RetortModels
import RetortRuntime

/// Neuron selectivity transfer: alpha·Σ over stages of K(t, t) + K(s, s) − 2·K(s, t), the squared maximum mean discrepancy with the polynomial
/// kernel K(a, b) = mean over rows and channel pairs of (aᵢ·bⱼ)², each channel's map brought to length 1. Channels may differ; the larger map
/// is adaptively averaged to the smaller one's size. Huang & Wang 2017 (arXiv:1707.01219). alpha 50, all stages: RepDistiller's.
public struct NSTObjective: PairObjective {
    public static let section = RecipeSection(
        "nst", "The distribution of the channels' maps.", [AlphaField.field("50")] + SignalChoice.fields(.stages))
    let alpha: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        choice = SignalChoice("nst", .stages, recipe)
    }

    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative] }
    public var contract: String {
        "\(alpha.short)·Σ (K(t, t) + K(s, s) − 2·K(s, t)), K = (products of channels' maps of length 1)², "
            + "\(choice.contract), mean over rows and channel pairs"
    }

    func check(_ pair: SignalPair, _ context: TermContext) throws { _ = try context.maps(pair, "nst") }

    func loss(student: Tensor, teacher: Tensor) throws -> Tensor { try student.selectivityDistance(teacher) }
}

extension Tensor {
    /// NST's distance of maps `[rows, channels, height, width]`; the teacher is constant.
    public func selectivityDistance(_ teacher: Tensor) throws -> Tensor {
        let maps = try Tensor.atSmallerSize(self, teacher.detached)
        let (s, t) = (try maps.0.positionsFlattened().normalized(), try maps.1.positionsFlattened().normalized())
        return try t.polynomialKernel(t) + s.polynomialKernel(s) - s.polynomialKernel(t) * 2
    }

    /// Mean of (a·b)² over rows and channel pairs, `[rows, channels, positions]` each.
    private func polynomialKernel(_ other: Tensor) throws -> Tensor {
        try matmul(other.transposed(1, 2)).squared().mean()
    }
}
