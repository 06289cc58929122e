import Foundation
import RetortModels
import RetortRuntime

/// Variational information distillation: alpha·Σ over stages of mean(½·((μ(s) − t)² / σ² + ln σ²)), a Gaussian likelihood of the teacher's maps: μ three
/// 1×1 convolutions without bias, ReLU between them, trained with the student; σ² = ln(1 + exp(w)) + 1e−5 for each channel, w trained.
/// Mean over rows, channels and positions; the larger map is adaptively averaged to the smaller one's size. It can be negative.
/// Ahn et al. 2019 (arXiv:1904.05835). alpha 1, first variance 5, all stages: RepDistiller's.
public struct VIDObjective: SignalObjective {
    public static let section = RecipeSection(
        "vid", "How likely the teacher's maps are, given the student's.",
        [
            AlphaField.field("1"),
            RecipeField("variance", .number(1e-3...1e3), .defaulted("5"), "the variance that training starts from"),
        ] + SignalChoice.fields(.stages))
    static let epsilon: Float = 1e-5
    private let alpha: Float
    private let variance: Double
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        variance = recipe.required("variance").number
        choice = SignalChoice("vid", .stages, recipe)
    }

    /// A density's logarithm has either sign, and equal maps are not mapped to each other.
    public var laws: Set<ObjectiveLaw> { [] }
    public var contract: String {
        "\(alpha.short)·Σ ½·((μ(s) − t)²/σ² + ln σ²), μ three 1×1 convolutions, \(choice.contract), "
            + "mean over rows, channels and positions"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        try Term(
            choice.pairs(context.models).enumerated().map { i, pair in
                let maps = try context.maps(pair, "vid")
                return (
                    pair,
                    VariationalRegressor(
                        "\(context.name).\(i)", inputs: maps.student.channels, outputs: maps.teacher.channels,
                        variance: variance)
                )
            }, alpha: alpha)
    }

    private final class Term: ObjectiveTerm {
        private let pairs: [(pair: SignalPair, regressor: VariationalRegressor)]
        private let alpha: Float

        init(_ pairs: [(SignalPair, VariationalRegressor)], alpha: Float) {
            self.pairs = pairs
            self.alpha = alpha
        }

        var modules: [any Module] { pairs.map(\.regressor) }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            try Tensor.total(
                pairs.map { pair, regressor in
                    let signals = try input.signals(pair)
                    let (s, t) = try Tensor.atSmallerSize(signals.student, signals.teacher)
                    return try regressor(s).variationalLoss(target: t, logScale: regressor.logScale.tensor)
                }) * alpha
        }
    }
}

/// What VID trains: the mean as a function of the student's map, and a scale for each of the teacher's channels.
private final class VariationalRegressor: Module {
    let children: [any Module]
    let logScale: Parameter
    var isTraining = true
    private let convolutions: [Convolution2d]

    init(_ name: String, inputs: Int, outputs: Int, variance: Double) {
        convolutions = (0..<3).map { i in
            Convolution2d(
                "\(name).mean.\(i)", inputs: i == 0 ? inputs : outputs, outputs: outputs, kernel: 1, bias: false,
                activation: i < 2 ? .relu : .none)
        }
        children = convolutions
        // softplus of it, and epsilon, are the variance.
        logScale = Parameter(
            name + ".log_scale", [outputs], .constant(Self.inverseSoftplus(variance - Double(VIDObjective.epsilon))))
    }

    /// ln(eˣ − 1), for large x too.
    private static func inverseSoftplus(_ x: Double) -> Float { Float(x + log(-expm1(-x))) }

    var parameters: [Parameter] { children.flatMap { $0.parameters } + [logScale] }

    func callAsFunction(_ x: Tensor) throws -> Tensor { try convolutions.reduce(x) { try $1($0) } }
}

extension Tensor {
    /// Mean of ½·((self − target)² / σ² + ln σ²) over maps `[rows, channels, height, width]`, σ² = softplus(logScale) + 1e−5 with logScale `[channels]`.
    public func variationalLoss(target: Tensor, logScale: Tensor) throws -> Tensor {
        let variance = try logScale.map(.softplus).adding(VIDObjective.epsilon).reshaped([1, shape[1], 1, 1])
        return try ((self - target.detached).squared() / variance).mean() * 0.5 + variance.log().mean() * 0.5
    }
}
