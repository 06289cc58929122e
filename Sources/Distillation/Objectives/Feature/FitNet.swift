import RetortModels
import RetortRuntime

/// FitNets' hints: alpha·mean((r(s) − t)²), mean over everything; r maps the student's features to the teacher's shape and is trained with the
/// student. Maps go through `ConvRegressor` (a student's map is as large as the teacher's, larger, or half as high and wide), vectors
/// `[rows, features]` through a linear layer. Romero et al. 2015 (arXiv:1412.6550).
///
/// alpha 100 and the second stage are mdistiller's and RepDistiller's, who train jointly. The paper's two stages: `ramp: {kind: between, first: 1,
/// last: …}` here and the other terms after it.
public struct FitNetObjective: SignalObjective {
    public static let section = RecipeSection(
        "fitnet", "A hint: the student's features, through a regressor, become the teacher's.",
        [
            AlphaField.field("100"),
            RecipeField(
                "regressor", .choice(["conv-bn-relu", "conv"]), .defaulted("conv-bn-relu"),
                "what maps feature maps: mdistiller's, or the paper's plain convolution"),
        ] + SignalChoice.fields(.hint))
    private let alpha: Float
    private let normalized: Bool
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        normalized = recipe.required("regressor").text == "conv-bn-relu"
        choice = SignalChoice("fitnet", .hint, recipe)
    }

    /// Equal features are not mapped to each other.
    public var laws: Set<ObjectiveLaw> { [.nonNegative] }
    public var contract: String {
        "\(alpha.short)·Σ (r(s) − t)², r a trained \(normalized ? "convolution, batch norm, ReLU" : "convolution") "
            + "\(choice.contract), mean over rows and features"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        try Term(
            choice.pairs(context.models).enumerated().map { i, pair in
                (pair, try regressor(pair, context, name: "\(context.name).\(i)"))
            }, alpha: alpha)
    }

    private func regressor(_ pair: SignalPair, _ context: TermContext, name: String) throws -> Regressor {
        let (s, t) = try context.shapes(pair)
        if s.count == 1, t.count == 1 { return .vector(Linear(name, inputs: s[0], outputs: t[0])) }
        let maps = try context.maps(pair, "fitnet")
        guard
            let regressor = ConvRegressor(
                name, from: maps.student, to: maps.teacher, norm: normalized, relu: normalized)
        else { throw context.misfit(pair, "fitnet", ConvRegressor.limits) }
        return .map(regressor)
    }

    private enum Regressor {
        case vector(Linear)
        case map(ConvRegressor)

        var module: any Module {
            switch self {
            case .vector(let linear): linear
            case .map(let regressor): regressor
            }
        }

        func callAsFunction(_ x: Tensor) throws -> Tensor {
            switch self {
            case .vector(let linear): try linear(x)
            case .map(let regressor): try regressor(x)
            }
        }
    }

    private final class Term: ObjectiveTerm {
        private let pairs: [(pair: SignalPair, regressor: Regressor)]
        private let alpha: Float

        init(_ pairs: [(SignalPair, Regressor)], alpha: Float) {
            self.pairs = pairs
            self.alpha = alpha
        }

        var modules: [any Module] { pairs.map(\.regressor.module) }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            try Tensor.total(
                pairs.map { pair, regressor in
                    let (student, teacher) = try input.signals(pair)
                    return try regressor(student).hintDistance(teacher)
                }) * alpha
        }
    }
}

extension Tensor {
    /// Mean squared difference to the hint, features of one shape; the teacher is constant.
    public func hintDistance(_ teacher: Tensor) throws -> Tensor { try meanSquaredError(teacher.detached) }
}
